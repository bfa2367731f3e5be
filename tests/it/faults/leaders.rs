//! Quota writes that reach the API server long after they were computed.

use std::collections::BTreeMap;

use controlplane::Audit;
use faultproxy::{Proxy, RuleFile};
use k8s_openapi::api::core::v1::ResourceQuota;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use lab::Lab;
use serde_json::{Value, json};
use tenantry_api::v1alpha1::{Tenant, TenantTemplate};

use super::runs::through;
use crate::{
    common::{
        self, PATIENCE,
        builders::{template, tenant},
        eventually,
        oracle::breaches,
        record::Record,
    },
    resilience::{elected, leads},
};

const NAME: &str = "late";
const NAMESPACES: [&str; 2] = ["late-a", "late-b"];

/// A tenant of ten pods in two namespaces.
struct Stand {
    lab: Lab,
    admin: Client,
    record: Record,
    proxy: Proxy,
}

impl Stand {
    async fn new() -> Self {
        let (lab, admin) = common::own(Audit::Metadata).await;
        let record = Record::start(&admin).await;
        let spec = json!({ "tier": "Standard", "quotaSpread": "Fixed", "quotas": { "pods": 10 } });
        common::create_template(&admin, &template(NAME, spec)).await;
        let late = tenant(NAME, NAME).owner("olga").namespace("a").namespace("b");
        common::create(&admin, &late.build()).await;
        let proxy = Proxy::start(lab.kubeconfig()).await.unwrap();
        Self {
            lab,
            admin,
            record,
            proxy,
        }
    }

    /// Grants twenty pods and holds the resulting raises to ten each; then asks for five and fifteen.
    async fn hold_raises(&self) {
        self.rules(json!([hold_quotas()]));
        let templates: Api<TenantTemplate> = Api::all(self.admin.clone());
        let more = Patch::Merge(json!({ "spec": { "quotas": { "pods": 20 } } }));
        templates.patch(NAME, &PatchParams::default(), &more).await.unwrap();
        eventually("both raises to be held", PATIENCE, || async {
            let writes = self.quota_writes();
            let held = |namespace: &str| writes.iter().any(|write| write.0 == namespace && write.1.is_none());
            if NAMESPACES.into_iter().all(held) {
                Ok(())
            } else {
                Err(format!("{writes:?}"))
            }
        })
        .await;
        let tenants: Api<Tenant> = Api::all(self.admin.clone());
        let weighted = json!([{ "name": "a", "weight": 1 }, { "name": "b", "weight": 3 }]);
        let weighted = Patch::Merge(json!({ "spec": { "namespaces": weighted } }));
        tenants.patch(NAME, &PatchParams::default(), &weighted).await.unwrap();
    }

    fn rules(&self, rules: Value) {
        let file = json!({ "rules": rules }).to_string();
        self.proxy.set_rules(RuleFile::parse(&file).unwrap());
    }

    /// Waits until both quotas have these limits in spec and in status.
    async fn has(&self, pods: [&str; 2]) {
        eventually(&format!("{pods:?} pods"), 2 * PATIENCE, || async {
            let seen = self.pods().await;
            if seen == pods.map(|pods| [pods.to_owned(), pods.to_owned()]) {
                Ok(())
            } else {
                Err(format!("{seen:?}"))
            }
        })
        .await;
    }

    /// Limits of pods in spec and status.
    async fn pods(&self) -> [[String; 2]; 2] {
        let mut seen: [[String; 2]; 2] = Default::default();
        for (namespace, seen) in NAMESPACES.iter().zip(&mut seen) {
            let quotas: Api<ResourceQuota> = Api::namespaced(self.admin.clone(), namespace);
            let quota = serde_json::to_value(quotas.get_opt("tenantry").await.unwrap()).unwrap();
            *seen =
                ["spec", "status"].map(|field| quota[field]["hard"]["pods"].as_str().unwrap_or_default().to_owned());
        }
        seen
    }

    /// The API server's answers to quota writes: `None` for those that hang.
    fn quota_writes(&self) -> Vec<(String, Option<u16>)> {
        let log = self.proxy.log().into_iter();
        let writes = log.filter(|entry| entry.asked.resource == "resourcequotas" && entry.asked.is_write());
        writes.map(|entry| (entry.asked.namespace, entry.status)).collect()
    }

    async fn never_exceeded_the_grant(&self) {
        let steps = self.record.steps(&self.admin).await;
        let grants = |_: &str| BTreeMap::from([("pods".to_owned(), "20".parse().unwrap())]);
        assert_eq!(breaches(&steps, &grants), [""; 0]);
    }
}

fn hold_quotas() -> Value {
    json!({ "match": { "verbs": ["update"], "resource": "resourcequotas" }, "action": "hang" })
}

#[tokio::test(flavor = "multi_thread")]
async fn late_quota_writes_of_an_old_leader_are_refused() {
    let stand = Stand::new().await;
    let mut first = stand
        .lab
        .operator(through(&stand.proxy, elected("tenantry-1")))
        .await
        .unwrap();
    stand.has(["5", "5"]).await;
    common::ready(&stand.admin, NAME).await;

    stand.hold_raises().await;
    let no_lease = json!({ "match": { "resource": "leases" }, "action": "reset" });
    stand.rules(json!([hold_quotas(), no_lease]));
    let second = stand.lab.operator(elected("tenantry-2")).await.unwrap();
    leads(&second).await;
    let status = first.ended(PATIENCE).await;
    assert!(!status.success(), "a leader that lost its lease must say so: {status}");
    stand.has(["5", "15"]).await;

    let held = stand
        .quota_writes()
        .iter()
        .filter(|(_, status)| status.is_none())
        .count();
    assert!(held >= NAMESPACES.len(), "{held} writes of the first are under way");
    stand.proxy.release();
    stand.proxy.until_idle().await;
    let late = stand.quota_writes();
    println!("{held} quota writes of the old leader came late: {late:?}");
    assert!(
        late.iter().rev().take(held).all(|(_, status)| *status == Some(409)),
        "{late:?}"
    );
    stand.never_exceeded_the_grant().await;
    stand.has(["5", "15"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn timed_out_quota_write_counts_while_it_may_still_arrive() {
    let stand = Stand::new().await;
    let alone = common::binary().arg("--leader-elect=false").arg("--request-timeout=2s");
    let operator = stand.lab.operator(through(&stand.proxy, alone)).await.unwrap();
    stand.has(["5", "5"]).await;
    common::ready(&stand.admin, NAME).await;

    stand.hold_raises().await;
    // No later write overtakes the raise of the first quota: it arrives, however late.
    let first = json!({ "verbs": ["update"], "resource": "resourcequotas", "namespace": NAMESPACES[0] });
    stand.rules(json!([{ "match": first, "action": { "status": { "code": 500 } } }]));
    eventually("the other quota to be written", PATIENCE, || async {
        let writes = stand.quota_writes();
        if writes.contains(&(NAMESPACES[1].to_owned(), Some(200))) {
            Ok(())
        } else {
            Err(format!("{writes:?}"))
        }
    })
    .await;
    stand.proxy.release();
    eventually("the late raise to land", PATIENCE, || async {
        let writes = stand.quota_writes();
        if writes.contains(&(NAMESPACES[0].to_owned(), Some(200))) {
            Ok(())
        } else {
            Err(format!("{writes:?}"))
        }
    })
    .await;
    stand.proxy.set_rules(vec![]);
    stand.has(["5", "15"]).await;
    stand.never_exceeded_the_grant().await;
    operator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_quota_write_blocks_nothing() {
    let stand = Stand::new().await;
    let alone = common::binary().arg("--leader-elect=false").arg("--request-timeout=2s");
    let operator = stand.lab.operator(through(&stand.proxy, alone)).await.unwrap();
    stand.has(["5", "5"]).await;
    common::ready(&stand.admin, NAME).await;

    stand.hold_raises().await;
    stand.proxy.set_rules(vec![]);
    // Never released.
    stand.has(["5", "15"]).await;
    println!("quota writes: {:?}", stand.quota_writes());
    stand.never_exceeded_the_grant().await;
    operator.stop().await.unwrap();
}
