//! Every single right of the operator. When it is removed, the operator reports it by name, and work continues when it
//! is back. A right that no step needs must not be granted.

use std::{collections::BTreeSet, time::Instant};

use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Event as CoreEvent, Namespace},
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tenantry_api::v1alpha1::{Tenant, TenantNamespace, TenantTemplate};
use tenantry_core::object::Kind;

use super::{
    roles::Right,
    walk::{Walk, managed, used},
};
use crate::common::{
    self, PATIENCE, audit,
    builders::{template, tenant},
    eventually,
};

/// Rights for which a run may make no request, and their purpose.
const NOT_ASKED_FOR: [(&str, &str); 2] = [
    (
        "delete tenantpolicies",
        "where OwnerReferencesPermissionEnforcement is on, only who may delete an object may take its owner off it",
    ),
    (
        "get namespaces",
        "whose a Namespace is that somebody created in the moment before it was to be; else the watch tells",
    ),
];
const MONITORS: [&str; 3] = ["podmonitors", "servicemonitors", "prometheusrules"];
/// Kinds that are written in a namespace of a tenant, without RoleBindings.
const CONTENT: [Kind; 8] = [
    Kind::LimitRange,
    Kind::ResourceQuota,
    Kind::NetworkPolicy,
    Kind::TenantPolicy,
    Kind::ConfigMap,
    Kind::PodMonitor,
    Kind::ServiceMonitor,
    Kind::PrometheusRule,
];

/// Parts of the walk, in order.
impl Walk {
    async fn creates(&mut self) {
        let gone = self
            .without(|right| right.verb == "create" && managed(right) || right.is("create", &["events"]))
            .await;
        for kind in CONTENT {
            for name in self.names(kind, "all-a").await {
                self.api(kind, "all-a")
                    .delete(&name, &DeleteParams::default())
                    .await
                    .unwrap();
            }
        }
        let bindings = self.api(Kind::RoleBinding, "bound-a");
        bindings
            .delete("tenantry-owner", &DeleteParams::default())
            .await
            .unwrap();
        common::create(
            &self.admin,
            &tenant("new", "watched").owner("olga").namespace("a").build(),
        )
        .await;
        self.is_missed(gone).await;
        self.restore().await;
    }

    async fn updates(&mut self) {
        let gone = self
            .without(|right| right.verb == "update" && (managed(right) || right.resource == "tenantnamespaces/status"))
            .await;
        let disowned = json!({ "metadata": { "ownerReferences": null } });
        for kind in CONTENT {
            for name in self.names(kind, "all-a").await {
                self.change(kind, "all-a", &name, disowned.clone()).await;
            }
        }
        let other = json!({ "subjects": [{ "kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "eve" },
            { "kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "olga" }] });
        self.change(Kind::RoleBinding, "bound-a", "tenantry-owner", other).await;
        let odd = json!({ "metadata": { "labels": { "tenantry.dev/tier": "odd" } } });
        self.change(Kind::Namespace, "", "bound-a", odd).await;
        let claims: Api<TenantNamespace> = Api::namespaced(self.admin.clone(), "homely-home");
        let claim = json!({ "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantNamespace", "metadata": { "name": "web" }, "spec": {} });
        let claim: TenantNamespace = serde_json::from_value(claim).unwrap();
        claims.create(&PostParams::default(), &claim).await.unwrap();
        self.is_missed(gone).await;
        self.restore().await;
    }

    async fn statuses(&mut self) {
        let gone = self
            .without(|right| right.is("update", &["tenants/status", "tenanttemplates/status"]))
            .await;
        let templates: Api<TenantTemplate> = Api::all(self.admin.clone());
        let euros = Patch::Merge(json!({ "spec": { "pricing": { "currency": "EUR" } } }));
        templates
            .patch("watched", &PatchParams::default(), &euros)
            .await
            .unwrap();
        let heavy = json!({ "spec": { "namespaces": [{ "name": "a", "weight": 2 }] } });
        self.change_tenant("bound", heavy).await;
        self.is_missed(gone).await;
        self.restore().await;
    }

    /// Finalizers, and a second Event about the same object.
    async fn patches(&mut self) {
        // The claim uses the only place.
        let templates: Api<TenantTemplate> = Api::all(self.admin.clone());
        let one = Patch::Merge(json!({ "spec": { "quotas": { "namespaces": 1 } } }));
        templates.patch("direct", &PatchParams::default(), &one).await.unwrap();
        for name in ["homely-x", "homely-y"] {
            self.asks(name).await;
        }
        self.closes_again("homely-x").await;
        let events: Api<CoreEvent> = Api::namespaced(self.admin.clone(), "homely-home");
        eventually("the Event about it to be repeated", PATIENCE, || async {
            let events = events.list(&ListParams::default()).await.unwrap();
            let repeated = events.iter().any(|event| event.series.is_some());
            if repeated { Ok(()) } else { Err("not yet") }
        })
        .await;
        let gone = self.without(|right| right.verb == "patch").await;
        self.closes_again("homely-x").await;
        // The operator puts its finalizer back.
        let claims: Api<TenantNamespace> = Api::namespaced(self.admin.clone(), "homely-home");
        let unheld = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
        claims.patch("web", &PatchParams::default(), &unheld).await.unwrap();
        let spec = json!({ "tier": "Free", "quotas": { "pods": 1 }, "selfService": "Disabled" });
        common::create_template(&self.admin, &template("newer", spec)).await;
        common::create(
            &self.admin,
            &tenant("newest", "newer").owner("olga").namespace("a").build(),
        )
        .await;
        self.is_missed(gone).await;
        let namespaces: Api<Namespace> = Api::all(self.admin.clone());
        for name in ["homely-x", "homely-y"] {
            namespaces.delete(name, &DeleteParams::default()).await.unwrap();
        }
        self.restore().await;
    }

    async fn deletes(&mut self) {
        let gone = self
            .without(|right| right.verb == "delete" && right.resource != "namespaces")
            .await;
        let owner = Api::<Tenant>::all(self.admin.clone()).get("all").await.unwrap();
        for kind in CONTENT.into_iter().filter(|kind| *kind != Kind::TenantPolicy) {
            let api = self.api(kind, "all-a");
            let name = self.names(kind, "all-a").await.remove(0);
            let mut stray = api.get(&name).await.unwrap();
            let labels = stray.metadata.labels.take();
            stray.metadata = Default::default();
            stray.metadata.name = Some("stray".to_owned());
            stray.metadata.labels = labels;
            stray.metadata.owner_references = Some(vec![owner_of(&owner)]);
            api.create(&PostParams::default(), &stray).await.unwrap();
        }
        self.change_tenant("all", json!({ "spec": { "namespaces": [{ "name": "a" }] } }))
            .await;
        let owners = json!([{ "kind": "User", "name": "olga", "role": "Owner" }, { "kind": "User", "name": "ed", "role": "Editor" }]);
        self.change_tenant("bound", json!({ "spec": { "owners": owners } }))
            .await;
        // Its name is fixed and it always exists. But where owner references are protected, only a user who may delete
        // an object may remove its owner; the same applies to a Tenant that leaves its namespaces behind.
        let keeper = tenant("keeper", "newer")
            .owner("olga")
            .namespace("a")
            .with("deletionPolicy", json!("Retain"));
        common::create(&self.admin, &keeper.build()).await;
        common::ready(&self.admin, "keeper").await;
        let tenants: Api<Tenant> = Api::all(self.admin.clone());
        tenants.delete("keeper", &DeleteParams::default()).await.unwrap();
        self.is_missed(gone.iter().filter(|right| right.resource != "tenantpolicies").cloned())
            .await;
        // A namespace is deleted after the last right in it.
        let gone = self
            .without(|right| right.is("delete", &["namespaces", "tenantpolicies"]))
            .await;
        self.is_missed(gone.into_iter().filter(|right| right.resource == "namespaces"))
            .await;
        self.restore_all_but_policies().await;
    }

    /// Rights are deleted first, so the TenantPolicy is deleted after its namespace's bindings.
    async fn restore_all_but_policies(&mut self) {
        let gone = self.without(|right| right.is("delete", &["tenantpolicies"])).await;
        let refusal = "cannot set an ownerRef on a resource you can't delete";
        eventually(
            "the TenantPolicy that cannot be left behind to be told of",
            PATIENCE,
            || async {
                let log = self.news();
                let about = |line: &&str| line.contains("TenantPolicy keeper-a/effective") && line.contains(refusal);
                log.lines().find(about).map(drop).ok_or(log.clone())
            },
        )
        .await;
        self.noticed.extend(gone);
        self.restore().await;
        common::gone(&Api::<Tenant>::all(self.admin.clone()), "keeper").await;
    }

    async fn binds(&mut self) {
        let gone = self.without(|right| right.verb == "bind").await;
        for (namespace, roles) in [
            ("bound-a", ["owner", "editor", "viewer"]),
            ("homely-home", ["home-owner", "home-viewer", "home-direct"]),
        ] {
            let bindings = self.api(Kind::RoleBinding, namespace);
            for role in roles {
                // The viewer of that namespace was removed before.
                let deleted = bindings
                    .delete(&format!("tenantry-{role}"), &DeleteParams::default())
                    .await;
                assert!(deleted.is_ok() || role == "viewer", "{role}: {deleted:?}");
            }
        }
        let members = json!([{ "kind": "User", "name": "olga", "role": "Owner" }, { "kind": "User", "name": "ed", "role": "Editor" }, { "kind": "User", "name": "vi", "role": "Viewer" }]);
        self.change_tenant("bound", json!({ "spec": { "owners": members } }))
            .await;
        self.is_missed(gone).await;
        self.restore().await;
    }

    /// An object that lost its label blocks the create of its successor, so the operator has to read it.
    async fn gets(&mut self) {
        let gone = self
            .without(|right| right.verb == "get" && managed(right) && right.resource != "namespaces")
            .await;
        let unlabelled = json!({ "metadata": { "labels": { "app.kubernetes.io/managed-by": null } } });
        for kind in CONTENT {
            for name in self.names(kind, "all-a").await {
                self.change(kind, "all-a", &name, unlabelled.clone()).await;
            }
        }
        self.change(Kind::RoleBinding, "bound-a", "tenantry-owner", unlabelled)
            .await;
        self.is_missed(gone).await;
        self.restore().await;
    }

    /// The operator lists kinds one group after the other when it starts.
    async fn lists(&mut self) {
        self.stop().await;
        let of_late = |right: &Right| {
            MONITORS.contains(&&*right.resource) || right.is("list", &["tenants", "tenanttemplates", "events"])
        };
        let gone = self.without(|right| right.verb == "list").await;
        self.start().await;
        self.is_missed(gone.into_iter().filter(|right| !of_late(right))).await;
        let gone = self.without(|right| right.verb == "list" && of_late(right)).await;
        self.is_missed(gone.into_iter().filter(|right| MONITORS.contains(&&*right.resource)))
            .await;
        let gone = self
            .without(|right| right.is("list", &["tenants", "tenanttemplates", "events"]))
            .await;
        self.is_missed(gone.into_iter().filter(|right| right.resource != "tenants"))
            .await;
        let gone = self.without(|right| right.is("list", &["tenants"])).await;
        self.is_missed(gone).await;
        self.restore().await;
        self.operator.as_mut().unwrap().until_ready().await.unwrap();
    }

    async fn watches(&mut self) {
        self.stop().await;
        let gone = self.without(|right| right.verb == "watch").await;
        self.start().await;
        self.is_missed(gone).await;
        // A namespace that the operator cannot have seen blocks a create, so the operator has to read it.
        let gone = self
            .without(|right| right.resource == "namespaces" && matches!(&*right.verb, "get" | "watch"))
            .await;
        let namespaces: Api<Namespace> = Api::all(self.admin.clone());
        let foreign: Namespace = serde_json::from_value(json!({ "metadata": { "name": "late-a" } })).unwrap();
        namespaces.create(&PostParams::default(), &foreign).await.unwrap();
        common::create(
            &self.admin,
            &tenant("late", "watched").owner("olga").namespace("a").build(),
        )
        .await;
        self.is_missed(gone.into_iter().filter(|right| right.verb == "get"))
            .await;
        self.without(|_| false).await;
        common::condition(&self.admin, "late", "Ready", "False", Some("ConflictingOwner")).await;
        namespaces.delete("late-a", &DeleteParams::default()).await.unwrap();
        self.restore().await;
    }

    async fn leases(&mut self) {
        self.stop().await;
        let leases: Api<Lease> = Api::namespaced(self.admin.clone(), lab::NAMESPACE);
        leases.delete("tenantry", &DeleteParams::default()).await.unwrap();
        let of_leases = |verbs: &'static [&'static str]| {
            move |right: &Right| right.resource == "leases" && verbs.contains(&&*right.verb)
        };
        let gone = self.without(of_leases(&["get"])).await;
        self.start().await;
        self.is_missed(gone).await;
        let gone = self.without(of_leases(&["create"])).await;
        self.is_missed(gone).await;
        let gone = self.without(of_leases(&["update"])).await;
        self.is_missed(gone).await;
        self.restore().await;
    }
}

fn owner_of(tenant: &Tenant) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference {
    let owner = json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "name": tenant.name_any(), "uid": tenant.uid(), "controller": true,
    });
    serde_json::from_value(owner).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_reports_each_missing_right_and_needs_every_right() {
    let mut walk = Walk::new().await;
    common::all_ready(&walk.admin).await;

    // No right has been removed yet.
    audit::mark(&walk.lab, &walk.admin).await;
    let events = audit::read(&walk.lab);
    let refused = events
        .iter()
        .filter(|event| event.user == audit::OPERATOR && event.code == 403);
    assert_eq!(refused.map(ToString::to_string).collect::<Vec<_>>(), [""; 0]);

    let started = Instant::now();
    walk.creates().await;
    walk.updates().await;
    walk.statuses().await;
    walk.patches().await;
    walk.deletes().await;
    walk.binds().await;
    walk.gets().await;
    walk.lists().await;
    walk.watches().await;
    walk.leases().await;
    println!(
        "{} rights missed by name in {:?}, the slowest recovery {:?}",
        walk.noticed.len(),
        started.elapsed(),
        walk.slowest
    );

    let in_vain: Vec<_> = walk
        .roles
        .all
        .difference(&walk.noticed)
        .map(ToString::to_string)
        .collect();
    assert_eq!(in_vain, [""; 0], "nobody misses these");

    // The audit log agrees: each right was used, and no other.
    audit::mark(&walk.lab, &walk.admin).await;
    let used = used(&audit::read(&walk.lab));
    let asked = walk.roles.all.iter().filter(|right| right.verb != "bind");
    let granted: BTreeSet<(String, String)> = asked
        .map(|right| (right.verb.clone(), right.resource.clone()))
        .collect();
    let unused: Vec<_> = granted
        .difference(&used)
        .map(|(verb, resource)| format!("{verb} {resource}"))
        .filter(|right| NOT_ASKED_FOR.iter().all(|(known, _)| right != known))
        .collect();
    assert_eq!(unused, [""; 0], "granted, and no request was made by it");
    let beyond: Vec<_> = used.difference(&granted).collect();
    assert!(beyond.is_empty(), "used without being granted: {beyond:?}");
    walk.stop().await;
}
