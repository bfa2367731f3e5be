//! `tenantry adopt`: asks the API server what would happen if an existing namespace were handed to a tenant, and then
//! hands it over if requested.
//!
//! It runs with the rights of the cluster admin who calls it. The operator's own functions compute the guards that the
//! namespace would get ([`subject`]). `adopt` creates the same guards in a scratch namespace ([`scratch`]), and creates
//! copies of the real objects there as a dry run ([`candidates`]). docs/decisions/0009 explains why.

mod candidates;
mod contents;
mod error;
mod remains;
mod report;
mod scratch;
mod subject;
mod usage;
mod verdict;

use std::time::Duration;

use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::json;

use self::{contents::Contents, error::failed, scratch::Scratch, subject::Subject};
pub use self::{
    error::Error,
    report::{Effect, Finding, Report},
};
use tenantry_api::names;
use tenantry_core::{object::Kind, settings::Settings};
use tenantry_process::{
    client::{self, CallPolicy, ClusterSettings},
    metrics::ProcessMetrics,
    shutdown::{self, Shutdown},
};

/// Deadline of one request.
const DEADLINE: Duration = Duration::from_secs(30);

/// When `adopt` hands the namespace over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandOver {
    /// Never: only report.
    No,
    /// Only if no object would be refused.
    IfNothingIsRefused,
    /// Even if objects would be refused.
    Always,
}

/// Checks what adoption would change and, if `hand_over` allows it, hands the namespace over.
pub async fn adopt(
    cluster: &ClusterSettings,
    namespace: &str,
    tenant: &str,
    hand_over: HandOver,
    settings: &Settings,
) -> Result<Report, Error> {
    let (trigger, stop) = shutdown::channel();
    tokio::spawn(trigger.signals().map_err(Error::Signals)?);
    let user = scratch::user();
    let admin = connect(cluster, None).await?;
    let owner = connect(cluster, Some(&user)).await?;
    let subject = subject::resolve(&admin, namespace, tenant, settings).await?;
    let contents = Contents::read(&admin, namespace, subject.grants.keys().map(String::as_str)).await?;
    let scratch = Scratch::create(admin.clone(), owner, &subject).await?;
    let report = interruptible(report(&scratch, &user, &subject, &contents), stop).await;
    scratch.remove().await?;
    let mut report = report?;
    if match hand_over {
        HandOver::No => false,
        HandOver::IfNothingIsRefused => report.refused() == 0,
        HandOver::Always => true,
    } {
        annotate(&admin, &subject).await?;
        report.handed_over = true;
    }
    Ok(report)
}

/// A client with the kubeconfig's rights; it impersonates `user` if one is given.
async fn connect(cluster: &ClusterSettings, user: Option<&str>) -> Result<Client, Error> {
    let mut config = client::load_config(cluster).await?;
    if let Some(user) = user {
        config.auth_info.impersonate = Some(user.to_owned());
        config.auth_info.impersonate_groups = Some(vec!["system:authenticated".to_owned()]);
    }
    let metrics = ProcessMetrics::new(env!("CARGO_PKG_VERSION")).map_err(|error| Error::Metrics(error.to_string()))?;
    Ok(client::build(config, CallPolicy::new(DEADLINE), metrics)?)
}

async fn interruptible(report: impl Future<Output = Result<Report, Error>>, stop: Shutdown) -> Result<Report, Error> {
    tokio::select! {
        report = report => report,
        () = stop.requested() => Err(Error::Interrupted),
    }
}

async fn report(scratch: &Scratch, user: &str, subject: &Subject, contents: &Contents) -> Result<Report, Error> {
    let candidates = candidates::candidates(contents);
    let (mut findings, policies) = scratch.judge(user, subject, &candidates).await?;
    for finding in &mut findings {
        // The RoleBinding exists and keeps granting rights, even if it could not be created now.
        let is_this =
            |binding: &&serde_json::Value| binding["metadata"]["name"] == finding.object["RoleBinding/".len()..];
        if finding.object.starts_with("RoleBinding/")
            && let Some(binding) = contents.of("RoleBinding").iter().find(is_this)
        {
            finding.message = format!("{}; until then {}", finding.message, remains::rights(binding));
        }
    }
    let remains = remains::findings(&subject.live, contents, &subject.objects, &findings);
    findings.extend(remains);
    let Subject {
        namespace,
        tenant,
        grants,
        elsewhere,
        ..
    } = subject;
    findings.extend(usage::findings(namespace, contents, grants, elsewhere));
    if !policies {
        let message = "the chart's admission policies are not installed (policies.enabled): images, hosts, types of Services and the like were not checked";
        let object = format!("Namespace/{namespace}");
        findings.push(Finding::new(Effect::NotTried, object, "nobody", message));
    }
    let mut report = Report {
        namespace: namespace.clone(),
        tenant: tenant.clone(),
        tried: candidates.len(),
        findings,
        handed_over: false,
    };
    report.sort();
    Ok(report)
}

/// Hands the namespace over, if it has not changed since it was checked.
async fn annotate(admin: &Client, subject: &Subject) -> Result<(), Error> {
    let metadata = &subject.live["metadata"];
    let patch = json!({ "metadata": {
        "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"],
        "annotations": { (names::ADOPT_BY): subject.tenant },
    } });
    let api = Api::<DynamicObject>::all_with(admin.clone(), &Kind::Namespace.api_resource());
    let annotated = api
        .patch(&subject.namespace, &PatchParams::default(), &Patch::Merge(patch))
        .await;
    annotated.map(drop).map_err(failed(format!(
        "annotate namespace {}; run the command again",
        subject.namespace
    )))
}
