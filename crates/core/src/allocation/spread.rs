//! The rule that a tenant's spread follows.

/// How a grant is spread over namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// By weight; see [`targets`](super::targets).
    Fixed,
    /// By weight at first, then by demand; see [`demand`](super::demand).
    Demand {
        /// The percentage of its share by weight that a namespace keeps even if the others need it; above 100 counts as
        /// 100. Above 0 it keeps at least one step, if its share is at least a step and no refused request needs it.
        floor_percent: u8,
    },
}

impl Default for Spread {
    /// Demand, with a quarter of the share as the floor.
    fn default() -> Self {
        Self::Demand { floor_percent: 25 }
    }
}
