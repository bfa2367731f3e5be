//! Which targets a tenant's spread has.

/// How a grant is spread over namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// By weight; see [`targets`](super::targets).
    Fixed,
    /// By weight to begin with, then as demand moves; see [`demand`](super::demand).
    Demand {
        /// How much of its share by weight a namespace keeps whatever the others need, in percent; above 100 counts as
        /// 100. Above 0 it keeps at least one step, if the share is as much and no refused request needs it.
        floor_percent: u8,
    },
}

impl Default for Spread {
    /// Demand, with a quarter of the share as the floor.
    fn default() -> Self {
        Self::Demand { floor_percent: 25 }
    }
}
