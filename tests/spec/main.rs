//! A tenant's objects depend on the current specs alone, not on earlier ones (invariant I12), and on every field as
//! `fields.txt` lists. Needs no cluster; tests/it/spec_walk.rs tests the same on a real one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and prints its seed"
)]

mod cluster;
mod effects;
mod shared;
mod walk;
