//! What the unit tests of the operator start from: the core's fixture, and an API server in memory.

use serde_json::Value;
pub use tenantry_core::fixture::*;
use tenantry_core::object::{Key, Kind};

use crate::cluster::writer;

pub mod server;

/// The error of a write to object `tenantry` of namespace `acme-dev` that the API server answered with `status`.
pub fn answered(verb: &'static str, kind: Kind, status: Value) -> writer::Error {
    writer::Error::Api {
        verb,
        key: Key::new(kind, "acme-dev", "tenantry"),
        source: Box::new(kube::Error::Api(serde_json::from_value(status).unwrap())),
    }
}
