//! The API client: kube's own stack with our deadline, our retries and our count of requests around it.
//!
//! kube 5 would retry 15 times, back off up to 1000 s and obey any `Retry-After`; a hostile or overloaded server could
//! park a worker for hours inside one call. Here a call ends within its deadline, whatever the server does.
//!
//! Transport: kube 5 speaks HTTP/1.1 only, so each request in flight has a connection of its own from hyper's pool, and a
//! slow list delays no write. Concurrency is the only brake; kube limits nothing on the client's side.

use std::sync::Arc;

use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::client::ClusterSettings;
use crate::leader::LeaderHandle;
use tenantry::metrics::Metrics;

pub mod middleware;
pub mod request_kind;
mod while_leading;

pub use middleware::{CallPolicy, DeadlineExceeded};
use while_leading::WhileLeading;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The kubeconfig that was named, or its context.
    #[error("failed to load the kubeconfig {path}: {source}")]
    Kubeconfig {
        /// Its path, or a word for the inferred one.
        path: String,
        /// What is wrong with it.
        source: kube::config::KubeconfigError,
    },
    /// Neither a kubeconfig nor a ServiceAccount.
    #[error("failed to find a cluster: no kubeconfig and no ServiceAccount; set --kubeconfig or run in a pod: {0}")]
    Infer(#[from] kube::config::InferConfigError),
    /// TLS or credentials.
    #[error("failed to build the API client: {0}")]
    Build(#[from] Box<kube::Error>),
}

/// Builds a client from a configuration; kube's own retries are switched off.
pub fn build(config: Config, policy: CallPolicy, metrics: Arc<Metrics>) -> Result<Client, ClientError> {
    let config = with_our_limits(config, policy);
    let builder = ClientBuilder::try_from(config).map_err(Box::new)?;
    Ok(builder.with_layer(&layer(policy, metrics)).build())
}

/// A client, for writes, whose connections carry nothing once `leader` leads no more.
pub fn build_for_leader(
    config: Config,
    policy: CallPolicy,
    metrics: Arc<Metrics>,
    leader: LeaderHandle,
) -> Result<Client, ClientError> {
    let config = with_our_limits(config, policy);
    let builder = ClientBuilder::try_from((config, WhileLeading::new(leader))).map_err(Box::new)?;
    Ok(builder.with_layer(&layer(policy, metrics)).build())
}

fn with_our_limits(mut config: Config, policy: CallPolicy) -> Config {
    config.default_retry = false;
    // A dead endpoint shows in the connect; the deadline of the call would else be spent on one attempt.
    config.connect_timeout = Some(policy.deadline() / 2);
    config
}

fn layer(policy: CallPolicy, metrics: Arc<Metrics>) -> middleware::ApiLayer {
    middleware::ApiLayer::new(policy, metrics, fastrand::Rng::new())
}

/// Reads the configuration; connects nothing.
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
