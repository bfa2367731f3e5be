//! Integration tests on a real control plane: one binary, one control plane, one operator that runs as its shipped
//! ServiceAccount. Tests keep apart by random tenant names. A test that kills or starves something has a lab of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod cases;
mod common;

mod admission;
mod chart;
mod owner;
mod tenant_lifecycle;
