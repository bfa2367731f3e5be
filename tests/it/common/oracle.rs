//! Rules 2 and 3 checked at every revision, and what the operator may write at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use serde_json::Value;
use tenantry_api::Quantity;
use tenantry_core::object::Kind;

use super::{
    audit::{Event, Mark, OPERATOR},
    record::{Key, Step},
};

/// What each tenant is granted, by key of `ResourceQuota.spec.hard`.
pub type Grants<'a> = &'a dyn Fn(&str) -> BTreeMap<String, Quantity>;

/// The grants of a template that says `cpu: 4`, `memory: 8Gi` and so many pods.
pub fn four_cores_and(pods: &str) -> BTreeMap<String, Quantity> {
    let grants = [
        ("requests.cpu", "4"),
        ("limits.cpu", "4"),
        ("requests.memory", "8Gi"),
        ("limits.memory", "8Gi"),
        ("pods", pods),
    ];
    grants
        .map(|(resource, grant)| (resource.to_owned(), grant.parse().unwrap()))
        .into()
}

/// Labels without which a namespace is not fenced.
const LABELS: [&str; 5] = [
    "tenantry.dev/tenant",
    "tenantry.dev/tier",
    "tenantry.dev/template",
    "pod-security.kubernetes.io/enforce",
    "app.kubernetes.io/managed-by",
];
/// Guards besides the Namespace itself.
pub const GUARDS: [(Kind, &str); 5] = [
    (Kind::LimitRange, "tenantry"),
    (Kind::ResourceQuota, "tenantry"),
    (Kind::NetworkPolicy, "tenantry-default-deny"),
    (Kind::NetworkPolicy, "tenantry-allow"),
    (Kind::TenantPolicy, "effective"),
];

/// What a home namespace must have, likewise.
const HOME_GUARDS: [(Kind, &str); 3] = [
    (Kind::ResourceQuota, "tenantry"),
    (Kind::NetworkPolicy, "tenantry-default-deny"),
    (Kind::TenantPolicy, "effective"),
];

/// Every breach of rule 2 or 3, with its revision. `steps` are in order of revision.
pub fn breaches(steps: &[Step], grants: Grants) -> Vec<String> {
    breaches_by_revision(steps, &|tenant, _| grants(tenant))
}

/// As [`breaches`], where grants change.
pub fn breaches_by_revision(steps: &[Step], grants: &dyn Fn(&str, u64) -> BTreeMap<String, Quantity>) -> Vec<String> {
    let mut judge = Judge::default();
    let judged = steps.iter().flat_map(|step| {
        let revision = step.revision;
        let found = judge.step(step, &|tenant| grants(tenant, revision));
        found
            .into_iter()
            .map(move |breach| format!("revision {revision}: {breach}"))
    });
    judged.collect()
}

/// Judges one step after the other and keeps only the current objects, so it can run for hours.
#[derive(Default)]
pub struct Judge(State);

impl Judge {
    /// Every breach of rule 2 or 3 that there is with this step. Steps come in order of revision.
    pub fn step(&mut self, step: &Step, grants: Grants) -> Vec<String> {
        let (namespace, new_right) = self.0.take(step);
        let mut found = self.0.unguarded(&namespace, new_right.as_deref());
        if let Some(tenant) = self.0.tenants.get(&namespace) {
            found.extend(self.0.above_grant(tenant, &grants(tenant)));
        }
        found
    }
}

#[derive(Default)]
struct State {
    objects: BTreeMap<Key, Value>,
    /// Tenants by namespace, of gone namespaces too.
    tenants: BTreeMap<String, String>,
}

impl State {
    /// Gives the namespace that is concerned, and the RoleBinding by which a right was given there.
    fn take(&mut self, step: &Step) -> (String, Option<String>) {
        let (kind, namespace, name) = &step.key;
        let namespace = if *kind == Kind::Namespace { name } else { namespace };
        let Some(object) = &step.object else {
            self.objects.remove(&step.key);
            return (namespace.clone(), None);
        };
        if let (Kind::Namespace, Some(tenant)) = (kind, tenant(object)) {
            self.tenants.insert(namespace.clone(), tenant);
        }
        let new = self.objects.insert(step.key.clone(), object.clone()).is_none();
        let right = (*kind == Kind::RoleBinding && new).then(|| name.clone());
        (namespace.clone(), right)
    }

    fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(&(kind, namespace.to_owned(), name.to_owned()))
    }

    /// Rule 2: the guards that a namespace lacks while a right exists in it. An owner may bind one of our roles, for
    /// example to a ServiceAccount. Such a RoleBinding is judged only when it is created: once our own rights are gone,
    /// the namespace may be deleted in any order.
    fn unguarded(&self, namespace: &str, new_right: Option<&str>) -> Vec<String> {
        let from = (Kind::RoleBinding, namespace.to_owned(), String::new());
        let bindings = self.objects.range(from..);
        let bindings = bindings.take_while(|((kind, home, _), _)| *kind == Kind::RoleBinding && home == namespace);
        let rights = bindings.filter_map(|((_, _, name), object)| {
            let role = object["roleRef"]["name"]
                .as_str()
                .filter(|role| role.starts_with("tenantry-"))?;
            let judged = name.starts_with("tenantry-") || new_right == Some(&**name);
            judged.then_some((&**name, role))
        });
        rights
            .flat_map(|(right, role)| self.lacking(namespace, right, role, new_right == Some(right)))
            .collect()
    }

    /// What a namespace lacks for this right, by this role.
    fn lacking(&self, namespace: &str, right: &str, role: &str, is_new: bool) -> Vec<String> {
        let labels = self
            .get(Kind::Namespace, "", namespace)
            .map(|object| &object["metadata"]["labels"]);
        let labelled = |label: &&str| labels.is_some_and(|labels| labels[*label].is_string());
        let mut lacks: Vec<String> = LABELS
            .iter()
            .filter(|label| !labelled(label))
            .map(|label| format!("the label {label}"))
            .collect();
        let stands = |guard: &&(Kind, &str)| self.get(guard.0, namespace, guard.1).is_some();
        // Nothing runs in a home namespace, and nobody can have anything run there.
        let is_home = labels.is_some_and(|labels| labels["tenantry.dev/home"] == "true");
        let guards = if is_home { &HOME_GUARDS[..] } else { &GUARDS[..] };
        lacks.extend(
            guards
                .iter()
                .filter(|guard| !stands(guard))
                .map(|(kind, name)| format!("{} {name}", kind.as_str())),
        );
        if is_home != role.starts_with("tenantry-home-") {
            lacks.push("a role of such a namespace".to_owned());
        }
        if let Some(quota) = self.get(Kind::ResourceQuota, namespace, "tenantry") {
            let keys = |field: &str| -> BTreeSet<&String> {
                quota[field]["hard"]
                    .as_object()
                    .into_iter()
                    .flat_map(|hard| hard.keys())
                    .collect()
            };
            let (wanted, counted) = (keys("spec"), keys("status"));
            // A key that a template adds later is counted a moment later; but nobody enters before all are.
            if counted.is_empty() || (is_new && !wanted.is_subset(&counted)) {
                lacks.push("a counted quota".to_owned());
            }
        }
        lacks
            .into_iter()
            .map(|guard| format!("{namespace} has {right} but lacks {guard}"))
            .collect()
    }

    /// Rule 3: resources whose sum over the tenant's namespaces exceeds the grant.
    fn above_grant(&self, tenant: &str, grants: &BTreeMap<String, Quantity>) -> Vec<String> {
        let namespaces = self
            .tenants
            .iter()
            .filter(|(_, owner)| *owner == tenant)
            .map(|(namespace, _)| namespace);
        let quotas: Vec<&Value> = namespaces
            .filter_map(|namespace| self.get(Kind::ResourceQuota, namespace, "tenantry"))
            .collect();
        let mut above = Vec::new();
        for (resource, grant) in grants {
            let amount = |quota: &Value, field: &str| -> Quantity {
                quota[field]["hard"][resource]
                    .as_str()
                    .map_or(Quantity::ZERO, |amount| amount.parse().unwrap())
            };
            let held = quotas
                .iter()
                .map(|quota| amount(quota, "spec").max(amount(quota, "status")));
            let sum = Quantity::checked_sum(held).unwrap();
            if sum > *grant {
                above.push(format!("tenant {tenant} holds {sum} of {resource}, granted {grant}"));
            }
        }
        above
    }
}

fn tenant(namespace: &Value) -> Option<String> {
    namespace["metadata"]["labels"]["tenantry.dev/tenant"]
        .as_str()
        .map(str::to_owned)
}

/// Whether a namespace has a tenant's label and the name that this Tenant would give it. The label alone proves
/// nothing: the operator may have put it on a wrong namespace.
fn is_named_for_its_tenant(name: &str, namespace: &Value) -> bool {
    tenant(namespace)
        .and_then(|tenant| name.strip_prefix(&tenant))
        .is_some_and(|rest| rest.starts_with('-'))
}

/// The operator's writes to objects that belong to no tenant.
pub fn strays(events: &[Event], steps: &[Step]) -> Vec<String> {
    let namespaces = steps.iter().filter(|step| step.key.0 == Kind::Namespace);
    let of_tenants: BTreeSet<&str> = namespaces
        .filter(|step| {
            step.object
                .as_ref()
                .is_some_and(|object| is_named_for_its_tenant(&step.key.2, object))
        })
        .map(|step| &*step.key.2)
        .collect();
    let own = |event: &&Event| match &*event.resource {
        "tenants" | "tenanttemplates" | "events" => true,
        "leases" => event.namespace == lab::NAMESPACE,
        "namespaces" => of_tenants.contains(&*event.name),
        _ => of_tenants.contains(&*event.namespace),
    };
    let writes = events
        .iter()
        .filter(|event| event.user == OPERATOR && event.is_write() && event.succeeded());
    writes
        .filter(|event| !own(event))
        .map(|event| format!("a write outside tenants: {event}"))
        .collect()
}

/// All writes of the operator for a tenant at rest, even those that changed nothing and that no watch reports. Answers
/// of 409 do not count: their request came from an older state.
pub fn writes_at_rest<'a>(
    events: &'a [Event],
    tenant: &'a str,
    rest: &'a Range<Mark>,
) -> impl Iterator<Item = &'a Event> {
    let belongs = move |name: &str| {
        name.strip_prefix(tenant)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    let writes = events
        .iter()
        .filter(|event| event.user == OPERATOR && event.is_write() && event.code != 409);
    writes.filter(move |event| {
        let about = if event.namespace.is_empty() {
            &event.name
        } else {
            &event.namespace
        };
        rest.contains(&Mark::of(event)) && belongs(about) && !matches!(&*event.resource, "leases" | "events")
    })
}

/// Creates of objects that existed: a sign that the operator writes before it reads. One is excused if an earlier
/// create of the same object got no answer because its sender was killed: that create may arrive after the next process
/// has listed.
pub fn repeated_creates<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<String> {
    let creates = events.into_iter().filter(|event| {
        event.user == OPERATOR && event.verb == "create" && !matches!(&*event.resource, "leases" | "events")
    });
    let mut creates: Vec<&Event> = creates.collect();
    creates.sort_by(|a, b| a.received.cmp(&b.received));
    let mut unanswered = BTreeSet::new();
    let mut repeated = Vec::new();
    for event in creates {
        let key = (&event.resource, &event.namespace, &event.name);
        if event.code >= 500 {
            unanswered.insert(key);
        } else if event.code == 409 && !unanswered.contains(&key) {
            repeated.push(format!("created what stood already: {event}"));
        }
    }
    repeated
}

mod tests {
    use serde_json::json;

    use super::*;
    use crate::common::record;

    struct Log(Vec<Step>);

    impl Log {
        fn step(&mut self, namespace: &str, kind: Kind, name: &str, object: Option<Value>) {
            let revision = self.0.last().map_or(1, |last| last.revision + 1);
            self.0.push(Step {
                revision,
                key: (kind, namespace.to_owned(), name.to_owned()),
                object,
            });
        }

        fn write(&mut self, kind: Kind, name: &str, object: Value) {
            self.step("acme-dev", kind, name, Some(object));
        }

        fn gone(&mut self, kind: Kind, name: &str) {
            self.step("acme-dev", kind, name, None);
        }

        fn breaches(&self) -> usize {
            breaches(&self.0, &|_| {
                BTreeMap::from([("pods".to_owned(), "10".parse().unwrap())])
            })
            .len()
        }
    }

    fn namespace() -> Value {
        let labels: BTreeMap<_, _> = LABELS.into_iter().map(|label| (label, "acme")).collect();
        json!({ "metadata": { "labels": labels } })
    }

    fn quota(spec: &str, status: &str) -> Value {
        json!({ "spec": { "hard": { "pods": spec } }, "status": { "hard": { "pods": status } } })
    }

    /// The guards but `without`.
    fn guards(without: Option<(Kind, &str)>) -> Log {
        let mut log = Log(Vec::new());
        log.step("", Kind::Namespace, "acme-dev", Some(namespace()));
        for (kind, name) in GUARDS.into_iter().filter(|guard| Some(*guard) != without) {
            log.write(
                kind,
                name,
                if kind == Kind::ResourceQuota {
                    quota("10", "10")
                } else {
                    json!({})
                },
            );
        }
        log
    }

    #[test]
    fn oracle_and_record_know_every_guard() {
        for kind in Kind::ALL.into_iter().filter(|kind| kind.is_guard()) {
            assert!(record::KINDS.contains(&kind), "the record does not watch {kind:?}");
            let is_known = kind == Kind::Namespace || GUARDS.iter().any(|(guard, _)| *guard == kind);
            assert!(is_known, "the oracle does not ask for {kind:?}");
        }
    }

    fn complete() -> Log {
        let mut log = guards(None);
        log.write(Kind::RoleBinding, "tenantry-owner", right("tenantry-owner"));
        log
    }

    fn right(role: &str) -> Value {
        json!({ "roleRef": { "kind": "ClusterRole", "name": role } })
    }

    #[test]
    fn guards_before_rights_are_no_breach() {
        assert_eq!(complete().breaches(), 0);
    }

    #[test]
    fn a_right_without_any_one_guard_is_caught() {
        for guard in GUARDS {
            let mut log = guards(Some(guard));
            assert_eq!(log.breaches(), 0);
            log.write(Kind::RoleBinding, "tenantry-owner", right("tenantry-owner"));
            assert_eq!(log.breaches(), 1, "{guard:?}");
            log.write(guard.0, guard.1, quota("10", "10"));
            assert_eq!(log.breaches(), 1, "what comes too late does not undo it");
        }
    }

    #[test]
    fn owners_own_binding_is_not_judged() {
        let mut log = guards(Some(GUARDS[0]));
        log.write(Kind::RoleBinding, "their-own", right("their-own"));
        assert_eq!(log.breaches(), 0);
        log.write(Kind::RoleBinding, "their-bot", right("tenantry-editor"));
        assert_eq!(log.breaches(), 1, "a right of ours, whatever they call it");
        log.write(GUARDS[1].0, GUARDS[1].1, quota("10", "10"));
        assert_eq!(log.breaches(), 1, "when it came");
    }

    #[test]
    fn every_right_is_judged_not_only_the_first_by_name() {
        let mut log = complete();
        log.write(Kind::RoleBinding, "tenantry-viewer", right("tenantry-home-viewer"));
        assert_eq!(log.breaches(), 1);
    }

    #[test]
    fn a_namespace_without_any_one_label_is_caught() {
        for label in LABELS {
            let mut log = complete();
            let mut bare = namespace();
            bare["metadata"]["labels"][label] = Value::Null;
            log.step("", Kind::Namespace, "acme-dev", Some(bare));
            assert_eq!(log.breaches(), 1, "{label}");
        }
    }

    #[test]
    fn a_right_before_the_whole_quota_is_counted_is_caught() {
        for status in [json!({}), json!({ "hard": { "secrets": "1" } })] {
            let mut log = guards(Some((Kind::ResourceQuota, "tenantry")));
            let quota = json!({ "spec": { "hard": { "pods": "10" } }, "status": status });
            log.write(Kind::ResourceQuota, "tenantry", quota);
            log.write(Kind::RoleBinding, "tenantry-owner", right("tenantry-owner"));
            assert_eq!(log.breaches(), 1, "{status}");
        }
    }

    #[test]
    fn a_guard_that_goes_before_the_right_is_caught() {
        let mut log = complete();
        log.gone(Kind::LimitRange, "tenantry");
        assert_eq!(log.breaches(), 1);
        log.gone(Kind::RoleBinding, "tenantry-owner");
        log.gone(Kind::NetworkPolicy, "tenantry-allow");
        assert_eq!(log.breaches(), 1, "with the right gone, guards may go");
    }

    #[test]
    fn excess_in_either_spec_or_status_of_a_quota_is_caught() {
        for quota in [quota("11", "10"), quota("0", "11")] {
            let mut log = complete();
            log.write(Kind::ResourceQuota, "tenantry", quota);
            assert_eq!(log.breaches(), 1);
        }
    }

    #[test]
    fn the_sum_counts_every_namespace_of_the_tenant() {
        let mut log = complete();
        log.step("", Kind::Namespace, "acme-prod", Some(namespace()));
        log.step("acme-prod", Kind::ResourceQuota, "tenantry", Some(quota("1", "0")));
        assert_eq!(log.breaches(), 1);
    }

    fn create(namespace: &str, code: u16, second: u8) -> Event {
        Event {
            verb: "create".to_owned(),
            user: OPERATOR.to_owned(),
            resource: "configmaps".to_owned(),
            namespace: namespace.to_owned(),
            name: "tenant-limits".to_owned(),
            code,
            received: format!("2030-01-01T00:00:{second:02}.000000Z"),
            ..Event::default()
        }
    }

    #[test]
    fn a_write_outside_tenants_is_caught() {
        let steps = complete().0;
        assert_eq!(strays(&[create("acme-dev", 201, 0)], &steps), [""; 0]);
        assert_eq!(strays(&[create("kube-system", 403, 0)], &steps), [""; 0]);
        assert_eq!(strays(&[create("kube-system", 201, 0)], &steps).len(), 1);
        let mut taken = complete();
        taken.step("", Kind::Namespace, "kube-system", Some(namespace()));
        assert_eq!(
            strays(&[create("kube-system", 201, 0)], &taken.0).len(),
            1,
            "a label does not make it a tenant's"
        );
    }

    #[test]
    fn write_at_rest_is_caught_even_if_it_changes_nothing() {
        let at = |namespace: &str, name: &str, code, second| Event {
            verb: "update".to_owned(),
            name: name.to_owned(),
            ..create(namespace, code, second)
        };
        let rest = Mark::of(&at("", "", 200, 2))..Mark::of(&at("", "", 200, 5));
        let found = |event: Event| writes_at_rest(&[event], "acme", &rest).count();
        assert_eq!(found(at("acme-dev", "tenantry", 200, 3)), 1);
        assert_eq!(found(at("", "acme", 200, 3)), 1, "the Tenant itself");
        assert_eq!(found(at("", "acme-dev", 403, 3)), 1, "a Namespace, refused");
        assert_eq!(found(at("acme-dev", "tenantry", 409, 3)), 0, "by an old state");
        assert_eq!(found(at("acmes-dev", "tenantry", 200, 3)), 0, "of another");
        for second in [1, 5] {
            assert_eq!(
                found(at("acme-dev", "tenantry", 200, second)),
                0,
                "not at rest at {second}"
            );
        }
    }

    #[test]
    fn repeated_create_is_caught_unless_the_first_got_no_answer() {
        assert_eq!(repeated_creates(&[create("a", 201, 0), create("a", 409, 1)]).len(), 1);
        assert_eq!(repeated_creates(&[create("a", 409, 1), create("a", 504, 0)]), [""; 0]);
        assert_eq!(repeated_creates(&[create("a", 409, 0), create("a", 504, 1)]).len(), 1);
    }
}
