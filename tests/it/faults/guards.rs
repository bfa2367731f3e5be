//! A guard that cannot be written for a while.

use std::collections::BTreeMap;

use controlplane::Audit;
use faultproxy::{Proxy, RuleFile};
use k8s_openapi::api::{core::v1::ResourceQuota, rbac::v1::RoleBinding};
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::json;

use super::runs::alone;
use crate::common::{
    self, PATIENCE,
    builders::{template, tenant},
    eventually,
    oracle::breaches,
    record::Record,
};

/// Plural and name of each guard, and the tenant that has to do without it.
const GUARDS: [(&str, &str, &str); 5] = [
    ("limitranges", "tenantry", "no-limits"),
    ("resourcequotas", "tenantry", "no-quota"),
    ("networkpolicies", "tenantry-default-deny", "no-deny"),
    ("networkpolicies", "tenantry-allow", "no-allow"),
    ("tenantpolicies", "effective", "no-policy"),
];

#[tokio::test(flavor = "multi_thread")]
async fn while_any_one_guard_cannot_be_written_nobody_has_rights() {
    let (lab, admin) = common::own(Audit::Metadata).await;
    let record = Record::start(&admin).await;
    let proxy = Proxy::start(lab.kubeconfig()).await.unwrap();
    let rules = GUARDS.map(|(resource, name, tenant)| {
        let guard = json!({ "resource": resource, "name": name, "namespace": format!("{tenant}-a") });
        json!({ "match": guard, "action": { "status": { "code": 500 } } })
    });
    let rules = json!({ "rules": rules }).to_string();
    proxy.set_rules(RuleFile::parse(&rules).unwrap());
    let operator = lab.operator(alone(&proxy)).await.unwrap();
    let spec = json!({ "tier": "Standard", "quotas": { "pods": 10 } });
    common::create_template(&admin, &template("guarded", spec)).await;
    for (.., name) in GUARDS {
        common::create(&admin, &tenant(name, "guarded").owner("olga").namespace("a").build()).await;
    }

    let tries = |(resource, guard, tenant): (&str, &str, &str)| {
        let log = proxy.log().into_iter().map(|entry| entry.asked);
        let of_guard = log.filter(|asked| asked.resource == resource && asked.name == guard);
        of_guard
            .filter(|asked| asked.namespace == format!("{tenant}-a"))
            .count()
    };
    let mut before = Vec::new();
    for guard in GUARDS {
        let quotas: Api<ResourceQuota> = Api::namespaced(admin.clone(), &format!("{}-a", guard.2));
        eventually("all other guards to stand", PATIENCE, || async {
            let quota = quotas.get_opt("tenantry").await.unwrap();
            let counted = quota.and_then(|quota| quota.status?.hard).is_some();
            if counted || guard.0 == "resourcequotas" {
                Ok(())
            } else {
                Err("the quota is not counted")
            }
        })
        .await;
        before.push(tries(guard));
    }
    for (guard, before) in GUARDS.into_iter().zip(before) {
        // Each is a look at a namespace where nothing else is missing.
        eventually("the operator to try again and again", PATIENCE, || async {
            let since = tries(guard) - before;
            if since >= 2 { Ok(()) } else { Err(since) }
        })
        .await;
        let bindings: Api<RoleBinding> = Api::namespaced(admin.clone(), &format!("{}-a", guard.2));
        let rights = bindings.list(&ListParams::default()).await.unwrap().items;
        let rights: Vec<_> = rights.iter().map(ResourceExt::name_any).collect();
        assert_eq!(rights, [""; 0], "without {guard:?}");
    }

    proxy.set_rules(vec![]);
    common::all_ready(&admin).await;
    let steps = record.steps(&admin).await;
    let grants = |_: &str| BTreeMap::from([("pods".to_owned(), "10".parse().unwrap())]);
    assert_eq!(breaches(&steps, &grants), [""; 0]);
    assert!(operator.stop().await.unwrap().success());
}
