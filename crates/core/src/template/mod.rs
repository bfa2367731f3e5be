//! What a template means on this cluster: its controls, its contradictions, its status.

pub mod controls;
pub mod soundness;
pub mod status;
