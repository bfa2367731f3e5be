//! Tenants that are deleted while an account keeps binding itself, and beside namespaces of others.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::{
    core::v1::{Namespace, ServiceAccount},
    rbac::v1::RoleBinding,
};
use kube::{
    Api, Client, Error,
    api::{DeleteParams, PostParams},
};
use lab::eventually;
use serde_json::json;
use tenantry_api::v1alpha1::Tenant;

use crate::common::{
    self, PATIENCE,
    builders::{binding, tenant},
};

/// The account `bot` as an owner of its namespace.
fn owning(namespace: &str) -> RoleBinding {
    let binding = binding(&json!({ "generateName": "mine-" }), "tenantry-owner", "bot", namespace);
    serde_json::from_value(binding).unwrap()
}

/// Binds the account to the owner's role until the namespace is gone, and counts the bindings.
async fn cling(account: Client, spaces: Api<Namespace>, namespace: String, made: Arc<AtomicUsize>) {
    let bindings: Api<RoleBinding> = Api::namespaced(account, &namespace);
    loop {
        match bindings.create(&PostParams::default(), &owning(&namespace)).await {
            Ok(_) => {
                made.fetch_add(1, Ordering::Relaxed);
            }
            Err(Error::Api(status)) if status.is_not_found() => return,
            Err(Error::Api(status)) if status.is_forbidden() => {
                if spaces.get_opt(&namespace).await.unwrap().is_none() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn account_that_keeps_binding_itself_ends_with_its_tenant() {
    let lab = common::shared().await;
    let admin = lab.admin().await.unwrap();
    let name = common::name("clings");
    common::create(
        &admin,
        &tenant(&name, "premium").owner("mallory").namespace("app").build(),
    )
    .await;
    common::ready(&admin, &name).await;
    let namespace = format!("{name}-app");
    let mallory = lab.as_user("mallory", &[]).await.unwrap();
    let account: ServiceAccount = serde_json::from_value(json!({ "metadata": { "name": "bot" } })).unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(mallory.clone(), &namespace);
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let bindings: Api<RoleBinding> = Api::namespaced(mallory, &namespace);
    bindings
        .create(&PostParams::default(), &owning(&namespace))
        .await
        .unwrap();

    let user = format!("system:serviceaccount:{namespace}:bot");
    let made = Arc::new(AtomicUsize::new(0));
    let mut bots = Vec::new();
    for _ in 0..2 {
        let groups = ["system:serviceaccounts", "system:authenticated"];
        let bot = lab.as_user(&user, &groups).await.unwrap();
        bots.push(tokio::spawn(cling(
            bot,
            Api::all(admin.clone()),
            namespace.clone(),
            made.clone(),
        )));
    }
    eventually("the account to cling", PATIENCE, || async {
        match made.load(Ordering::Relaxed) {
            100.. => Ok(()),
            made => Err(made),
        }
    })
    .await;
    let tenants: Api<Tenant> = Api::all(admin);
    tenants.delete(&name, &DeleteParams::default()).await.unwrap();
    // Thousands of bindings need a request each.
    eventually("the Tenant to be gone", 4 * PATIENCE, || async {
        match tenants.get_opt(&name).await.unwrap() {
            None => Ok(()),
            Some(_) => Err(format!("{} bindings were made", made.load(Ordering::Relaxed))),
        }
    })
    .await;
    for bot in bots {
        bot.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_only_has_a_tenants_label_is_not_touched() {
    let lab = common::shared().await;
    let admin = lab.admin().await.unwrap();
    let name = common::name("labels");
    let foreign = format!("production-{name}");
    let namespace: Namespace = serde_json::from_value(json!({
        "metadata": { "name": foreign, "labels": { "tenantry.dev/tenant": name } },
    }))
    .unwrap();
    common::create(&admin, &tenant(&name, "premium").owner("olga").namespace("app").build()).await;
    common::ready(&admin, &name).await;
    let namespaces: Api<Namespace> = Api::all(admin.clone());
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    let tenants: Api<Tenant> = Api::all(admin);
    tenants.delete(&name, &DeleteParams::default()).await.unwrap();
    common::gone(&tenants, &name).await;
    let stands = namespaces.get(&foreign).await.unwrap();
    assert!(stands.metadata.deletion_timestamp.is_none());
    namespaces.delete(&foreign, &DeleteParams::default()).await.unwrap();
}
