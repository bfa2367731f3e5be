//! A real Kubernetes control plane on loopback: etcd, kube-apiserver and kube-controller-manager as processes of their
//! own, for integration tests, benchmarks, fault injection and `make run`.
//!
//! ```no_run
//! use controlplane::{Audit, ControlPlane, Options};
//! let cluster = ControlPlane::start(Options { audit: Audit::Metadata, ..Options::default() })?;
//! println!("{}", cluster.kubeconfig().display());
//! // dropping it ends every process and removes the data
//! # Ok::<(), controlplane::Error>(())
//! ```
//!
//! Where the binaries come from, tried in this order for each tool:
//! 1. `TENANTRY_TEST_KUBECONFIG`: uses that cluster as it is, and starts nothing.
//! 2. `KUBEBUILDER_ASSETS`: a folder with `etcd`, `kube-apiserver`, ... (what is missing there is built).
//! 3. Built once with Go from the modules pinned beside this file, cached in the user's cache folder.
//!
//! To move to another version: change it in `go.mod` (there in `require` and in every `replace`), `helm/go.mod`,
//! `charts/go.mod` or `crds/go.mod`, run `go mod tidy` in the first three folders, and see the comment in the fourth.
//!
//! No process outlives its owner, even after SIGKILL: see [`Component`] and `process.rs`.

mod assets;
mod audit;
mod cluster;
mod crds;
pub mod detached;
mod error;
mod flags;
mod folder;
mod go;
mod kubeconfig;
mod ports;
mod process;
mod ready;
mod scratch;
mod shared;
mod tool;

pub use assets::{Assets, cache_dir};
pub use audit::Audit;
pub use cluster::{ControlPlane, Options};
pub use crds::{Integration, crd_files};
pub use error::Error;
pub use shared::shared;
pub use tool::{Component, Tool};
