//! Our own definitions, deleted and installed again. Those of others, such as ServiceMonitor, are in
//! tests/it/integrations.rs.

use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace, Service},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, PostParams},
};
use serde_json::json;
use tenantry_api::v1alpha1::TenantNamespace;

use super::{PATIENCE, Stand, eventually, is_left_out, plain, plain_tenant, unguarded_rights};
use crate::common::{
    self,
    builders::{template, tenant},
    code,
    oracle::strays,
};

const POLICIES: &str = "tenantpolicies.tenantry.dev";
const CLAIMS: &str = "tenantnamespaces.tenantry.dev";

impl Stand {
    fn definitions(&self) -> Api<CustomResourceDefinition> {
        Api::all(self.admin.clone())
    }

    /// Deletes a definition with all its objects; returns what is needed to install it again.
    async fn remove(&self, name: &str) -> CustomResourceDefinition {
        let mut definition = self.definitions().get(name).await.unwrap();
        self.definitions().delete(name, &DeleteParams::default()).await.unwrap();
        common::gone(&self.definitions(), name).await;
        definition.metadata.resource_version = None;
        definition.metadata.uid = None;
        definition.status = None;
        definition
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tenant_is_closed_while_the_policy_definition_is_missing() {
    let stand = Stand::new().await;
    let mut operator = stand.lab.operator(common::binary()).await.unwrap();
    common::create(&stand.admin, &plain_tenant("acme", &["a", "b"]).build()).await;
    stand.as_rendered(&[plain()]).await;
    let namespaces: Api<Namespace> = Api::all(stand.admin.clone());
    let before = namespaces.get("acme-a").await.unwrap().uid();
    let olga = stand.lab.as_user("olga", &[]).await.unwrap();
    let configs: Api<ConfigMap> = Api::namespaced(olga.clone(), "acme-a");
    let config = |name: &str| -> ConfigMap { serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap() };
    let create = PostParams::default();
    configs.create(&create, &config("kept")).await.unwrap();

    let definition = stand.remove(POLICIES).await;
    common::condition(&stand.admin, "acme", "Ready", "False", Some("ApplyFailed")).await;
    // Policies see their parameters through a cache of the API server.
    let services: Api<Service> = Api::namespaced(olga, "acme-a");
    let refused = eventually("no Service to be admitted without the rules", PATIENCE, || async {
        let service = json!({ "metadata": { "name": common::name("s") }, "spec": { "ports": [{ "port": 80 }] } });
        let service: Service = serde_json::from_value(service).unwrap();
        let answer = code(services.create(&create, &service).await);
        if answer == 200 { Err("one was") } else { Ok(answer) }
    })
    .await;
    assert!((400..500).contains(&refused), "{refused}");
    common::create(&stand.admin, &plain_tenant("amid", &["a"]).build()).await;
    common::condition(&stand.admin, "amid", "Ready", "False", Some("ApplyFailed")).await;

    stand.definitions().create(&create, &definition).await.unwrap();
    let back = std::time::Instant::now();
    stand.as_rendered(&[plain()]).await;
    let took = back.elapsed();
    let later = config("later");
    eventually("the owner to be let in", PATIENCE, || configs.create(&create, &later)).await;
    configs.get("kept").await.expect("nothing of the tenant's own is lost");
    assert_eq!(namespaces.get("acme-a").await.unwrap().uid(), before);
    assert!(operator.runs().unwrap(), "{}", operator.log_text());
    // The operator watches TenantPolicies again: it recreates a deleted one.
    let policies = stand
        .lab
        .kubectl()
        .unwrap()
        .args(["delete", "tenantpolicy", "effective", "-n", "acme-a"])
        .output();
    assert!(policies.unwrap().status.success());
    stand.as_rendered(&[plain()]).await;

    let (events, steps) = stand.seen().await;
    assert_eq!(unguarded_rights(&steps), [""; 0]);
    assert_eq!(strays(&events, &steps), [""; 0]);
    println!("as rendered {took:?} after TenantPolicies were back");
    assert!(operator.stop().await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_are_handled_again_when_their_definition_returns() {
    if is_left_out() {
        return;
    }
    let stand = Stand::new().await;
    let mut operator = stand.lab.operator(common::binary()).await.unwrap();
    let spec = json!({ "tier": "Standard", "quotas": { "pods": 9, "namespaces": 4 } });
    common::create_template(&stand.admin, &template("asking", spec)).await;
    common::create(
        &stand.admin,
        &tenant("acme", "asking").owner("olga").namespace("a").build(),
    )
    .await;
    common::all_ready(&stand.admin).await;
    let namespaces: Api<Namespace> = Api::all(stand.admin.clone());
    let before = namespaces.get("acme-a").await.unwrap().uid();

    let definition = stand.remove(CLAIMS).await;
    common::create(&stand.admin, &plain_tenant("amid", &["a"]).build()).await;
    common::ready(&stand.admin, "amid").await;
    stand
        .definitions()
        .create(&PostParams::default(), &definition)
        .await
        .unwrap();
    let claims: Api<TenantNamespace> = Api::namespaced(stand.lab.as_user("olga", &[]).await.unwrap(), "acme-home");
    let claim = json!({ "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantNamespace", "metadata": { "name": "web" }, "spec": {} });
    let claim: TenantNamespace = serde_json::from_value(claim).unwrap();
    let create = PostParams::default();
    eventually("a claim to be admitted", PATIENCE, || claims.create(&create, &claim)).await;
    let asked = std::time::Instant::now();
    eventually("the namespace that was asked for", PATIENCE, || async {
        let web = namespaces.get_opt("acme-web").await.unwrap();
        web.map(drop).ok_or("there is none")
    })
    .await;
    println!(
        "the first claim after the kind was back was heard after {:?}",
        asked.elapsed()
    );
    common::all_ready(&stand.admin).await;
    assert_eq!(namespaces.get("acme-a").await.unwrap().uid(), before);
    assert!(operator.runs().unwrap(), "{}", operator.log_text());
    stand.judge().await;
    assert!(operator.stop().await.unwrap().success());
}
