//! Watches that are late, each by a different time. The operator sees combinations of objects that never existed
//! together, and must still act correctly.

use controlplane::Audit;
use faultproxy::{Proxy, RuleFile, Verb};
use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace},
    rbac::v1::RoleBinding,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
};
use lab::{Lab, Operator};
use serde_json::{Value, json};
use tenantry_api::v1alpha1::Tenant;

use super::runs::alone;
use crate::common::{
    self, PATIENCE,
    builders::{template, tenant},
    eventually,
    oracle::breaches,
    record::Record,
};

const NAME: &str = "again";
const PATIENT: u64 = 3000;

/// A tenant with two namespaces that is Ready.
struct Stand {
    lab: Lab,
    admin: Client,
    record: Record,
    proxy: Proxy,
    operator: Operator,
}

impl Stand {
    async fn new() -> Self {
        let (lab, admin) = common::own(Audit::Metadata).await;
        let record = Record::start(&admin).await;
        let proxy = Proxy::start(lab.kubeconfig()).await.unwrap();
        let operator = lab.operator(alone(&proxy)).await.unwrap();
        let spec = json!({ "tier": "Standard", "quotas": { "pods": 10 } });
        common::create_template(&admin, &template(NAME, spec)).await;
        let both = tenant(NAME, NAME).owner("olga").namespace("a").namespace("b");
        common::create(&admin, &both.build()).await;
        common::ready(&admin, NAME).await;
        Self {
            lab,
            admin,
            record,
            proxy,
            operator,
        }
    }

    /// From now on each event of these kinds is late, and each later event by the same time.
    fn delay(&self, plurals: &[&str]) {
        let rule = |plural: &&str| json!({ "match": { "verbs": ["watch"], "resource": plural }, "action": { "delay": PATIENT } });
        let rules: Vec<Value> = plurals.iter().map(rule).collect();
        let file = json!({ "rules": rules }).to_string();
        self.proxy.set_rules(RuleFile::parse(&file).unwrap());
    }

    async fn lists(&self, names: &[&str]) {
        let listed: Vec<_> = names.iter().map(|name| json!({ "name": name })).collect();
        let change = Patch::Merge(json!({ "spec": { "namespaces": listed } }));
        let tenants: Api<Tenant> = Api::all(self.admin.clone());
        tenants.patch(NAME, &PatchParams::default(), &change).await.unwrap();
    }

    /// How many events came late.
    fn struck(&self) -> usize {
        self.proxy.log().iter().filter(|entry| entry.rule.is_some()).count()
    }

    /// How often Tenants were listed.
    fn looks(&self) -> usize {
        let log = self.proxy.log().into_iter().map(|entry| entry.asked);
        log.filter(|asked| asked.verb == Verb::List && asked.resource == "tenants")
            .count()
    }

    /// Ends the delays and waits until the tenant is Ready; no rule was broken in between.
    async fn judge(&self) {
        self.proxy.set_rules(RuleFile::default());
        common::ready(&self.admin, NAME).await;
        let steps = self.record.steps(&self.admin).await;
        let grants = |_: &str| [("pods".to_owned(), "10".parse().unwrap())].into();
        let found = breaches(&steps, &grants);
        assert!(found.is_empty(), "{found:#?}");
    }

    async fn end(self) {
        assert!(self.operator.stop().await.unwrap().success());
        drop(self.lab);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn recreated_namespace_opens_despite_late_deletes_of_old_guards() {
    let stand = Stand::new().await;
    let guards = [
        "limitranges",
        "resourcequotas",
        "networkpolicies",
        "tenantpolicies",
        "rolebindings",
    ];
    stand.delay(&guards);
    stand.lists(&["a"]).await;
    let namespaces: Api<Namespace> = Api::all(stand.admin.clone());
    common::gone(&namespaces, "again-b").await;
    stand.lists(&["a", "b"]).await;
    let bindings: Api<RoleBinding> = Api::namespaced(stand.admin.clone(), "again-b");
    eventually("its owner to be let in", PATIENCE, || bindings.get("tenantry-owner")).await;
    assert!(stand.struck() > 0, "nothing was late");
    stand.judge().await;
    stand.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn namespace_removed_and_listed_again_keeps_its_content() {
    let stand = Stand::new().await;
    let namespaces: Api<Namespace> = Api::all(stand.admin.clone());
    let before = namespaces.get("again-b").await.unwrap().uid();
    let kept: ConfigMap = serde_json::from_value(json!({ "metadata": { "name": "kept" } })).unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(stand.admin.clone(), "again-b");
    maps.create(&PostParams::default(), &kept).await.unwrap();
    let looks_before = stand.looks();
    stand.delay(&["tenants"]);
    stand.lists(&["a"]).await;
    stand.lists(&["a", "b"]).await;
    // The operator sees both changes late.
    eventually("the operator to look at the Tenant again", PATIENCE, || async {
        let looks = stand.looks();
        if looks > looks_before { Ok(()) } else { Err(looks) }
    })
    .await;
    eventually("both changes to be told", PATIENCE, || async {
        let struck = stand.struck();
        if struck >= 2 { Ok(()) } else { Err(struck) }
    })
    .await;
    stand.judge().await;
    assert_eq!(namespaces.get("again-b").await.unwrap().uid(), before);
    maps.get("kept").await.unwrap();
    stand.end().await;
}
