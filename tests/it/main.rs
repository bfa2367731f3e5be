//! Integration tests on a real control plane: one binary, one control plane, one operator with its shipped
//! ServiceAccount. Random tenant names keep the tests apart. A test that kills or starves a process has a lab of its
//! own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::default_trait_access,
    reason = "a test fails by panicking; `Default::default()` is the shortest way to say that a parameter does not matter"
)]

mod cases;
mod common;
mod policies;

mod admission;
mod adopt;
mod calls;
mod chart;
mod conditions;
mod exact_totals;
mod faults;
mod finalizers;
mod integrations;
mod kstatus;
mod leaving;
mod nothing_lost;
mod owner;
mod resilience;
mod self_service;
mod soak;
mod spec_walk;
mod start;
mod template_fanout;
mod tenant_lifecycle;
mod transfer;
