//! How a process lives: its client, its leadership, what it tells about itself, and how it ends.
//!
//! Nothing here knows what a tenant is. Time, randomness and the API server are passed in, so that each part is tested
//! without any of them.

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
