//! A template on this cluster: its controls, its contradictions and its status.

pub mod controls;
pub mod security;
pub mod soundness;
pub mod status;
