//! Owners claim namespaces by themselves, and get no more than the grant.

use std::collections::BTreeSet;

use futures::{StreamExt as _, future::join_all};
use k8s_openapi::api::{
    core::v1::{ConfigMap, Event, Namespace, Pod, Secret, Service},
    rbac::v1::ClusterRoleBinding,
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
};
use lab::Lab;
use serde_json::{Value, json};
use tenantry_api::v1alpha1::{NamespaceState, Tenant, TenantNamespace};

use crate::common::{
    self, PATIENCE,
    builders::{TenantBuilder, pod, template, tenant},
    code, eventually,
};

/// A tenant of `owner`, with a template that grants so many namespaces; `with` is merged into the template.
async fn granted(namespaces: i64, owner: &str, with: &Value) -> (&'static Lab, Client, TenantBuilder, String) {
    let lab = common::shared().await;
    let admin = lab.admin().await.unwrap();
    let name = common::name("self");
    let small = json!({ "cpu": "10m", "memory": "16Mi" });
    let mut spec = json!({
        "tier": "Standard", "quotas": { "namespaces": namespaces, "pods": 20, "cpu": "2", "memory": "2Gi" },
        "containers": { "default": small, "defaultRequest": small }, "security": { "podSecurity": "Restricted" },
    });
    for (field, value) in with.as_object().unwrap() {
        spec[field] = value.clone();
    }
    common::create_template(&admin, &template(&name, spec)).await;
    (lab, admin, tenant(&name, &name).owner(owner), name)
}

fn claim(name: &str) -> TenantNamespace {
    let claim = json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantNamespace", "metadata": { "name": name },
        "spec": { "environment": "Testing", "weight": 2 },
    });
    serde_json::from_value(claim).unwrap()
}

fn claims(client: &Client, tenant: &str) -> Api<TenantNamespace> {
    Api::namespaced(client.clone(), &format!("{tenant}-home"))
}

/// Waits until the tenant is Ready and its owners can create claims.
async fn open(admin: &Client, name: &str) -> Tenant {
    common::condition(admin, name, "SelfServiceReady", "True", None).await;
    common::ready(admin, name).await
}

/// Waits until the claim's condition Ready has this status and reason.
async fn told(claims: &Api<TenantNamespace>, name: &str, status: &str, reason: &str) -> TenantNamespace {
    eventually(&format!("{name} to be Ready={status} {reason}"), PATIENCE, || async {
        let claim = claims.get(name).await.map_err(|error| error.to_string())?;
        let conditions = claim.status.as_ref().map_or(&[][..], |status| &status.conditions);
        let is_so = |type_: &str| {
            conditions
                .iter()
                .any(|condition| condition.type_ == type_ && condition.status == status && condition.reason == reason)
        };
        if is_so("Ready") {
            Ok(claim)
        } else {
            Err(format!("{conditions:#?}"))
        }
    })
    .await
}

/// The highest number of the tenant's namespaces at the same time, without its home. Watches from before the first
/// until `last` is deleted.
async fn most_at_once(admin: &Client, tenant: &str, last: &str) -> usize {
    let selector = format!("tenantry.dev/tenant={tenant},!tenantry.dev/home");
    let api: Api<Namespace> = Api::all(admin.clone());
    let mut events = api
        .watch(&WatchParams::default().labels(&selector).timeout(290), "0")
        .await
        .unwrap()
        .boxed();
    let (mut standing, mut most) = (BTreeSet::new(), 0);
    while let Some(event) = events.next().await {
        match event.unwrap() {
            WatchEvent::Added(namespace) => {
                standing.insert(namespace.metadata.name);
                most = most.max(standing.len());
            }
            WatchEvent::Deleted(namespace) => {
                standing.remove(&namespace.metadata.name);
                if namespace.metadata.name.as_deref() == Some(last) {
                    return most;
                }
            }
            WatchEvent::Error(error) => panic!("the watch of namespaces has a gap: {error:?}"),
            WatchEvent::Modified(_) | WatchEvent::Bookmark(_) => {}
        }
    }
    panic!("{last} did not go in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn owner_claims_uses_and_returns_a_namespace() {
    let (lab, admin, tenant, name) = granted(3, "ada", &json!({})).await;
    common::create(&admin, &tenant.namespace("dev").build()).await;
    open(&admin, &name).await;
    let ada = lab.as_user("ada", &[]).await.unwrap();
    let asked = claims(&ada, &name);
    asked.create(&PostParams::default(), &claim("web")).await.unwrap();
    let web = told(&asked, "web", "True", "Active").await;
    assert_eq!(web.status.unwrap().namespace, Some(format!("{name}-web")));

    let full = format!("{name}-web");
    let pods: Api<Pod> = Api::namespaced(ada.clone(), &full);
    let restricted: Pod = serde_json::from_value(pod(&json!({}))).unwrap();
    pods.create(&PostParams::default(), &restricted).await.unwrap();
    let labels = Api::<Namespace>::all(ada.clone())
        .get(&full)
        .await
        .unwrap()
        .metadata
        .labels
        .unwrap();
    assert_eq!(labels["tenantry.dev/environment"], "Testing");
    let status = common::ready(&admin, &name).await.status.unwrap();
    assert_eq!(status.namespaces_ready.as_deref(), Some("2/2"));
    // By weight: 20 pods as 1 : 2.
    let quota = status.quota.iter().find(|quota| quota.resource == "pods").unwrap();
    assert_eq!(quota.allocated.to_string(), "20");

    // Writes that the policies refuse to the owner.
    let namespaces: Api<Namespace> = Api::all(ada.clone());
    let moved = Patch::Merge(json!({ "metadata": { "labels": { "tenantry.dev/tenant": "other" } } }));
    for namespace in [&full, &format!("{name}-home")] {
        assert_eq!(
            code(namespaces.patch(namespace, &PatchParams::default(), &moved).await),
            403
        );
        assert_eq!(
            code(namespaces.delete(namespace, &DeleteParams::default()).await.map(drop)),
            403
        );
    }

    asked.delete("web", &DeleteParams::default()).await.unwrap();
    common::gone(&Api::<Namespace>::all(admin.clone()), &full).await;
    let status = common::ready(&admin, &name).await.status.unwrap();
    assert_eq!(status.namespaces_ready.as_deref(), Some("1/1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_at_once_get_exactly_the_five_granted_namespaces() {
    let (lab, admin, tenant, name) = granted(6, "olu", &json!({})).await;
    common::create(&admin, &tenant.namespace("dev").build()).await;
    open(&admin, &name).await;
    let olu = lab.as_user("olu", &[]).await.unwrap();
    let asked = claims(&olu, &name);
    let most = tokio::spawn({
        let (admin, name) = (admin.clone(), name.clone());
        async move { most_at_once(&admin, &name, &format!("{name}-dev")).await }
    });
    let requests: Vec<_> = (0..60).map(|number| claim(&format!("n{number}"))).collect();
    let answers = join_all(
        requests
            .iter()
            .map(async |claim| asked.create(&PostParams::default(), claim).await),
    )
    .await;
    let mut admitted = 0;
    for answer in answers {
        match answer {
            Ok(_) => admitted += 1,
            Err(kube::Error::Api(status)) => {
                assert!(
                    status.code == 403 && status.message.contains("exceeded quota: tenantry"),
                    "{status:?}"
                );
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(admitted, 5);
    for claim in asked.list(&Default::default()).await.unwrap() {
        told(&asked, claim.metadata.name.as_deref().unwrap(), "True", "Active").await;
    }

    // Delete one and create another: a deleted namespace uses its place until it is gone.
    for round in 0..3 {
        let standing = asked.list(&Default::default()).await.unwrap().items;
        let old = standing[0].metadata.name.clone().unwrap();
        asked.delete(&old, &DeleteParams::default()).await.unwrap();
        let new = format!("again{round}");
        eventually("a place", PATIENCE, async || {
            asked.create(&PostParams::default(), &claim(&new)).await.map(drop)
        })
        .await;
        told(&asked, &new, "True", "Active").await;
    }
    Api::<Tenant>::all(admin.clone())
        .delete(&name, &DeleteParams::default())
        .await
        .unwrap();
    common::gone(&Api::<Tenant>::all(admin), &name).await;
    assert_eq!(most.await.unwrap(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn owner_can_only_claim_in_the_home_namespace() {
    let (lab, admin, tenant, name) = granted(3, "hana", &json!({})).await;
    let tenant = tenant
        .member("User", "erik", "Editor")
        .member("Group", "auditors", "Viewer");
    common::create(&admin, &tenant.build()).await;
    open(&admin, &name).await;
    let home = format!("{name}-home");
    let hana = lab.as_user("hana", &[]).await.unwrap();
    let config: ConfigMap = serde_json::from_value(json!({ "metadata": { "name": "c" } })).unwrap();
    let secret: Secret = serde_json::from_value(json!({ "metadata": { "name": "s" } })).unwrap();
    let restricted: Pod = serde_json::from_value(pod(&json!({}))).unwrap();
    let post = PostParams::default();
    assert_eq!(
        code(Api::namespaced(hana.clone(), &home).create(&post, &config).await),
        403
    );
    assert_eq!(
        code(Api::namespaced(hana.clone(), &home).create(&post, &secret).await),
        403
    );
    assert_eq!(
        code(
            Api::<Secret>::namespaced(hana.clone(), &home)
                .list(&Default::default())
                .await
        ),
        403
    );
    assert_eq!(
        code(Api::namespaced(hana.clone(), &home).create(&post, &restricted).await),
        403
    );
    // The quota admits no pod, so not even a cluster admin can run one there by mistake.
    assert_eq!(
        code(Api::namespaced(admin.clone(), &home).create(&post, &restricted).await),
        403
    );
    for (user, groups) in [("erik", &[][..]), ("vera", &["auditors"][..])] {
        let asked = claims(&lab.as_user(user, groups).await.unwrap(), &name);
        assert_eq!(code(asked.list(&Default::default()).await), 200, "{user}");
        assert_eq!(code(asked.create(&post, &claim("web")).await), 403, "{user}");
    }
    let stranger = claims(&lab.as_user("mallory", &[]).await.unwrap(), &name);
    assert_eq!(code(stranger.list(&Default::default()).await), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn former_owner_and_frozen_tenant_cannot_create_claims() {
    let (lab, admin, tenant, name) = granted(4, "rita", &json!({})).await;
    common::create(&admin, &tenant.member("Group", "squad", "Owner").build()).await;
    open(&admin, &name).await;
    let tenants: Api<Tenant> = Api::all(admin.clone());
    let squad = claims(&lab.as_user("sam", &["squad"]).await.unwrap(), &name);
    squad.create(&PostParams::default(), &claim("first")).await.unwrap();
    told(&squad, "first", "True", "Active").await;

    let set = async |spec: Value| {
        let patch = Patch::Merge(json!({ "spec": spec }));
        tenants.patch(&name, &PatchParams::default(), &patch).await.unwrap();
        common::ready(&admin, &name).await;
    };
    set(json!({ "state": "Frozen" })).await;
    eventually("the frozen tenant to be refused", PATIENCE, || async {
        match squad
            .create(
                &PostParams {
                    dry_run: true,
                    ..PostParams::default()
                },
                &claim("second"),
            )
            .await
        {
            Err(kube::Error::Api(status)) if status.message.contains("is frozen") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(
        code(squad.delete("first", &DeleteParams::default()).await.map(drop)),
        403,
        "nor given back"
    );
    set(json!({ "state": "Active", "owners": [{ "kind": "User", "name": "rita" }] })).await;
    eventually("the group to be out", PATIENCE, || async {
        match code(squad.list(&Default::default()).await) {
            403 => Ok(()),
            other => Err(other),
        }
    })
    .await;
    let rita = claims(&lab.as_user("rita", &[]).await.unwrap(), &name);
    told(&rita, "first", "True", "Active").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claim_of_a_taken_name_is_refused_and_changes_nothing() {
    let (lab, admin, tenant, name) = granted(5, "tom", &json!({})).await;
    common::create(&admin, &tenant.namespace("dev").build()).await;
    open(&admin, &name).await;
    let namespaces: Api<Namespace> = Api::all(admin.clone());
    let foreign = format!("{name}-db");
    let object: Namespace = serde_json::from_value(json!({ "metadata": { "name": foreign } })).unwrap();
    namespaces.create(&PostParams::default(), &object).await.unwrap();
    let asked = claims(&lab.as_user("tom", &[]).await.unwrap(), &name);
    for taken in ["db", "dev"] {
        asked.create(&PostParams::default(), &claim(taken)).await.unwrap();
        told(&asked, taken, "False", "NameTaken").await;
    }
    assert!(
        namespaces
            .get(&foreign)
            .await
            .unwrap()
            .metadata
            .owner_references
            .is_none()
    );
    // Only the claims fail: the tenant stays Ready.
    common::ready(&admin, &name).await;
    namespaces.delete(&foreign, &DeleteParams::default()).await.unwrap();
    told(&asked, "db", "True", "Active").await;
    asked.delete("dev", &DeleteParams::default()).await.unwrap();
    common::ready(&admin, &name).await;
    assert!(
        namespaces
            .get(&format!("{name}-dev"))
            .await
            .unwrap()
            .metadata
            .deletion_timestamp
            .is_none()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn smaller_grant_removes_no_namespace_and_admits_none() {
    let (lab, admin, tenant, name) = granted(3, "lea", &json!({})).await;
    common::create(&admin, &tenant.namespace("dev").build()).await;
    open(&admin, &name).await;
    let asked = claims(&lab.as_user("lea", &[]).await.unwrap(), &name);
    for short in ["a", "b"] {
        asked.create(&PostParams::default(), &claim(short)).await.unwrap();
        told(&asked, short, "True", "Active").await;
    }
    let templates: Api<tenantry_api::v1alpha1::TenantTemplate> = Api::all(admin.clone());
    let fewer = Patch::Merge(json!({ "spec": { "quotas": { "namespaces": 2 } } }));
    templates.patch(&name, &PatchParams::default(), &fewer).await.unwrap();
    common::condition(&admin, &name, "Stalled", "True", Some("TooManyNamespaces")).await;
    for short in ["dev", "a", "b"] {
        let namespace = Api::<Namespace>::all(admin.clone())
            .get(&format!("{name}-{short}"))
            .await
            .unwrap();
        assert!(namespace.metadata.deletion_timestamp.is_none());
    }
    asked.delete("b", &DeleteParams::default()).await.unwrap();
    common::ready(&admin, &name).await;
    eventually("the quota to be full", PATIENCE, || async {
        match asked
            .create(
                &PostParams {
                    dry_run: true,
                    ..PostParams::default()
                },
                &claim("c"),
            )
            .await
        {
            Err(kube::Error::Api(status)) if status.message.contains("exceeded quota") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;

    // Self-service ends: claimed namespaces stay, and after their claims are deleted the home namespace is deleted too.
    let closed = Patch::Merge(json!({ "spec": { "selfService": "Disabled" } }));
    templates.patch(&name, &PatchParams::default(), &closed).await.unwrap();
    common::ready(&admin, &name).await;
    told(&asked, "a", "True", "Active").await;
    asked.delete("a", &DeleteParams::default()).await.unwrap();
    common::gone(&Api::<Namespace>::all(admin.clone()), &format!("{name}-a")).await;
    common::gone(&Api::<Namespace>::all(admin.clone()), &format!("{name}-home")).await;
    common::ready(&admin, &name).await;
}

/// Lets users create namespaces directly, as a platform team does.
async fn let_create(admin: &Client, name: &str, users: &[&str]) {
    let subject = |user: &&str| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user });
    let binding: ClusterRoleBinding = serde_json::from_value(json!({
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "tenantry-direct" },
        "subjects": users.iter().map(subject).collect::<Vec<_>>(),
    }))
    .unwrap();
    Api::all(admin.clone())
        .create(&PostParams::default(), &binding)
        .await
        .unwrap();
}

fn made(tenant: &str, name: &str) -> Namespace {
    let metadata = json!({ "name": format!("{tenant}-{name}"), "labels": { "tenantry.dev/tenant": tenant } });
    serde_json::from_value(json!({ "metadata": metadata })).unwrap()
}

/// Waits until a namespace has this state in the Tenant's status.
async fn stands_as(admin: &Client, tenant: &str, namespace: &str, state: NamespaceState) {
    let tenants: Api<Tenant> = Api::all(admin.clone());
    eventually(&format!("{namespace} to be {state:?}"), PATIENCE, || async {
        let status = tenants.get(tenant).await.unwrap().status.unwrap_or_default();
        let seen = status.namespaces.into_iter().find(|seen| seen.name == namespace);
        match seen {
            Some(seen) if seen.state == state => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_namespace_is_closed_until_guarded_and_within_grant() {
    let (lab, admin, tenant, name) = granted(2, "dina", &json!({ "selfService": "Direct" })).await;
    common::create(&admin, &tenant.build()).await;
    open(&admin, &name).await;
    let user = format!("{name}-dina");
    let tenants: Api<Tenant> = Api::all(admin.clone());
    let owners = json!({ "spec": { "owners": [{ "kind": "User", "name": user }] } });
    tenants
        .patch(&name, &PatchParams::default(), &Patch::Merge(owners))
        .await
        .unwrap();
    open(&admin, &name).await;
    let_create(&admin, &name, &[&user]).await;
    let dina = lab.as_user(&user, &[]).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(dina.clone());
    eventually("the owner to be let in", PATIENCE, || async {
        namespaces
            .create(&PostParams::default(), &made(&name, "a"))
            .await
            .map(drop)
    })
    .await;
    for short in ["b", "c"] {
        namespaces
            .create(&PostParams::default(), &made(&name, short))
            .await
            .unwrap();
    }
    let full = |short: &str| format!("{name}-{short}");
    for short in ["a", "b"] {
        stands_as(&admin, &name, &full(short), NamespaceState::Active).await;
    }
    stands_as(&admin, &name, &full("c"), NamespaceState::Closed).await;
    let post = PostParams::default();
    let pods = |short: &str| Api::<Pod>::namespaced(dina.clone(), &full(short));
    let restricted: Pod = serde_json::from_value(pod(&json!({}))).unwrap();
    pods("a").create(&post, &restricted).await.unwrap();
    assert_eq!(code(pods("c").create(&post, &restricted).await), 403);
    // Not even a cluster admin can use the namespace before it has its guards.
    let by_admin = Api::<Service>::namespaced(admin.clone(), &full("c"))
        .create(&post, &service())
        .await;
    assert_eq!(code(by_admin), 422, "the policies' parameter is missing");
    // Its creator can delete a closed namespace; she creates it again.
    namespaces.delete(&full("c"), &DeleteParams::default()).await.unwrap();
    common::gone(&Api::<Namespace>::all(admin.clone()), &full("c")).await;
    namespaces.create(&post, &made(&name, "c")).await.unwrap();
    stands_as(&admin, &name, &full("c"), NamespaceState::Closed).await;
    let status = tenants.get(&name).await.unwrap().status.unwrap();
    assert_eq!(status.namespaces_ready.as_deref(), Some("2/2"));
    // The owner finds the reason in an Event.
    let events: Api<Event> = Api::namespaced(dina.clone(), &full("home"));
    eventually("an Event about it", PATIENCE, || async {
        let events = events.list(&Default::default()).await.unwrap();
        let told = |event: &Event| event.message.as_deref().is_some_and(|note| note.contains(&full("c")));
        if events.iter().any(told) { Ok(()) } else { Err("none") }
    })
    .await;

    // She deletes a namespace that she created, and the waiting one opens.
    namespaces.delete(&full("a"), &DeleteParams::default()).await.unwrap();
    stands_as(&admin, &name, &full("c"), NamespaceState::Active).await;
    assert_eq!(
        code(namespaces.delete("default", &DeleteParams::default()).await.map(drop)),
        403
    );

    let templates: Api<tenantry_api::v1alpha1::TenantTemplate> = Api::all(admin.clone());
    let remove = Patch::Merge(json!({ "spec": { "directOverflow": "Remove" } }));
    templates.patch(&name, &PatchParams::default(), &remove).await.unwrap();
    namespaces.create(&post, &made(&name, "d")).await.unwrap();
    common::gone(&Api::<Namespace>::all(admin.clone()), &full("d")).await;

    tenants.delete(&name, &DeleteParams::default()).await.unwrap();
    common::gone(&tenants, &name).await;
    for short in ["b", "c", "home"] {
        assert!(
            Api::<Namespace>::all(admin.clone())
                .get_opt(&full(short))
                .await
                .unwrap()
                .is_none(),
            "{short}"
        );
    }
}

fn service() -> Service {
    serde_json::from_value(json!({ "metadata": { "name": "s" }, "spec": { "ports": [{ "port": 80 }] } })).unwrap()
}
