//! The API client: kube's own stack, wrapped in our deadline, retries and request metrics.
//!
//! kube 5 would retry 15 times, back off up to 1000 s and obey any `Retry-After`; a hostile or overloaded server could
//! block a worker for hours in one call. Here every call ends within its deadline, no matter how the server behaves.
//!
//! Transport: kube 5 speaks HTTP/1.1 only, so each request in flight has a connection of its own from hyper's pool, and
//! a slow list delays no write. Only our concurrency limits the load; kube has no client-side rate limit.

use std::path::PathBuf;

use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::leader::LeaderHandle;
use crate::metrics::ProcessMetrics;

pub mod middleware;
pub mod request_kind;
mod while_leading;

pub use middleware::{CallPolicy, DeadlineExceeded};
use while_leading::WhileLeading;

/// How to find the API server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterSettings {
    /// Kubeconfig file, or None for kube's inference.
    pub kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig, or None for the current one.
    pub context: Option<String>,
}

/// A client could not be built.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The given kubeconfig, or its context, cannot be loaded.
    #[error("failed to load the kubeconfig {path}: {source}")]
    Kubeconfig {
        /// Its path, or `of the environment` for the inferred one.
        path: String,
        /// What is wrong with it.
        source: kube::config::KubeconfigError,
    },
    /// There is neither a kubeconfig nor a ServiceAccount.
    #[error("failed to find a cluster: no kubeconfig and no ServiceAccount; set --kubeconfig or run in a pod: {0}")]
    Infer(#[from] kube::config::InferConfigError),
    /// TLS or credentials are wrong.
    #[error("failed to build the API client: {0}")]
    Build(#[from] Box<kube::Error>),
}

/// Builds a client from a configuration; kube's own retries are switched off.
pub fn build(config: Config, policy: CallPolicy, metrics: ProcessMetrics) -> Result<Client, ClientError> {
    let config = with_our_limits(config, policy);
    let builder = ClientBuilder::try_from(config).map_err(Box::new)?;
    Ok(builder.with_layer(&layer(policy, metrics)).build())
}

/// A client for writes. Its connections send nothing after `leader` has lost the lease.
pub fn build_for_leader(
    config: Config,
    policy: CallPolicy,
    metrics: ProcessMetrics,
    leader: LeaderHandle,
) -> Result<Client, ClientError> {
    let config = with_our_limits(config, policy);
    let builder = ClientBuilder::try_from((config, WhileLeading::new(leader))).map_err(Box::new)?;
    Ok(builder.with_layer(&layer(policy, metrics)).build())
}

fn with_our_limits(mut config: Config, policy: CallPolicy) -> Config {
    config.default_retry = false;
    // A dead endpoint must fail at the connect: otherwise one attempt would use up the call's whole deadline.
    config.connect_timeout = Some(policy.deadline() / 2);
    config
}

fn layer(policy: CallPolicy, metrics: ProcessMetrics) -> middleware::ApiLayer {
    middleware::ApiLayer::new(policy, metrics, fastrand::Rng::new())
}

/// Reads the configuration; opens no connection.
pub async fn load_config(cluster: &ClusterSettings) -> Result<Config, ClientError> {
    let options = KubeConfigOptions {
        context: cluster.context.clone(),
        ..KubeConfigOptions::default()
    };
    match (&cluster.kubeconfig, &cluster.context) {
        (None, None) => Ok(Config::infer().await?),
        (None, Some(_)) => Config::from_kubeconfig(&options)
            .await
            .map_err(|source| ClientError::Kubeconfig {
                path: "of the environment".to_owned(),
                source,
            }),
        (Some(path), _) => {
            let failed = |source| ClientError::Kubeconfig {
                path: path.display().to_string(),
                source,
            };
            let kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
            Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .map_err(failed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_kubeconfig_is_named_in_the_error() {
        let cluster = ClusterSettings {
            kubeconfig: Some("does/not/exist".into()),
            context: None,
        };
        let error = load_config(&cluster).await.expect_err("no such file");
        assert!(error.to_string().contains("does/not/exist"), "{error}");
    }
}
