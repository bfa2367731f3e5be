use kube::{Resource as _, ResourceExt as _};
use serde_json::{Value, json};

use super::*;
use crate::tenant::facts::Deletions;
use crate::{
    fixture::{self, claim},
    object::Key,
    tenant::{
        facts::Claim,
        validate::{ValidTenant, Verdict, validate},
    },
};
use tenantry_api::v1alpha1::{DirectOverflow, Environment};

/// A tenant that lists `dev`. Its template grants this number of namespaces, and owners may create claims.
struct Scene {
    template: Value,
    tenant: Value,
    facts: Facts,
}

impl Scene {
    fn new(granted: i64) -> Self {
        Self {
            template: json!({ "selfService": "Claim", "quotas": { "namespaces": granted } }),
            tenant: json!({}),
            facts: Facts::default(),
        }
    }

    fn claims(mut self, claims: &[(&str, u8)]) -> Self {
        self.facts.claims = claims.iter().map(|(name, second)| claim(name, *second)).collect();
        self
    }

    /// With these existing namespaces of the tenant.
    fn existing(mut self, names: &[&str]) -> Self {
        for name in names {
            self.live(name, &json!({}));
        }
        self
    }

    fn live(&mut self, name: &str, content: &Value) {
        let key = Key::namespace(name);
        let live = fixture::live(&key, content);
        self.facts.live.insert(key, live.clone());
        self.facts.namespaces.insert(name.to_owned(), live);
    }

    fn valid(&mut self) -> ValidTenant {
        self.facts.template = fixture::facts(&self.template).template;
        validate(&fixture::tenant(&self.tenant), &self.facts, &fixture::settings()).unwrap()
    }
}

fn wanted(valid: &ValidTenant) -> Vec<&str> {
    valid.namespaces.iter().map(|namespace| &*namespace.name).collect()
}

/// Names of the refused claims, with the reason.
fn refused(valid: &ValidTenant) -> Vec<(String, &'static str)> {
    let reason = |claim: &ValidClaim| match &claim.verdict {
        Verdict::Granted(_) | Verdict::Withdrawn { .. } => None,
        Verdict::Refused { reason, .. } => Some((claim.seen.name_any(), reason.as_str())),
    };
    valid.claims.iter().filter_map(reason).collect()
}

fn places(valid: &ValidTenant) -> Option<i64> {
    valid.home.as_ref().map(|home| home.places)
}

#[test]
fn a_claim_gets_a_namespace_with_its_environment_and_weight() {
    let valid = Scene::new(3).claims(&[("web", 1)]).valid();
    assert_eq!(wanted(&valid), ["acme-dev", "acme-web"]);
    let web = &valid.namespaces[1];
    assert_eq!((web.environment, web.weight), (Environment::Staging, Some(3)));
    assert!(web.labels.is_empty());
    assert_eq!(valid.claims[0].verdict, Verdict::Granted("acme-web".to_owned()));
}

#[test]
fn claims_have_a_place_for_each_granted_unlisted_namespace() {
    assert_eq!(places(&Scene::new(3).valid()), Some(2));
    assert_eq!(
        places(&Scene::new(3).claims(&[("web", 1)]).valid()),
        Some(2),
        "the quota counts claims itself"
    );
    assert_eq!(places(&Scene::new(1).valid()), None, "there is no place for a claim");
    assert_eq!(
        places(&Scene::new(1).existing(&["acme-home"]).valid()),
        Some(0),
        "an existing home namespace stays"
    );
    let mut unlimited = Scene::new(1);
    unlimited.template = json!({ "selfService": "Claim" });
    assert_eq!(places(&unlimited.valid()), Some(MOST_CLAIMS));
}

#[test]
fn the_oldest_claims_get_the_places_and_others_are_refused() {
    let valid = Scene::new(3).claims(&[("a", 9), ("b", 2), ("c", 1)]).valid();
    assert_eq!(wanted(&valid), ["acme-b", "acme-c", "acme-dev"]);
    assert_eq!(refused(&valid), [("a".to_owned(), "NoRoom")]);
}

#[test]
fn an_existing_namespace_keeps_its_place_before_new_requests() {
    let claims = [("old", 1), ("young", 9)];
    let valid = Scene::new(2)
        .claims(&claims)
        .existing(&["acme-dev", "acme-young"])
        .valid();
    assert_eq!(refused(&valid), [("old".to_owned(), "NoRoom")]);

    let mut listed = Scene::new(2)
        .claims(&[("young", 9)])
        .existing(&["acme-dev", "acme-young"]);
    listed.tenant = json!({ "namespaces": [{ "name": "dev" }, { "name": "new" }] });
    let valid = listed.valid();
    assert_eq!(wanted(&valid), ["acme-dev", "acme-young"]);
    assert_eq!(valid.room.waiting, ["acme-new"]);
    assert_eq!(
        places(&valid),
        None.or(Some(0)).filter(|_| valid.home.is_some()),
        "no further claim"
    );
}

#[test]
fn a_namespace_that_is_being_deleted_keeps_its_place() {
    let mut scene = Scene::new(2).claims(&[("web", 1)]).existing(&["acme-dev"]);
    scene.live(
        "acme-old",
        &json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } }),
    );
    let valid = scene.valid();
    assert_eq!(refused(&valid), [("web".to_owned(), "NoRoom")]);
    assert_eq!(valid.room, Room::default(), "the deletion will free a place");
    scene.facts.live.retain(|key, _| &*key.name != "acme-old");
    assert!(refused(&scene.valid()).is_empty());
}

#[test]
fn retained_namespaces_keep_their_places() {
    let mut scene = Scene::new(2).existing(&["acme-dev", "acme-kept"]).claims(&[("web", 1)]);
    scene.tenant = json!({ "deletionPolicy": "Retain" });
    let valid = scene.valid();
    assert_eq!(refused(&valid), [("web".to_owned(), "NoRoom")]);
    assert_eq!(places(&valid).unwrap_or(0), 0);
}

#[test]
fn a_lower_grant_deletes_nothing_and_is_reported() {
    let valid = Scene::new(1)
        .claims(&[("web", 1)])
        .existing(&["acme-dev", "acme-web", "acme-home"])
        .valid();
    assert_eq!(wanted(&valid), ["acme-dev", "acme-web"]);
    assert_eq!((places(&valid), valid.room.above), (Some(0), Some((2, 1))));
}

#[test]
fn a_claim_with_a_listed_or_invalid_name_is_refused() {
    let long = "n".repeat(60);
    let valid = Scene::new(9).claims(&[("dev", 1), ("home", 2), (&long, 3)]).valid();
    assert_eq!(wanted(&valid), ["acme-dev"]);
    let reasons: Vec<_> = refused(&valid).into_iter().map(|(_, reason)| reason).collect();
    assert_eq!(reasons, ["NameTaken", "InvalidName", "InvalidName"]);
}

#[test]
fn claimed_namespaces_stay_when_self_service_is_disabled() {
    let mut scene = Scene::new(5)
        .claims(&[("new", 2), ("web", 1)])
        .existing(&["acme-dev", "acme-web", "acme-home"]);
    scene.template["selfService"] = json!("Disabled");
    let valid = scene.valid();
    assert_eq!(wanted(&valid), ["acme-dev", "acme-web"]);
    assert_eq!(refused(&valid), [("new".to_owned(), "SelfServiceDisabled")]);
    assert_eq!(places(&valid), Some(0));
}

#[test]
fn an_empty_home_is_deleted_once_its_quota_refuses_claims() {
    let mut scene = Scene::new(5).existing(&["acme-dev", "acme-home"]);
    scene.template["selfService"] = json!("Disabled");
    assert_eq!(places(&scene.valid()), Some(0), "a claim may still be created");
    let zero = json!({ (names::CLAIMS): "0" });
    let (key, quota) = fixture::live_quota("acme-home", &zero, &zero, &zero);
    scene.facts.live.insert(key, quota);
    let valid = scene.valid();
    assert_eq!(valid.home, None);
    assert_eq!(
        valid
            .leaving
            .iter()
            .map(|leaving| &*leaving.key.name)
            .collect::<Vec<_>>(),
        ["acme-home"]
    );
}

#[test]
fn a_namespace_that_nobody_wants_is_deleted() {
    let valid = Scene::new(5).existing(&["acme-dev", "acme-web"]).valid();
    assert_eq!(
        valid
            .leaving
            .iter()
            .map(|leaving| &*leaving.key.name)
            .collect::<Vec<_>>(),
        ["acme-web"]
    );
}

#[test]
fn a_claim_that_cannot_be_decoded_keeps_its_namespace() {
    let mut scene = Scene::new(5).existing(&["acme-dev"]);
    scene.live(
        "acme-web",
        &json!({ "metadata": { "labels": { "tenantry.dev/environment": "Production" } } }),
    );
    let broken = json!({ "metadata": { "name": "web", "namespace": "acme-home" }, "spec": { "weight": "x" } });
    scene.facts.claims = vec![Arc::new(serde_json::from_value(broken).unwrap())];
    let valid = scene.valid();
    assert_eq!(wanted(&valid), ["acme-dev", "acme-web"]);
    assert_eq!(
        (valid.namespaces[1].environment, valid.namespaces[1].weight),
        (Environment::Production, Some(1))
    );
}

#[test]
fn a_foreign_namespace_with_the_homes_name_is_a_conflict() {
    let mut scene = Scene::new(5);
    let foreign = json!({ "metadata": { "ownerReferences": null, "labels": null } });
    let live = fixture::live(&Key::namespace("acme-home"), &foreign);
    scene.facts.namespaces.insert("acme-home".to_owned(), live);
    let valid = scene.valid();
    assert_eq!((valid.home, valid.conflicts.len()), (None, 1));
}

/// An owner created this namespace in this second.
fn made(scene: &mut Scene, name: &str, second: u8) {
    let labels = json!({ "app.kubernetes.io/managed-by": null, "tenantry.dev/tenant": "acme" });
    let created = format!("2026-01-01T00:00:{second:02}Z");
    let metadata = json!({ "ownerReferences": null, "labels": labels, "creationTimestamp": created });
    let live = fixture::live(&Key::namespace(name), &json!({ "metadata": metadata }));
    assert_eq!(live.asks.as_deref(), Some("acme"));
    scene.facts.asking.insert(Key::namespace(name), live.clone());
    scene.facts.namespaces.insert(name.to_owned(), live);
}

fn turned_away(valid: &ValidTenant) -> Vec<&str> {
    valid.turned_away.iter().map(|away| &*away.key.name).collect()
}

#[test]
fn an_owners_namespace_is_accepted_while_a_place_is_free() {
    let mut scene = Scene::new(2);
    scene.template["selfService"] = json!("Direct");
    made(&mut scene, "acme-late", 9);
    made(&mut scene, "acme-web", 1);
    let valid = scene.valid();
    assert_eq!(wanted(&valid), ["acme-dev", "acme-web"]);
    assert!(valid.namespaces[1].direct && valid.conflicts.is_empty());
    assert_eq!(turned_away(&valid), ["acme-late"]);
    assert_eq!(valid.turned_away[0].overflow, DirectOverflow::Wait);
}

#[test]
fn an_owners_namespace_needs_its_prefix_and_direct_creation() {
    let mut scene = Scene::new(9);
    made(&mut scene, "acme-web", 1);
    assert_eq!(turned_away(&scene.valid()), ["acme-web"]);
    scene.template["selfService"] = json!("Direct");
    made(&mut scene, "web", 1);
    made(&mut scene, "acme-home", 2);
    assert_eq!(turned_away(&scene.valid()), ["web", "acme-home"]);
}

#[test]
fn an_accepted_namespace_stays_when_direct_is_disabled() {
    let mut scene = Scene::new(3).existing(&["acme-dev"]);
    scene.live(
        "acme-web",
        &json!({ "metadata": { "labels": { "tenantry.dev/self-service": "Direct" } } }),
    );
    let valid = scene.valid();
    assert_eq!(wanted(&valid), ["acme-dev", "acme-web"]);
    assert_eq!(places(&valid), Some(1));
}

#[test]
fn a_namespace_created_and_claimed_is_accepted_once() {
    let mut scene = Scene::new(9).claims(&[("web", 1)]);
    scene.template["selfService"] = json!("Direct");
    made(&mut scene, "acme-web", 2);
    let valid = scene.valid();
    assert_eq!(wanted(&valid), ["acme-dev", "acme-web"]);
    assert!(turned_away(&valid).is_empty() && refused(&valid).is_empty());
}

#[test]
fn only_a_limited_number_of_namespaces_waits_for_a_place() {
    let mut scene = Scene::new(1);
    scene.template["selfService"] = json!("Direct");
    for number in 0..30 {
        made(&mut scene, &format!("acme-n{number:02}"), number);
    }
    let valid = scene.valid();
    let wait: Vec<_> = valid
        .turned_away
        .iter()
        .filter(|away| away.overflow == DirectOverflow::Wait)
        .collect();
    assert_eq!((valid.turned_away.len(), wait.len()), (30, MOST_CLOSED));
    assert_eq!(&*wait[0].key.name, "acme-n00", "the oldest ones wait");
}

#[test]
fn a_namespace_that_no_owner_can_have_created_is_never_removed() {
    let mut scene = Scene::new(1);
    scene.template["selfService"] = json!("Direct");
    scene.template["directOverflow"] = json!("Remove");
    for number in 0..30 {
        made(&mut scene, &format!("production-{number}"), number);
    }
    made(&mut scene, "acme-home", 1);
    made(&mut scene, "acme-web", 1);
    let valid = scene.valid();
    let removed = valid
        .turned_away
        .iter()
        .filter(|away| away.overflow == DirectOverflow::Remove);
    assert_eq!(removed.map(|away| &*away.key.name).collect::<Vec<_>>(), ["acme-web"]);
}

#[test]
fn an_owners_namespace_that_is_being_deleted_leaves() {
    let mut scene = Scene::new(3).existing(&["acme-dev"]);
    let metadata =
        json!({ "labels": { "tenantry.dev/self-service": "Direct" }, "deletionTimestamp": "2026-01-01T00:00:00Z" });
    scene.live("acme-web", &json!({ "metadata": metadata }));
    let valid = scene.valid();
    assert_eq!(wanted(&valid), ["acme-dev"]);
    assert_eq!(valid.leaving.len(), 1);
}

#[test]
fn a_claim_of_a_foreign_namespace_is_no_conflict_of_the_tenant() {
    let mut scene = Scene::new(9).claims(&[("db", 1)]);
    let foreign = json!({ "metadata": { "ownerReferences": fixture::owner("t2"), "labels": { "tenantry.dev/tenant": "zebra" } } });
    let live = fixture::live(&Key::namespace("acme-db"), &foreign);
    scene.facts.namespaces.insert("acme-db".to_owned(), live);
    let valid = scene.valid();
    assert!(valid.conflicts.is_empty());
    assert_eq!(refused(&valid), [("db".to_owned(), "NameTaken")]);
}

#[test]
fn a_claim_cannot_have_the_name_of_another_tenants_home() {
    assert_eq!(
        refused(&Scene::new(9).claims(&[("x-home", 1)]).valid()),
        [("x-home".to_owned(), "InvalidName")]
    );
}

fn asked_for(name: &str) -> Value {
    json!({ "metadata": { "name": name, "annotations": { (names::CLAIM_WEIGHT): "7" } } })
}

/// A claim that is being deleted.
fn deleted(name: &str) -> Claim {
    let mut claim = (*claim(name, 1)).clone();
    claim.meta_mut().deletion_timestamp = serde_json::from_value(json!("2026-07-01T00:00:00Z")).unwrap();
    Arc::new(claim)
}

fn leaving(valid: &ValidTenant) -> Vec<&str> {
    valid.leaving.iter().map(|leaving| &*leaving.key.name).collect()
}

/// The tenant with the claimed namespace `acme-web`, and with these claims.
fn with_web(claims: Vec<Claim>, deletions: Deletions) -> Scene {
    let mut scene = Scene::new(2).existing(&["acme-dev"]);
    scene.live("acme-web", &asked_for("acme-web"));
    scene.facts.claims = claims;
    scene.facts.deletions = deletions;
    scene
}

#[test]
fn a_namespace_whose_claim_is_missing_stays_as_it_is() {
    let mut scene = with_web(Vec::new(), Deletions::Unknown);
    let valid = scene.valid();
    assert_eq!(
        (wanted(&valid), leaving(&valid)),
        (vec!["acme-dev", "acme-web"], vec![])
    );
    let web = &valid.namespaces[1];
    assert_eq!((web.weight, web.claimed), (Some(7), true), "its share and rights stay");
    assert_eq!(valid.unclaimed, BTreeSet::from(["acme-web".to_owned()]));
    assert_eq!(
        places(&valid),
        Some(1),
        "the place stays free for its claim, and no other place is free"
    );
    scene.facts.claims = vec![claim("shop", 1)];
    assert_eq!(refused(&scene.valid()), [("shop".to_owned(), "NoRoom")]);
    scene.facts.claims = vec![claim("web", 1)];
    let back = scene.valid();
    assert_eq!((back.namespaces[1].weight, back.unclaimed.len()), (Some(3), 0));
}

#[test]
fn a_namespace_is_deleted_when_somebody_deletes_its_claim() {
    let valid = with_web(vec![deleted("web")], Deletions::Asked).valid();
    assert_eq!((wanted(&valid), leaving(&valid)), (vec!["acme-dev"], vec!["acme-web"]));
    let mut retained = with_web(vec![deleted("web")], Deletions::Asked);
    retained.tenant = json!({ "deletionPolicy": "Retain" });
    let valid = retained.valid();
    assert_eq!((valid.namespaces[1].weight, valid.namespaces[1].claimed), (None, false));
}

#[test]
fn a_namespace_stays_when_its_claim_is_deleted_by_cascade() {
    for deletions in [Deletions::Cascaded, Deletions::Unknown] {
        let valid = with_web(vec![deleted("web")], deletions).valid();
        assert_eq!(
            (wanted(&valid), leaving(&valid)),
            (vec!["acme-dev", "acme-web"], vec![])
        );
        let missing = usize::from(deletions == Deletions::Cascaded);
        assert_eq!(valid.unclaimed.len(), missing, "{deletions:?}");
    }
    let mut unmarked = Scene::new(2).existing(&["acme-dev", "acme-web"]);
    unmarked.facts.claims = vec![deleted("web")];
    unmarked.facts.deletions = Deletions::Cascaded;
    let valid = unmarked.valid();
    assert_eq!(
        (wanted(&valid), leaving(&valid)),
        (vec!["acme-dev", "acme-web"], vec![])
    );
    assert!(
        valid.namespaces[1].claimed,
        "the operator adds the annotation before the claim is deleted"
    );
}

#[test]
fn protection_keeps_an_unlisted_namespace_without_owners() {
    let mut scene = Scene::new(3).existing(&["acme-dev", "acme-old", "acme-home"]);
    assert_eq!(leaving(&scene.valid()), ["acme-old"]);
    scene.tenant = json!({ "deletionProtection": true });
    let valid = scene.valid();
    assert_eq!(
        (wanted(&valid), leaving(&valid)),
        (vec!["acme-dev", "acme-old"], vec![])
    );
    assert!(!valid.namespaces[1].is_wanted() && valid.protects);
    assert_eq!(places(&valid), Some(1), "the retained namespace has a place");
}
