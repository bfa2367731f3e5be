//! All objects of a tenant deleted at once.

use futures::future::join_all;
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject},
};
use tenantry_core::object::Kind;

use super::{Stand, creates_of_what_stood, plain, plain_tenant, unguarded_rights};
use crate::common::{
    self,
    audit::{self, Event},
    oracle::strays,
    stands,
};

/// Kind, namespace and name.
type Place = (Kind, String, String);

async fn delete(admin: &Client, (kind, namespace, name): &Place) {
    let api: Api<DynamicObject> = Api::namespaced_with(admin.clone(), namespace, &kind.api_resource());
    api.delete(name, &DeleteParams::default()).await.unwrap();
}

/// How long a guard's deletion may take to reach the operator. A right that it gives in this time is no fault: each
/// kind has its own watch, and nothing orders them.
const NEWS: jiff::SignedDuration = jiff::SignedDuration::from_secs(2);

/// Whether somebody else deleted the guard right before the operator gave the right.
fn is_on_its_way(breach: &str, events: &[Event]) -> bool {
    let words: Vec<&str> = breach.split_whitespace().collect();
    // revision 1: NAMESPACE has RIGHT but lacks KIND NAME
    let ["revision", _, namespace, "has", right, "but", "lacks", kind, name] = words[..] else {
        return false;
    };
    let times = |verb: &str, kind: &str, name: &str, ours: bool| -> Vec<jiff::Timestamp> {
        let kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind);
        let resource = kind.map(|kind| kind.api_resource().plural);
        let about = events.iter().filter(|event| {
            event.verb == verb
                && resource.as_deref() == Some(&event.resource)
                && event.namespace == namespace
                && event.name == name
                && (event.user == audit::OPERATOR) == ours
        });
        about.map(|event| event.received.parse().unwrap()).collect()
    };
    let given = times("create", "RoleBinding", right, true);
    times("delete", kind, name, false).into_iter().any(|deleted| {
        given
            .iter()
            .any(|given| *given >= deleted && given.duration_since(deleted) < NEWS)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_objects_are_each_recreated_once_and_rights_last() {
    let stand = Stand::new().await;
    let operator = stand.lab.operator(common::binary()).await.unwrap();
    for name in ["one", "two", "calm"] {
        common::create(&stand.admin, &plain_tenant(name, &["a", "b", "c"]).build()).await;
    }
    stand.as_rendered(&[plain()]).await;
    let before = audit::mark(&stand.lab, &stand.admin).await;

    let objects = stands::managed_of(&stand.admin, &["one", "two"]).await;
    let places: Vec<Place> = objects
        .keys()
        .filter_map(|key| {
            let (kind, place) = key.split_once(' ')?;
            let (namespace, name) = place.split_once('/')?;
            let kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind)?;
            (kind != Kind::Namespace).then(|| (kind, namespace.to_owned(), name.to_owned()))
        })
        .collect();
    assert!(places.len() > 40, "{places:?}");
    let struck = std::time::Instant::now();
    join_all(places.iter().map(|place| delete(&stand.admin, place))).await;
    let deleted = struck.elapsed();
    stand.as_rendered(&[plain()]).await;
    let took = struck.elapsed();

    let (events, steps) = stand.seen().await;
    let after = audit::mark(&stand.lab, &stand.admin).await;
    let writes: Vec<_> = audit::by_operator(&events, &before, &after)
        .filter(|event| event.is_write() && !event.is_lease() && event.resource != "events")
        .collect();
    for (kind, namespace, name) in &places {
        let resource = kind.api_resource().plural;
        let creates = writes.iter().filter(|event| {
            event.verb == "create" && event.resource == resource && event.namespace == *namespace && event.name == *name
        });
        assert_eq!(creates.count(), 1, "creates of {kind:?} {namespace}/{name}");
    }
    let of_calm: Vec<_> = writes
        .iter()
        .filter(|event| event.namespace.starts_with("calm"))
        .collect();
    assert!(of_calm.is_empty(), "a neighbour was written: {of_calm:?}");
    let given: Vec<_> = unguarded_rights(&steps)
        .into_iter()
        .filter(|breach| !is_on_its_way(breach, &events))
        .collect();
    assert_eq!(given, [""; 0]);
    assert_eq!(strays(&events, &steps), [""; 0]);
    assert_eq!(creates_of_what_stood(&events), [""; 0]);
    println!(
        "{} objects deleted in {deleted:?}, all back after {took:?} by {} writes",
        places.len(),
        writes.len()
    );
    assert!(operator.stop().await.unwrap().success());
}
