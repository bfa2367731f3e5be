//! What a process needs to run: API client, leader election, health, metrics, logs, and shutdown.
//!
//! Nothing here knows what a tenant is. Time, randomness and the API server are arguments, so the tests of each part
//! need none of them.

pub mod admin;
pub mod backoff;
pub mod client;
pub mod clock;
pub mod controller;
pub mod error_class;
pub mod health;
pub mod leader;
pub mod metrics;
pub mod pages;
pub mod shutdown;
pub mod source;
pub mod tasks;
pub mod telemetry;
pub mod watches;
