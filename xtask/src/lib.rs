//! Tasks of this repository: its generated files.

pub mod api_reference;
pub mod chart_readme;
pub mod generate;
pub mod tiers;
