//! Guards that the API server refuses for a while, with each error; and guards that the operator cannot repair.

use std::collections::BTreeMap;

use controlplane::Audit;
use faultproxy::{Proxy, RuleFile};
use k8s_openapi::api::{core::v1::ResourceQuota, rbac::v1::RoleBinding};
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use tenantry_api::v1alpha1::Tenant;

use super::runs::alone;
use crate::common::{
    self, PATIENCE,
    builders::{template, tenant},
    eventually,
    oracle::{self, breaches},
    record::Record,
    stands,
};

/// Plural and name of each guard, and a word for its tenants.
const GUARDS: [(&str, &str, &str); 5] = [
    ("limitranges", "tenantry", "limits"),
    ("resourcequotas", "tenantry", "quota"),
    ("networkpolicies", "tenantry-default-deny", "deny"),
    ("networkpolicies", "tenantry-allow", "allow"),
    ("tenantpolicies", "effective", "policy"),
];

/// The errors with which each is refused.
const CODES: [u16; 5] = [403, 404, 422, 500, 503];

/// A tenant that lacks one guard.
struct Case {
    tenant: String,
    resource: &'static str,
    guard: &'static str,
    code: u16,
}

impl Case {
    fn all() -> Vec<Self> {
        let guards = GUARDS.into_iter();
        guards
            .flat_map(|(resource, guard, word)| {
                CODES.map(|code| Self {
                    tenant: format!("no-{word}-{code}"),
                    resource,
                    guard,
                    code,
                })
            })
            .collect()
    }

    fn namespace(&self) -> String {
        format!("{}-a", self.tenant)
    }

    /// Refuses writes of the guard; only with these verbs, if any are given.
    fn rule(&self, verbs: &[&str]) -> Value {
        let guard =
            json!({ "verbs": verbs, "resource": self.resource, "name": self.guard, "namespace": self.namespace() });
        json!({ "match": guard, "action": { "status": { "code": self.code } } })
    }

    /// How often the guard was refused.
    fn refusals(&self, proxy: &Proxy) -> usize {
        let log = proxy.log();
        let refused = log.iter().filter(|entry| entry.rule.is_some());
        refused
            .filter(|entry| {
                let asked = &entry.asked;
                asked.resource == self.resource && asked.name == self.guard && asked.namespace == self.namespace()
            })
            .count()
    }

    /// An admin changes the guard's content; the object stays.
    async fn spoil(&self, admin: &Client) {
        let (kind, _) = oracle::GUARDS
            .into_iter()
            .find(|(kind, name)| kind.api_resource().plural == self.resource && *name == self.guard)
            .unwrap();
        let spec = match (self.resource, self.guard) {
            ("limitranges", _) => json!({ "limits": [] }),
            // Less than the grant, so that it is no breach by itself.
            ("resourcequotas", _) => json!({ "hard": { "pods": "5" } }),
            ("networkpolicies", "tenantry-allow") => json!({ "egress": [{}] }),
            ("networkpolicies", _) => json!({ "policyTypes": ["Ingress"] }),
            _ => json!({ "imageDigests": true }),
        };
        let api: Api<DynamicObject> = Api::namespaced_with(admin.clone(), &self.namespace(), &kind.api_resource());
        let before = api.get(self.guard).await.unwrap();
        let change = Patch::Merge(json!({ "spec": spec }));
        let after = api.patch(self.guard, &PatchParams::default(), &change).await.unwrap();
        assert_ne!(
            before.data["spec"], after.data["spec"],
            "{}: nothing was spoilt",
            self.guard
        );
    }

    /// The RoleBindings that give `user` a right in the namespace.
    async fn rights_of(&self, admin: &Client, user: &str) -> Vec<String> {
        let bindings: Api<RoleBinding> = Api::namespaced(admin.clone(), &self.namespace());
        let bindings = bindings.list(&ListParams::default()).await.unwrap();
        let of_user = bindings.iter().filter(|binding| {
            let mut subjects = binding.subjects.iter().flatten();
            subjects.any(|subject| subject.name == user)
        });
        of_user.map(ResourceExt::name_any).collect()
    }

    /// How often the operator tried to write the guard.
    fn tries(&self, proxy: &Proxy) -> usize {
        let log = proxy.log().into_iter().map(|entry| entry.asked);
        log.filter(|asked| {
            asked.resource == self.resource && asked.name == self.guard && asked.namespace == self.namespace()
        })
        .count()
    }

    /// Waits until every object exists that does not depend on the guard; returns the number of tries until then.
    async fn stands_without(&self, admin: &Client, proxy: &Proxy) -> usize {
        let quotas: Api<ResourceQuota> = Api::namespaced(admin.clone(), &self.namespace());
        eventually("all other guards to stand", PATIENCE, || async {
            let quota = quotas.get_opt("tenantry").await.unwrap();
            let counted = quota.and_then(|quota| quota.status?.hard).is_some();
            if counted || self.resource == "resourcequotas" {
                Ok(())
            } else {
                Err("the quota is not counted")
            }
        })
        .await;
        self.tries(proxy)
    }

    /// What is wrong while the guard is missing.
    async fn blames(&self, admin: &Client) -> Vec<String> {
        let Self { tenant, code, .. } = self;
        let mut blames = Vec::new();
        let bindings: Api<RoleBinding> = Api::namespaced(admin.clone(), &self.namespace());
        for right in bindings.list(&ListParams::default()).await.unwrap() {
            blames.push(format!("{} stands in {tenant}", right.name_any()));
        }
        let found = Api::<Tenant>::all(admin.clone()).get(tenant).await.unwrap();
        let conditions = found.status.unwrap_or_default().conditions;
        let told = conditions
            .iter()
            .any(|condition| condition.reason == "ApplyFailed" && condition.message.contains(&code.to_string()));
        let ready = conditions
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        if ready || !told {
            blames.push(format!("{tenant} says {conditions:#?}"));
        }
        blames
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_has_rights_while_any_guard_cannot_be_created() {
    let (lab, admin) = common::own(Audit::Metadata).await;
    let record = Record::start(&admin).await;
    let proxy = Proxy::start(lab.kubeconfig()).await.unwrap();
    let cases = Case::all();
    let rules: Vec<_> = cases.iter().map(|case| case.rule(&[])).collect();
    let rules = json!({ "rules": rules }).to_string();
    proxy.set_rules(RuleFile::parse(&rules).unwrap());
    let operator = lab.operator(alone(&proxy)).await.unwrap();
    let spec = json!({ "tier": "Standard", "quotas": { "pods": 10 } });
    common::create_template(&admin, &template("guarded", spec)).await;
    for Case { tenant: name, .. } in &cases {
        common::create(&admin, &tenant(name, "guarded").owner("olga").namespace("a").build()).await;
    }
    // A tenant whose guards are all written does not wait for the others.
    common::create(&admin, &tenant("whole", "guarded").owner("olga").namespace("a").build()).await;
    common::ready(&admin, "whole").await;

    let mut before = Vec::new();
    for case in &cases {
        before.push(case.stands_without(&admin, &proxy).await);
    }
    let mut blames = Vec::new();
    for (case, before) in cases.iter().zip(before) {
        // Each try follows a check of a namespace in which nothing else is missing.
        eventually("the operator to try again and again", PATIENCE, || async {
            let since = case.tries(&proxy) - before;
            if since >= 2 { Ok(()) } else { Err(since) }
        })
        .await;
        blames.extend(case.blames(&admin).await);
    }
    assert_eq!(blames, [""; 0]);

    proxy.set_rules(vec![]);
    common::all_ready(&admin).await;
    let steps = record.steps(&admin).await;
    let grants = |_: &str| BTreeMap::from([("pods".to_owned(), "10".parse().unwrap())]);
    assert_eq!(breaches(&steps, &grants), [""; 0]);
    assert!(operator.stop().await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_new_rights_while_any_guard_cannot_be_repaired() {
    let (lab, admin) = common::own(Audit::Metadata).await;
    let record = Record::start(&admin).await;
    let proxy = Proxy::start(lab.kubeconfig()).await.unwrap();
    let operator = lab.operator(alone(&proxy)).await.unwrap();
    // So that the LimitRange is not empty.
    let small = json!({ "cpu": "10m", "memory": "16Mi" });
    let spec = json!({ "tier": "Standard", "quotas": { "pods": 10 }, "containers": { "default": small } });
    let template = template("guarded", spec);
    common::create_template(&admin, &template).await;
    let cases = GUARDS.map(|(resource, guard, word)| Case {
        tenant: format!("wrong-{word}"),
        resource,
        guard,
        code: 403,
    });
    for Case { tenant: name, .. } in &cases {
        common::create(&admin, &tenant(name, "guarded").owner("olga").namespace("a").build()).await;
    }
    common::all_ready(&admin).await;

    let rules: Vec<_> = cases.iter().map(|case| case.rule(&["update"])).collect();
    let rules = json!({ "rules": rules }).to_string();
    proxy.set_rules(RuleFile::parse(&rules).unwrap());
    for case in &cases {
        case.spoil(&admin).await;
    }
    // A right that is given before the operator has seen the wrong guard is correct.
    for case in &cases {
        eventually("the operator to have seen the wrong guard", PATIENCE, || async {
            if case.refusals(&proxy) > 0 {
                Ok(())
            } else {
                Err("no try yet")
            }
        })
        .await;
    }
    let tenants: Api<Tenant> = Api::all(admin.clone());
    let both = tenant("any", "guarded").owner("olga").owner("nina").build().spec.owners;
    let both = Patch::Merge(json!({ "spec": { "owners": both } }));
    let mut refused_before = Vec::new();
    for case in &cases {
        tenants
            .patch(&case.tenant, &PatchParams::default(), &both)
            .await
            .unwrap();
        refused_before.push(case.refusals(&proxy));
    }
    let mut blames = Vec::new();
    for (case, before) in cases.iter().zip(refused_before) {
        // The operator has handled the new owner, and tried again.
        common::condition(&admin, &case.tenant, "Ready", "False", None).await;
        eventually("the operator to try again and again", PATIENCE, || async {
            let since = case.refusals(&proxy) - before;
            if since >= 2 { Ok(()) } else { Err(since) }
        })
        .await;
        let rights = case.rights_of(&admin, "nina").await;
        blames.extend(
            rights
                .iter()
                .map(|right| format!("{right} lets her into {}", case.tenant)),
        );
        assert_ne!(
            case.rights_of(&admin, "olga").await,
            [""; 0],
            "{}: who was in stays",
            case.tenant
        );
    }
    assert_eq!(blames, [""; 0]);

    proxy.set_rules(vec![]);
    let all = common::all_ready(&admin).await;
    for case in &cases {
        assert_eq!(
            case.rights_of(&admin, "nina").await,
            ["tenantry-owner"],
            "{}",
            case.tenant
        );
    }
    assert_eq!(stands::differences(&admin, &[template], &all).await, [""; 0]);
    let steps = record.steps(&admin).await;
    let grants = |_: &str| BTreeMap::from([("pods".to_owned(), "10".parse().unwrap())]);
    assert_eq!(breaches(&steps, &grants), [""; 0]);
    assert!(operator.stop().await.unwrap().success());
}
