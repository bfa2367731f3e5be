//! The scratch namespace: it has the same guards as the adopted namespace will have. Objects are created in it only as
//! a dry run.
//!
//! Its labels mark it as managed and as the tenant's, so that every guard applies. It has no owner reference, and no
//! object in it has our labels, so that the operator ignores it.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, PostParams},
    core::ApiResource,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    candidates::Candidate,
    contents::{api_resource, resource},
    error::{Error, answer, failed},
    report::Finding,
    subject::Subject,
    verdict::{finding, is_judgement, is_too_early},
};
use tenantry_api::names;
use tenantry_core::object::{Kind, Object};

/// How long to wait until the API server knows the guards.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two probes.
const PAUSE: Duration = Duration::from_millis(50);
/// Key that the scratch namespace's quota sets to 0, to check that the quota is enforced. No object that is tried
/// counts in it.
const NEVER: &str = "count/podtemplates";
/// Name of the roles, bindings and probes.
const NAME: &str = "tenantry-adoption";

/// A scratch namespace; call [`Scratch::remove`] in the end.
pub struct Scratch {
    /// Its name.
    pub name: String,
    admin: Client,
    /// A client that acts as [`user`].
    owner: Client,
}

/// The user that `adopt` impersonates to create objects; no real user has this name. The cluster admin is exempt from
/// the policies, so `adopt` cannot use that identity. This user has an owner's rights in the scratch namespace. It may
/// also bind any role there, so that the policies decide about RoleBindings, and not the rights of the user.
pub fn user() -> String {
    format!("tenantry:adoption:{:08x}", fastrand::u32(..))
}

impl Scratch {
    /// Creates the scratch namespace, and deletes those that an earlier run for the same namespace left.
    pub async fn create(admin: Client, owner: Client, subject: &Subject) -> Result<Self, Error> {
        let namespaces = Api::<DynamicObject>::all_with(admin.clone(), &Kind::Namespace.api_resource());
        let label = format!("{}={}", names::ADOPTION, subject.namespace);
        let left = namespaces.list(&ListParams::default().labels(&label)).await;
        let left = left.map_err(failed("look for scratch namespaces of earlier runs"))?;
        for name in left.items.into_iter().filter_map(|namespace| namespace.metadata.name) {
            delete(&admin, &name).await?;
        }
        let name = format!("{}-adopt-{:06x}", subject.tenant, fastrand::u32(..0x100_0000));
        let mut labels = subject.objects.namespace.labels.clone();
        labels.insert(names::ADOPTION.to_owned(), json!(subject.namespace));
        let manifest = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels },
        });
        create(&namespaces, &manifest, false)
            .await
            .map_err(failed(format!("create the scratch namespace {name}")))?;
        Ok(Self { name, admin, owner })
    }

    /// Deletes the namespace and everything in it.
    pub async fn remove(&self) -> Result<(), Error> {
        delete(&self.admin, &self.name).await
    }

    /// Creates the guards, waits until they are enforced, and tries every candidate. Returns the refusals, and whether
    /// the admission policies are installed.
    pub async fn judge(
        &self,
        user: &str,
        subject: &Subject,
        candidates: &[Candidate],
    ) -> Result<(Vec<Finding>, bool), Error> {
        for (resource, manifest) in furniture(user, subject, candidates) {
            let api = Api::<DynamicObject>::namespaced_with(self.admin.clone(), &self.name, &resource);
            match create(&api, &manifest, false).await {
                Ok(()) => {}
                // Kubernetes also creates the ServiceAccount `default`.
                Err(kube::Error::Api(status)) if status.is_already_exists() => {}
                Err(source) => return Err(failed(format!("create {} in {}", resource.kind, self.name))(source)),
            }
        }
        let policies = Api::<ValidatingAdmissionPolicy>::all(self.admin.clone())
            .get_metadata_opt("tenantry-services")
            .await
            .map_err(failed("look up the admission policies"))?
            .is_some();
        self.until_judged(subject, policies).await?;
        let mut findings = Vec::new();
        for candidate in candidates {
            // If several API servers share one address, each learns of the guards at its own time.
            let Candidate { object, resource, body } = candidate;
            let answer = self.until(&self.owner, resource, body, object, is_known).await?;
            // The report must name the real namespace: its readers do not know the scratch namespace.
            let refusal = answer.map(|message| message.replace(&self.name, &subject.namespace));
            findings.extend(refusal.map(|message| finding(object, &message)));
        }
        Ok((findings, policies))
    }

    /// Waits until each guard was seen to refuse an object, or at least to be evaluated.
    async fn until_judged(&self, subject: &Subject, policies: bool) -> Result<(), Error> {
        // This Service is always refused: by the policy tenantry-services, in a message that names the tenant.
        let service = json!({
            "metadata": { "name": NAME, "annotations": { "external-dns.alpha.kubernetes.io/hostname": "!" } },
            "spec": { "ports": [{ "port": 80 }] },
        });
        let spoken = format!("tenant {}: ", subject.tenant);
        let by_policy = |answer: Option<&str>| match answer {
            Some(message) => !is_too_early(message) && (!policies || message.contains(&spoken)),
            None => !policies,
        };
        self.until(&self.owner, &resource("Service"), &service, "a Service", by_policy)
            .await?;

        let pod = json!({ "metadata": { "name": NAME }, "spec": { "containers": [{ "name": "c", "image": "i" }] } });
        self.until(&self.owner, &resource("Pod"), &pod, "a Pod", is_known)
            .await?;
        let binding = json!({
            "metadata": { "name": NAME },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
            "subjects": [{ "kind": "ServiceAccount", "name": "default", "namespace": self.name }],
        });
        self.until(
            &self.owner,
            &resource("RoleBinding"),
            &binding,
            "a RoleBinding",
            is_known,
        )
        .await?;

        let counted = |answer: Option<&str>| answer.is_some_and(|message| message.contains("exceeded quota"));
        let counted_never = json!({ "metadata": { "name": NAME }, "template": { "spec": {
            "containers": [{ "name": "c", "image": "i" }],
        } } });
        let resource = resource("PodTemplate");
        self.until(&self.admin, &resource, &counted_never, "a PodTemplate", counted)
            .await
            .map(drop)
    }

    /// Tries an object until `holds` is true for the answer; returns that answer.
    async fn until(
        &self,
        client: &Client,
        resource: &ApiResource,
        body: &Value,
        object: &str,
        holds: impl Fn(Option<&str>) -> bool,
    ) -> Result<Option<String>, Error> {
        let started = Instant::now();
        loop {
            let answer = self.attempt(client, resource, body, object).await?;
            if holds(answer.as_deref()) {
                return Ok(answer);
            }
            if started.elapsed() > PATIENCE {
                return Err(Error::NotJudged {
                    scratch: self.name.clone(),
                    object: object.to_owned(),
                    seconds: PATIENCE.as_secs(),
                    last: answer.unwrap_or_else(|| "admitted".to_owned()),
                });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Creates an object as a dry run; returns the refusal, if there is one.
    async fn attempt(
        &self,
        client: &Client,
        resource: &ApiResource,
        body: &Value,
        object: &str,
    ) -> Result<Option<String>, Error> {
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), &self.name, resource);
        match create(&api, body, true).await {
            Ok(()) => Ok(None),
            Err(kube::Error::Api(status)) if is_judgement(&status) => Ok(Some(status.message.clone())),
            Err(source) => Err(failed(format!("try {object} in {}", self.name))(source)),
        }
    }
}

/// Whether an answer shows that the API server knows the guards.
fn is_known(answer: Option<&str>) -> bool {
    answer.is_none_or(|message| !is_too_early(message))
}

/// The objects of the scratch namespace, in order of creation: the LimitRange before a pod is tried, and the quota
/// last, because it may count the others.
fn furniture(user: &str, subject: &Subject, candidates: &[Candidate]) -> Vec<(ApiResource, Value)> {
    let rbac = |kind, plural| api_resource("rbac.authorization.k8s.io", "v1", kind, plural);
    let guards = subject.objects.guards.iter();
    let guards = guards.filter(|guard| matches!(guard.key.kind, Kind::LimitRange | Kind::TenantPolicy));
    let mut furniture: Vec<_> = guards
        .map(|guard| (guard.key.kind.api_resource(), copy(guard)))
        .collect();
    for account in accounts(candidates) {
        furniture.push((resource("ServiceAccount"), json!({ "metadata": { "name": account } })));
    }
    let group = "rbac.authorization.k8s.io";
    let bind = json!({ "metadata": { "name": NAME }, "rules": [
        { "apiGroups": [group], "resources": ["roles", "clusterroles"], "verbs": ["bind"] },
    ] });
    furniture.push((rbac("Role", "roles"), bind));
    for (kind, role) in [("Role", NAME), ("ClusterRole", "tenantry-owner")] {
        let binding = json!({
            "metadata": { "name": format!("{NAME}-{}", kind.to_lowercase()) },
            "roleRef": { "apiGroup": group, "kind": kind, "name": role },
            "subjects": [{ "apiGroup": group, "kind": "User", "name": user }],
        });
        furniture.push((rbac("RoleBinding", "rolebindings"), binding));
    }
    furniture.push((Kind::ResourceQuota.api_resource(), quota(subject)));
    furniture
}

/// A guard as the operator builds it, but without labels and owner, so that the operator does not treat it as its own.
fn copy(guard: &Object) -> Value {
    let mut manifest = guard.manifest();
    manifest["metadata"] = json!({ "name": guard.key.name });
    if guard.key.kind == Kind::TenantPolicy {
        // Both depend on the user and the time, and would refuse every object.
        manifest["spec"]["state"] = json!("Active");
        manifest["spec"]["mfaForWrites"] = json!(false);
    }
    manifest
}

/// A quota with the tenant's whole grant: it refuses an object that alone exceeds the grant, or that lacks an amount
/// that the quota counts.
fn quota(subject: &Subject) -> Value {
    let granted = subject.grants.iter().chain(&subject.closed);
    let mut hard: serde_json::Map<_, _> = granted
        .map(|(key, amount)| (key.clone(), json!(amount.to_string())))
        .collect();
    hard.insert(NEVER.to_owned(), json!("0"));
    json!({ "metadata": { "name": names::OBJECT }, "spec": { "hard": hard } })
}

/// The ServiceAccounts that pods name: the API server refuses pods without them.
fn accounts(candidates: &[Candidate]) -> BTreeSet<&str> {
    let named = candidates.iter().filter(|candidate| candidate.resource.kind == "Pod");
    named
        .filter_map(|candidate| candidate.body["spec"]["serviceAccountName"].as_str())
        .chain(["default"])
        .collect()
}

async fn create(api: &Api<DynamicObject>, manifest: &Value, dry_run: bool) -> kube::Result<()> {
    let object = serde_json::from_value(manifest.clone()).map_err(kube::Error::SerdeError)?;
    let params = PostParams {
        dry_run,
        ..PostParams::default()
    };
    api.create(&params, &object).await.map(drop)
}

async fn delete(admin: &Client, scratch: &str) -> Result<(), Error> {
    let namespaces = Api::<DynamicObject>::all_with(admin.clone(), &Kind::Namespace.api_resource());
    match namespaces.delete(scratch, &DeleteParams::default()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(source) => Err(Error::Left {
            scratch: scratch.to_owned(),
            answer: answer(source),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenantry_core::fixture;

    #[test]
    fn a_scratch_guard_checks_content_and_has_no_owner() {
        let template = json!({ "security": { "mfaForWrites": true, "registries": ["registry.example.com"] } });
        let built = fixture::built(&template, &json!({ "state": "Frozen" }));
        let policies = built[0]
            .guards
            .iter()
            .filter(|guard| guard.key.kind == Kind::TenantPolicy);
        let [policy] = &policies.map(copy).collect::<Vec<_>>()[..] else {
            panic!("one TenantPolicy")
        };
        assert_eq!(policy["metadata"], json!({ "name": "effective" }));
        assert_eq!(policy["spec"]["state"], "Active");
        assert_eq!(policy["spec"]["mfaForWrites"], false);
        assert_eq!(policy["spec"]["registries"], json!(["registry.example.com"]));
    }

    #[test]
    fn each_service_account_that_a_pod_names_is_created() {
        let candidate = |kind: &str, account: &str| Candidate {
            object: String::new(),
            resource: resource(kind),
            body: json!({ "spec": { "serviceAccountName": account } }),
        };
        let candidates = [candidate("Pod", "builder"), candidate("Service", "nobody")];
        assert_eq!(accounts(&candidates), BTreeSet::from(["builder", "default"]));
    }
}
