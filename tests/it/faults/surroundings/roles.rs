//! The operator's installed rights, to be removed and restored one by one.

use std::{collections::BTreeSet, fmt};

use k8s_openapi::api::{
    authorization::v1::SubjectAccessReview,
    rbac::v1::{ClusterRole, PolicyRule, Role},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::common::{PATIENCE, audit, eventually};

const NAME: &str = "tenantry";

/// One verb on one resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    pub group: String,
    /// Plural, with its subresource.
    pub resource: String,
    pub verb: String,
    /// The only object to which it applies.
    pub name: Option<String>,
    /// Applies in the operator's own namespace only.
    namespaced: bool,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        self.name.as_ref().map_or(Ok(()), |name| write!(f, " {name}"))
    }
}

impl Right {
    pub fn is(&self, verb: &str, resources: &[&str]) -> bool {
        self.verb == verb && resources.contains(&&*self.resource)
    }

    /// The API server's answer to a user who lacks it.
    pub fn refusal(&self) -> String {
        let Self {
            group, resource, verb, ..
        } = self;
        match (&**verb, &self.name) {
            ("bind", Some(role)) => {
                format!(r#""{role}" is forbidden: user "{}" (groups="#, audit::OPERATOR)
            }
            _ => format!(r#"cannot {verb} resource "{resource}" in API group "{group}""#),
        }
    }

    fn of(rules: &[PolicyRule], namespaced: bool) -> BTreeSet<Self> {
        let mut rights = BTreeSet::new();
        for rule in rules {
            let names = rule.resource_names.clone().unwrap_or_default();
            let names: Vec<Option<String>> = match names.len() {
                0 => vec![None],
                _ => names.into_iter().map(Some).collect(),
            };
            for group in rule.api_groups.iter().flatten() {
                for resource in rule.resources.iter().flatten() {
                    for verb in &rule.verbs {
                        rights.extend(names.iter().map(|name| Self {
                            group: group.clone(),
                            resource: resource.clone(),
                            verb: verb.clone(),
                            name: name.clone(),
                            namespaced,
                        }));
                    }
                }
            }
        }
        rights
    }

    fn rule(&self) -> Value {
        let Self {
            group,
            resource,
            verb,
            name,
            ..
        } = self;
        json!({ "apiGroups": [group], "resources": [resource], "verbs": [verb], "resourceNames": name.as_slice() })
    }
}

/// The rights that the chart gives the operator.
pub struct Roles {
    admin: Client,
    pub all: BTreeSet<Right>,
}

impl Roles {
    pub async fn installed(admin: &Client) -> Self {
        let cluster = Api::<ClusterRole>::all(admin.clone()).get(NAME).await.unwrap();
        let own = Api::<Role>::namespaced(admin.clone(), lab::NAMESPACE)
            .get(NAME)
            .await
            .unwrap();
        let mut all = Right::of(&cluster.rules.unwrap_or_default(), false);
        all.extend(Right::of(&own.rules.unwrap_or_default(), true));
        Self {
            admin: admin.clone(),
            all,
        }
    }

    /// Removes these and restores all others; returns the removed ones.
    pub async fn without(&self, out: impl Fn(&Right) -> bool) -> BTreeSet<Right> {
        let (gone, left): (BTreeSet<Right>, BTreeSet<Right>) = self.all.iter().cloned().partition(|right| out(right));
        let rules = |namespaced| -> Vec<Value> {
            let rules = left.iter().filter(|right| right.namespaced == namespaced);
            rules.map(Right::rule).collect()
        };
        let change = |namespaced| Patch::Merge(json!({ "rules": rules(namespaced) }));
        let (cluster, own) = (change(false), change(true));
        let params = PatchParams::default();
        let clusters: Api<ClusterRole> = Api::all(self.admin.clone());
        clusters.patch(NAME, &params, &cluster).await.unwrap();
        let owns: Api<Role> = Api::namespaced(self.admin.clone(), lab::NAMESPACE);
        owns.patch(NAME, &params, &own).await.unwrap();
        // The API server reads roles from a cache.
        for right in &self.all {
            let wanted = left.contains(right);
            eventually(&format!("{right} to be {wanted}"), PATIENCE, || async {
                let allowed = self.may(right).await;
                if allowed == wanted { Ok(()) } else { Err(allowed) }
            })
            .await;
        }
        gone
    }

    async fn may(&self, right: &Right) -> bool {
        let (resource, subresource) = right.resource.split_once('/').unwrap_or((&right.resource, ""));
        let asked = json!({
            "group": right.group, "resource": resource, "subresource": subresource, "verb": right.verb,
            "name": right.name, "namespace": if right.namespaced { lab::NAMESPACE } else { "" },
        });
        let review = json!({ "metadata": {}, "spec": { "user": audit::OPERATOR, "resourceAttributes": asked } });
        let review: SubjectAccessReview = serde_json::from_value(review).unwrap();
        let reviews: Api<SubjectAccessReview> = Api::all(self.admin.clone());
        let answer = reviews.create(&PostParams::default(), &review).await.unwrap();
        answer.status.is_some_and(|status| status.allowed)
    }
}
