//! Chores of this repository: the files that are made from others.

pub mod api_reference;
pub mod chart_readme;
pub mod generate;
pub mod tiers;
