//! Random edits of a template and a tenant on a real control plane (F23). The API server judges which edits are valid.
//! After each, the objects equal those of a fresh cluster (I12); after the last edit is undone, every object is as at
//! the start.
//!
//! `WALK_STEPS` is the number of edits, TENANTRY_TEST_SEED the seed. tests/spec does the same in memory, with more
//! steps.

#[path = "../spec/shared/mod.rs"]
#[allow(dead_code, reason = "what tests/spec needs of it too")]
mod spec;

use std::{collections::BTreeMap, time::Duration};

use controlplane::{Audit, Integration, crd_files};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, PostParams},
};
use lab::Lab;
use serde_json::{Value, json};
use tenantry_api::v1alpha1::{Tenant, TenantTemplate};
use tenantry_cli::render;
use tenantry_core::{object::Kind, tenant::facts::Served};

use self::spec::{
    compare,
    edits::{Document, Editor},
    start::{self, OTHER_TEMPLATE, TEMPLATE, TENANT},
};
use crate::common::{self, PATIENCE, builders::template, eventually, stands};

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

fn steps() -> u64 {
    let all = std::env::var("TENANTRY_FAULTS").is_ok_and(|faults| faults == "all");
    number("WALK_STEPS").unwrap_or(if all { 300 } else { 40 })
}

/// The API and the name of one of the two documents.
fn document(which: Document, admin: &Client) -> (Api<DynamicObject>, &'static str) {
    let (kind, name) = match which {
        Document::Tenant => ("Tenant", TENANT),
        Document::Template => ("TenantTemplate", TEMPLATE),
    };
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("tenantry.dev", "v1alpha1", kind));
    (Api::all_with(admin.clone(), &resource), name)
}

/// Writes a whole spec; returns the API server's refusal.
async fn write(admin: &Client, which: Document, spec: &Value) -> Result<(), String> {
    let (api, name) = document(which, admin);
    loop {
        let mut object = api.get(name).await.unwrap();
        object.data["spec"] = spec.clone();
        match api.replace(name, &PostParams::default(), &object).await {
            Ok(_) => return Ok(()),
            // The operator wrote the status in between.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(kube::Error::Api(status)) => return Err(status.message),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Why the operator refuses a Tenant, computed by the operator's own steps.
fn refusal(tenant: &Value, template: &Value) -> Option<&'static str> {
    let document = |kind: &str, name: &str, spec: &Value| {
        let object =
            json!({ "apiVersion": "tenantry.dev/v1alpha1", "kind": kind, "metadata": { "name": name }, "spec": spec });
        (name.to_owned(), object.to_string())
    };
    let files = [
        document("Tenant", TENANT, tenant),
        document("TenantTemplate", TEMPLATE, template),
        document("TenantTemplate", OTHER_TEMPLATE, &start::other_template()),
    ];
    match render::render(&files, &Served::default(), &stands::settings()) {
        Ok(_) => None,
        Err(render::Error::Invalid { reason, .. }) => Some(reason),
        Err(error) => panic!("{error}"),
    }
}

struct Walk {
    admin: Client,
    tenant: Value,
    template: Value,
}

impl Walk {
    async fn stored(&self) -> (Vec<TenantTemplate>, Tenant) {
        let templates: Api<TenantTemplate> = Api::all(self.admin.clone());
        let tenants: Api<Tenant> = Api::all(self.admin.clone());
        (
            templates.list(&ListParams::default()).await.unwrap().items,
            tenants.get(TENANT).await.unwrap(),
        )
    }

    /// Waits until the objects are exactly those that the stored specs require.
    async fn as_rendered(&self, after: &str) {
        eventually(&format!("the end state after {after}"), 2 * PATIENCE, || async {
            let (templates, tenant) = self.stored().await;
            let observed = tenant.status.as_ref().and_then(|status| status.observed_generation);
            if observed != tenant.metadata.generation {
                return Err(format!(
                    "generation {observed:?} is observed of {:?}",
                    tenant.metadata.generation
                ));
            }
            let differences = stands::differences_of(&self.admin, &templates, &[tenant]).await;
            if differences.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            Err(differences.join("\n"))
        })
        .await;
    }

    async fn is_ready(&self) {
        eventually("the tenant to be Ready", PATIENCE, || async {
            let (_, tenant) = self.stored().await;
            if common::is_ready(&tenant) {
                Ok(())
            } else {
                Err(format!("{:#?}", tenant.status))
            }
        })
        .await;
    }

    /// Waits for the reason; the operator may not have changed any object.
    async fn is_refused(&self, reason: &str, before: &BTreeMap<String, Value>, after: &str) {
        eventually(&format!("{reason} after {after}"), PATIENCE, || async {
            let (_, tenant) = self.stored().await;
            let conditions = tenant.status.unwrap_or_default().conditions;
            let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
            match ready {
                Some(ready) if ready.status == "False" && ready.reason == reason => Ok(()),
                ready => Err(format!("{ready:?}")),
            }
        })
        .await;
        let touched = compare::differences(&self.snapshot().await, before);
        assert_eq!(touched, [""; 0], "{reason} after {after}, and something was written");
    }

    /// Every managed object, monitors included, without the fields that every write changes.
    async fn snapshot(&self) -> BTreeMap<String, Value> {
        let mut found = stands::managed_of(&self.admin, &[TENANT]).await;
        for kind in Kind::ALL.into_iter().filter(|kind| kind.is_optional()) {
            let api: Api<DynamicObject> = Api::all_with(self.admin.clone(), &kind.api_resource());
            for object in api.list(&ListParams::default()).await.unwrap() {
                let key = format!(
                    "{} {}/{}",
                    kind.as_str(),
                    object.namespace().unwrap_or_default(),
                    object.name_any()
                );
                found.insert(key, serde_json::to_value(object).unwrap());
            }
        }
        for object in found.values_mut() {
            let metadata = object["metadata"].as_object_mut().unwrap();
            for counter in [
                "uid",
                "resourceVersion",
                "creationTimestamp",
                "managedFields",
                "generation",
            ] {
                metadata.remove(counter);
            }
        }
        found
    }

    /// Waits until every object is as it was.
    async fn is_back(&self, wanted: &BTreeMap<String, Value>, what: &str) {
        eventually(what, 2 * PATIENCE, || async {
            let differences = compare::differences(&self.snapshot().await, wanted);
            if differences.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            Err(differences.join("\n"))
        })
        .await;
    }

    async fn write_both(&self, tenant: &Value, template: &Value) {
        for (which, spec) in [(Document::Template, template), (Document::Tenant, tenant)] {
            write(&self.admin, which, spec).await.unwrap();
        }
    }
}

fn install_monitors(lab: &Lab) {
    for file in crd_files(Integration::PrometheusOperator).unwrap() {
        let mut kubectl = lab.kubectl().unwrap();
        lab::run(kubectl.args(["apply", "--server-side", "-f"]).arg(file)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_walk_ends_as_rendered_and_returns_to_the_start() {
    let (seed, steps) = (
        number("TENANTRY_TEST_SEED").unwrap_or_else(|| fastrand::u64(..)),
        steps(),
    );
    println!("TENANTRY_TEST_SEED={seed} WALK_STEPS={steps}");
    let (lab, admin) = common::own(Audit::Off).await;
    install_monitors(&lab);
    let mut walk = Walk {
        admin: admin.clone(),
        tenant: start::tenant(),
        template: start::template(),
    };
    common::create_template(&admin, &template(TEMPLATE, start::template())).await;
    common::create_template(&admin, &template(OTHER_TEMPLATE, start::other_template())).await;
    let tenant = json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": TENANT }, "spec": start::tenant(),
    });
    common::create(&admin, &serde_json::from_value(tenant).unwrap()).await;
    let _operator = lab.operator(common::binary()).await.unwrap();
    walk.is_ready().await;
    walk.as_rendered("the start").await;
    let at_start = walk.snapshot().await;
    assert!(
        at_start.keys().any(|key| key.starts_with("PodMonitor")),
        "{:?}",
        at_start.keys()
    );

    let mut editor = Editor::new(seed);
    let (mut rejected, mut at_the_door, mut refused) = (Vec::new(), 0, 0);
    for _ in 0..steps {
        let edit = editor.draw(&walk.tenant, &walk.template);
        let what = edit.what;
        let reason = match edit.document {
            Document::Tenant => refusal(&edit.spec, &walk.template),
            Document::Template => refusal(&walk.tenant, &edit.spec),
        };
        let standing = match reason {
            Some(_) => walk.snapshot().await,
            None => BTreeMap::new(),
        };
        if let Err(why) = write(&admin, edit.document, &edit.spec).await {
            let by_policy = why.contains("tenantry-tenant-overrides");
            assert!(
                !by_policy || reason.is_some(),
                "a policy refuses what the operator carries out: {what}: {why}"
            );
            if reason.is_some() {
                at_the_door += 1;
            } else {
                rejected.push(format!("{what}: {why}"));
            }
            continue;
        }
        if let Some(reason) = reason {
            refused += 1;
            walk.is_refused(reason, &standing, &what).await;
            walk.write_both(&walk.tenant, &walk.template).await;
            walk.as_rendered("what was refused is undone").await;
            continue;
        }
        walk.as_rendered(&what).await;
        match edit.document {
            Document::Tenant => walk.tenant = edit.spec,
            Document::Template => walk.template = edit.spec,
        }
        // A retained or protected namespace stays by design, even if the spec changes later.
        if walk.tenant["deletionPolicy"] == "Retain" || walk.tenant["deletionProtection"] == true {
            walk.tenant["deletionPolicy"] = json!("Delete");
            walk.tenant["deletionProtection"] = json!(false);
            write(&admin, Document::Tenant, &walk.tenant).await.unwrap();
        }
    }
    println!(
        "{steps} edits; refused {at_the_door} by a policy as the operator would, {refused} by the operator; {} not valid:\n{}",
        rejected.len(),
        rejected.join("\n")
    );
    let most = usize::try_from(steps).unwrap() / 4 + 1;
    assert!(
        rejected.len() <= most,
        "more than {most} edits are not valid: the walk hardly moves"
    );
    walk.as_rendered("the walk").await;
    let walked = walk.snapshot().await;

    walk.write_both(&start::tenant(), &start::template()).await;
    walk.is_ready().await;
    walk.is_back(&at_start, "every object to be as at the start").await;
    // The same specs on another path: in one step.
    walk.write_both(&walk.tenant, &walk.template).await;
    walk.is_back(&walked, "every object to be as after the walk").await;
}
