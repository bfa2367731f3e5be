//! Pure decisions on plain types.
//!
//! What is in here takes values and gives values: it knows neither `kube::Client` nor `tokio`, reads no clock and
//! draws no random number. So the operator, the offline `render` command and the tests all decide alike.

pub mod allocation;
pub mod conditions;
pub mod effective;
pub mod quantity;

pub use quantity::{Format, ParseQuantityError, Quantity};
