//! The cost of the admission policies for a tenant's Pod: with all of them, without the one that judges pods, and
//! without any.

use std::fmt::Debug;

use k8s_openapi::api::{
    admissionregistration::v1::ValidatingAdmissionPolicyBinding,
    core::v1::{Pod, Service},
};
use kube::{
    Api, Client, Error, ResourceExt as _,
    api::{DeleteParams, ListParams, PostParams},
};
use lab::{Writable, eventually};
use serde_json::{Value, json};

use crate::{
    own::{INSIDE, Writer, times_over_outside, typed},
    report::{Report, Target},
    totals,
    watching::PATIENCE,
};

/// Deletes bindings, measures, and restores them.
pub async fn taken_away(writer: &Writer<'_>, report: &mut Report) {
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(writer.admin.clone());
    let ours = ListParams::default().labels("app.kubernetes.io/part-of=tenantry");
    let (of_pods, others): (Vec<_>, Vec<_>) = bindings
        .list(&ours)
        .await
        .unwrap()
        .items
        .into_iter()
        .partition(|binding| binding.name_any().starts_with("tenantry-pods-"));
    let (placed, exposed) = (placed_pod(), exposed_service());
    let user = &writer.user;
    judged(user, &placed, true).await;
    judged(user, &exposed, true).await;

    delete(&bindings, &of_pods).await;
    judged(user, &placed, false).await;
    pods_without(writer, "unjudged", "tenantry-pods", report).await;
    delete(&bindings, &others).await;
    judged(user, &exposed, false).await;
    pods_without(writer, "unguarded", "any ValidatingAdmissionPolicy", report).await;

    for mut binding in of_pods.into_iter().chain(others) {
        binding.metadata.resource_version = None;
        bindings.create(&PostParams::default(), &binding).await.unwrap();
    }
    judged(user, &placed, true).await;
    judged(user, &exposed, true).await;
}

async fn pods_without(writer: &Writer<'_>, name: &str, what: &str, report: &mut Report) {
    let times = writer.create_all(&totals::pod()).await;
    report.ratio(
        &format!("own_pod_{name}_ratio"),
        &format!("Pod, create, in a tenant / outside, p50, without {what}"),
        times_over_outside(times),
        Target::None,
    );
}

async fn delete(bindings: &Api<ValidatingAdmissionPolicyBinding>, those: &[ValidatingAdmissionPolicyBinding]) {
    assert!(!those.is_empty(), "the chart's bindings are not there");
    for binding in those {
        bindings
            .delete(&binding.name_any(), &DeleteParams::default())
            .await
            .unwrap();
    }
}

/// A pod that only tenantry-pods refuses.
fn placed_pod() -> Pod {
    let mut pod = totals::pod();
    pod.spec.as_mut().unwrap().node_name = Some("anywhere".to_owned());
    pod
}

/// A Service that only tenantry-services refuses.
fn exposed_service() -> Service {
    let spec: Value = json!({ "ports": [{ "port": 80 }], "externalIPs": ["192.0.2.1"] });
    typed(json!({ "metadata": { "generateName": "s-" }, "spec": spec }))
}

/// Waits until the API server refuses the object in the tenant, or admits it again: it sees changed bindings a little
/// later.
async fn judged<K: Writable>(user: &Client, object: &K, refused: bool) {
    let api: Api<K> = Api::namespaced(user.clone(), INSIDE);
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let (api, dry) = (&api, &dry);
    let what = if refused {
        "a policy to refuse"
    } else {
        "no policy to refuse"
    };
    eventually(what, PATIENCE, || async move {
        match api.create(dry, object).await {
            Err(Error::Api(status)) if status.is_forbidden() && refused => Ok(()),
            Ok(_) if !refused => Ok(()),
            other => Err(shown(other)),
        }
    })
    .await;
}

fn shown<K: Debug>(answer: Result<K, Error>) -> String {
    answer.map_or_else(|error| error.to_string(), |_| "it was admitted".to_owned())
}
