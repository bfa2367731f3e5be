//! What a spec comes to depends on the spec alone: not on the way to it (invariant I12), and on every field as `fields.txt` says.
//! Needs no cluster; tests/it/spec_walk.rs goes the same way on a real one.

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
