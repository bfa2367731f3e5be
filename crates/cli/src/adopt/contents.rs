//! The objects in the namespace that guards check, count or bind.

use std::collections::BTreeMap;

use kube::{
    Api, Client,
    api::{DynamicObject, ListParams},
    core::ApiResource,
    discovery,
};
use serde_json::{Value, json};

use super::error::{Error, failed};

/// Group, version, kind and plural of each kind that `adopt` lists; a cluster may lack the last two.
const KINDS: [(&str, &str, &str, &str); 17] = [
    ("", "v1", "Pod", "pods"),
    ("", "v1", "Service", "services"),
    ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    ("", "v1", "ReplicationController", "replicationcontrollers"),
    ("", "v1", "ResourceQuota", "resourcequotas"),
    ("", "v1", "LimitRange", "limitranges"),
    ("apps", "v1", "Deployment", "deployments"),
    ("apps", "v1", "StatefulSet", "statefulsets"),
    ("apps", "v1", "DaemonSet", "daemonsets"),
    ("apps", "v1", "ReplicaSet", "replicasets"),
    ("batch", "v1", "Job", "jobs"),
    ("batch", "v1", "CronJob", "cronjobs"),
    ("networking.k8s.io", "v1", "Ingress", "ingresses"),
    ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"),
    ("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"),
    ("gateway.networking.k8s.io", "v1", "GRPCRoute", "grpcroutes"),
];

/// Objects by kind, each with apiVersion and kind.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    by_kind: BTreeMap<&'static str, Vec<Value>>,
    /// Numbers of objects whose content is not needed, by key of a ResourceQuota.
    pub(super) counts: BTreeMap<String, usize>,
}

impl Contents {
    /// Lists the objects of the namespace; `keys` are the ResourceQuota keys of the tenant.
    pub(super) async fn read<'a>(
        admin: &Client,
        namespace: &str,
        keys: impl Iterator<Item = &'a str>,
    ) -> Result<Self, Error> {
        let mut contents = Self::default();
        for (.., kind, plural) in KINDS {
            let api = Api::<DynamicObject>::namespaced_with(admin.clone(), namespace, &resource(kind));
            let found = match api.list(&ListParams::default()).await {
                Ok(found) => found.items,
                // The cluster does not serve this kind.
                Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
                Err(source) => return Err(failed(format!("list {plural} of {namespace}"))(source)),
            };
            for object in found {
                contents.insert(kind, serde_json::to_value(object).unwrap_or_default());
            }
        }
        for key in keys {
            if let Some(count) = count(admin, namespace, key).await? {
                contents.counts.insert(key.to_owned(), count);
            }
        }
        Ok(contents)
    }

    /// Every object of a kind.
    pub(super) fn of(&self, kind: &str) -> &[Value] {
        self.by_kind.get(kind).map_or(&[], Vec::as_slice)
    }

    /// Every object.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.by_kind
            .iter()
            .flat_map(|(kind, objects)| objects.iter().map(|object| (*kind, object)))
    }

    pub(super) fn insert(&mut self, kind: &'static str, mut object: Value) {
        object["apiVersion"] = json!(resource(kind).api_version);
        object["kind"] = json!(kind);
        self.by_kind.entry(kind).or_default().push(object);
    }
}

/// The resource of a kind in the table, or of a core kind with that name.
pub(super) fn resource(kind: &str) -> ApiResource {
    let known = KINDS.iter().find(|(.., known, _)| *known == kind);
    let lower = format!("{}s", kind.to_lowercase());
    let (group, version, kind, plural) = known.copied().unwrap_or(("", "v1", kind, &lower));
    api_resource(group, version, kind, plural)
}

pub(super) fn api_resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: if group.is_empty() {
            version.to_owned()
        } else {
            format!("{group}/{version}")
        },
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

/// How many objects a key counts: `count/<plural>.<group>`, or a plural like `secrets`; none for any other key. It does
/// not read their content.
async fn count(admin: &Client, namespace: &str, key: &str) -> Result<Option<usize>, Error> {
    let plain = ["configmaps", "secrets", "replicationcontrollers"];
    let Some(counted) = key.strip_prefix("count/").or(plain.contains(&key).then_some(key)) else {
        return Ok(None);
    };
    let resource = match counted.split_once('.') {
        None => api_resource("", "v1", "", counted),
        Some((plural, group)) => match discovery::group(admin, group).await {
            Ok(group) => {
                let mut served = group.recommended_resources().into_iter();
                match served.find(|(resource, _)| resource.plural == plural) {
                    Some((resource, _)) => resource,
                    None => return Ok(Some(0)),
                }
            }
            // The cluster does not serve the kind, so there is no object of it.
            Err(kube::Error::Discovery(_)) => return Ok(Some(0)),
            Err(source) => return Err(failed(format!("look up {counted}"))(source)),
        },
    };
    let api = Api::<DynamicObject>::namespaced_with(admin.clone(), namespace, &resource);
    let found = api.list_metadata(&ListParams::default()).await;
    Ok(Some(
        found
            .map_err(failed(format!("count {counted} in {namespace}")))?
            .items
            .len(),
    ))
}
