//! The scenario that runs under faults: three tenants, from creation to deletion.

use std::{collections::BTreeMap, fmt::Display, future::Future, ops::Range, time::Duration};

use k8s_openapi::api::{
    core::v1::{Namespace, Pod, ResourceQuota},
    rbac::v1::RoleBinding,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tenantry_api::{
    Quantity, names,
    v1alpha1::{Tenant, TenantNamespace, TenantPolicy, TenantState, TenantTemplate},
};

use crate::common::{
    self, PATIENCE,
    audit::Mark,
    builders::{binding, pod, template, tenant},
    eventually,
    oracle::four_cores_and,
    stands,
};

/// Pods that the template grants, and the lower grant for a while.
const GRANT: i64 = 15;
const LOW: i64 = 6;
/// Pods that one namespace uses at its peak, which is more than its share.
const CROWD: usize = 6;

/// A tenant with its own template, and its story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Three namespaces: one needs more than its share, the grant falls and rises again, and one namespace is replaced.
    Wide,
    /// One namespace and a home namespace, in which its owner claims one more and deletes the claim.
    Single,
    /// Frozen and thawed, handed to another owner, and deleted with its namespace retained; a new Tenant of the same
    /// name takes that over.
    Kept,
}

impl Part {
    const ALL: [Self; 3] = [Self::Wide, Self::Single, Self::Kept];

    fn word(self) -> &'static str {
        match self {
            Self::Wide => "wide",
            Self::Single => "single",
            Self::Kept => "kept",
        }
    }
}

/// The names in a run. They are unique, so that many scenarios run on one cluster.
#[derive(Clone, Debug)]
pub struct Cast {
    /// Part of every name. It has an x, which no uid has.
    pub id: String,
    parts: Vec<Part>,
}

/// What the oracle needs to know about a completed scenario, by tenant.
#[derive(Debug, Default)]
pub struct Story {
    /// The revisions from which and until which (exclusive) the lower grant applies.
    low: BTreeMap<String, (u64, u64)>,
    /// The time at rest: from the start of the quiet phase until the deletion.
    pub rests: BTreeMap<String, Range<Mark>>,
}

impl Cast {
    pub fn new(number: usize) -> Self {
        Self {
            id: format!("x{number:04}"),
            parts: Part::ALL.to_vec(),
        }
    }

    /// Only the part to which this name belongs.
    pub fn with_part_of(mut self, name: &str) -> Self {
        self.parts.retain(|part| name.contains(part.word()));
        assert_eq!(self.parts.len(), 1, "{name} belongs to one part");
        self
    }

    /// Name of a part's tenant, and of its template.
    fn name(&self, part: Part) -> String {
        format!("{}-{}", part.word(), self.id)
    }

    fn template(&self, part: Part) -> TenantTemplate {
        let small = json!({ "cpu": "10m", "memory": "16Mi" });
        let spec = json!({
            "tier": "Standard", "quotaSpread": "Demand",
            "selfService": match part {
                Part::Wide | Part::Kept => "Disabled",
                Part::Single => "Claim",
            },
            "quotas": { "cpu": "4", "memory": "8Gi", "pods": GRANT },
            "containers": { "default": small, "defaultRequest": small },
            "security": { "podSecurity": "Restricted" },
        });
        template(&self.name(part), spec)
    }

    /// Its names, to write rules for it.
    pub fn told(&self) -> String {
        let [wide, single, kept] = Part::ALL.map(|part| self.name(part));
        format!(
            "The scenario's tenants and templates are {wide} (namespaces {wide}-a, {wide}-b, {wide}-c and later {wide}-d), \
             {single} ({single}-only, {single}-home, {single}-asked) and {kept} ({kept}-only)"
        )
    }

    /// The same write in another scenario.
    pub fn renamed(&self, name: &str, other: &Self) -> String {
        name.replace(&self.id, &other.id)
    }
}

/// A tenant's grant at a revision. While it changes, the larger grant is the limit.
pub fn grants(story: Option<&Story>, tenant: &str, revision: u64) -> BTreeMap<String, Quantity> {
    let low = story.and_then(|story| story.low.get(tenant));
    let low = low.is_some_and(|low| (low.0..low.1).contains(&revision));
    let pods = if low { LOW } else { GRANT }.to_string();
    four_cores_and(&pods)
}

/// As [`eventually`], with a longer limit for a storm. The pause between probes grows, so that dozens can wait at once.
async fn settles<T, E, F>(what: &str, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, E>>,
    E: Display,
{
    let mut pause = Duration::from_millis(100);
    eventually(what, 4 * PATIENCE, || {
        let asked = probe();
        pause = (pause * 3 / 2).min(Duration::from_secs(2));
        async move {
            let answer = asked.await;
            if answer.is_err() {
                tokio::time::sleep(pause).await;
            }
            answer
        }
    })
    .await
}

/// Plays the scenario.
pub struct Player {
    pub cast: Cast,
    pub admin: Client,
    pub olga: Client,
}

impl Player {
    pub async fn play(&self) -> Story {
        let mut story = Story::default();
        for part in self.cast.parts.clone() {
            match part {
                Part::Wide => {
                    let low = self.wide().await;
                    story.low.insert(self.cast.name(part), low);
                }
                Part::Single => self.single().await,
                Part::Kept => self.kept().await,
            }
            let name = self.cast.name(part);
            self.ready(&name).await;
            self.as_rendered(part).await;
            let rested = self.rests(&name).await;
            story.rests.insert(name.clone(), rested..Mark::now());
            self.leave(&name).await;
        }
        story
    }

    /// Returns the revisions between which the lower grant applied.
    async fn wide(&self) -> (u64, u64) {
        let name = self.cast.name(Part::Wide);
        let three = ["a", "b", "c"];
        common::create_template(&self.admin, &self.cast.template(Part::Wide)).await;
        let wide = three.iter().fold(tenant(&name, &name).owner("olga"), |tenant, name| {
            tenant.namespace(name)
        });
        common::create(&self.admin, &wide.build()).await;
        self.ready(&name).await;
        self.shares(&name, &three, GRANT / 3).await;

        self.crowd(&format!("{name}-a")).await;
        self.empty(&format!("{name}-a")).await;
        self.shares(&name, &three, GRANT / 3).await;

        self.grant(&name, LOW).await;
        self.ready(&name).await;
        self.shares(&name, &three, LOW / 3).await;
        let from = self.revision().await;
        let until = self.grant(&name, GRANT).await;
        self.ready(&name).await;
        self.shares(&name, &three, GRANT / 3).await;

        let names = ["a", "b", "d"];
        let listed = names.map(|name| json!({ "name": name }));
        let change = Patch::Merge(json!({ "spec": { "namespaces": listed } }));
        let tenants: Api<Tenant> = Api::all(self.admin.clone());
        tenants.patch(&name, &PatchParams::default(), &change).await.unwrap();
        let namespaces: Api<Namespace> = Api::all(self.admin.clone());
        self.gone(&namespaces, &format!("{name}-c")).await;
        self.ready(&name).await;
        self.shares(&name, &names, GRANT / 3).await;
        (from, until)
    }

    async fn single(&self) {
        let name = self.cast.name(Part::Single);
        common::create_template(&self.admin, &self.cast.template(Part::Single)).await;
        let single = tenant(&name, &name).owner("olga").namespace("only");
        common::create(&self.admin, &single.build()).await;
        self.ready(&name).await;
        self.asks_and_gives_back(&name, "asked").await;
    }

    async fn kept(&self) {
        let name = self.cast.name(Part::Kept);
        let only = format!("{name}-only");
        let of = |policy: &str, owner: &str| {
            let tenant = tenant(&name, &name).owner(owner).namespace("only");
            tenant.with("deletionPolicy", json!(policy)).build()
        };
        let tenants: Api<Tenant> = Api::all(self.admin.clone());
        let change = async |spec: Value| {
            let change = Patch::Merge(json!({ "spec": spec }));
            tenants.patch(&name, &PatchParams::default(), &change).await.unwrap();
        };
        common::create_template(&self.admin, &self.cast.template(Part::Kept)).await;
        common::create(&self.admin, &of("Retain", "olga")).await;
        self.ready(&name).await;
        let bindings: Api<RoleBinding> = Api::namespaced(self.olga.clone(), &only);
        let bot = binding(&json!({ "name": "bot" }), "tenantry-editor", "bot", &only);
        let bot: RoleBinding = serde_json::from_value(bot).unwrap();
        settles("the owner to bind an account", || async {
            bindings.create(&PostParams::default(), &bot).await
        })
        .await;

        change(json!({ "state": "Frozen" })).await;
        self.frozen(&name).await;
        let policies: Api<TenantPolicy> = Api::namespaced(self.admin.clone(), &only);
        let policy = policies.get(names::EFFECTIVE).await.unwrap();
        assert_eq!(policy.spec.state, TenantState::Frozen);
        change(json!({ "state": "Active" })).await;
        self.ready(&name).await;
        change(json!({ "owners": [{ "kind": "User", "name": "otto" }] })).await;
        self.ready(&name).await;

        let mut guards = stands::managed_of(&self.admin, &[&name]).await;
        guards.retain(|key, _| !key.starts_with("RoleBinding"));
        tenants.delete(&name, &DeleteParams::default()).await.unwrap();
        self.gone(&tenants, &name).await;
        let kept = stands::managed_of(&self.admin, &[&name]).await;
        assert!(
            kept.keys().eq(guards.keys()),
            "every guard was kept: {:?} of {:?}",
            kept.keys(),
            guards.keys()
        );
        let owned = kept
            .iter()
            .filter(|(_, object)| !object["metadata"]["ownerReferences"].is_null());
        let owned: Vec<_> = owned.map(|(key, _)| key).collect();
        assert_eq!(owned, [""; 0], "nothing that the garbage collector would take");
        let bindings: Api<RoleBinding> = Api::namespaced(self.admin.clone(), &only);
        let left = bindings.list(&ListParams::default()).await.unwrap();
        let left: Vec<_> = left.iter().map(kube::ResourceExt::name_any).collect();
        assert_eq!(left, [""; 0], "nobody has a right in what was kept");
        let namespaces: Api<Namespace> = Api::all(self.admin.clone());
        let take_over = Patch::Merge(json!({ "metadata": { "annotations": { names::ADOPT_BY: name } } }));
        namespaces
            .patch(&only, &PatchParams::default(), &take_over)
            .await
            .unwrap();
        common::create(&self.admin, &of("Delete", "olga")).await;
    }

    async fn frozen(&self, name: &str) {
        self.until(name, "frozen", |tenant| common::holds(tenant, "Frozen", "True", None))
            .await;
    }

    async fn ready(&self, name: &str) {
        self.until(name, "Ready", common::is_ready).await;
    }

    async fn until(&self, name: &str, what: &str, holds: impl Fn(&Tenant) -> bool) {
        let tenants: Api<Tenant> = Api::all(self.admin.clone());
        settles(&format!("{name} to be {what}"), || async {
            let tenant = tenants.get(name).await.map_err(|error| error.to_string())?;
            if holds(&tenant) {
                Ok(())
            } else {
                Err(format!("{:#?}", tenant.status))
            }
        })
        .await;
    }

    /// Waits until each namespace may have so many pods and the quota controller has counted them.
    async fn shares(&self, tenant: &str, names: &[&str], each: i64) {
        let each = json!(each.to_string());
        settles("the spread to come to rest", || async {
            let mut seen = Vec::new();
            for name in names {
                let quotas: Api<ResourceQuota> = Api::namespaced(self.admin.clone(), &format!("{tenant}-{name}"));
                let quota = quotas.get("tenantry").await.map_err(|error| error.to_string())?;
                let quota = serde_json::to_value(quota).unwrap();
                seen.extend(["spec", "status"].map(|field| quota[field]["hard"]["pods"].clone()));
            }
            if seen.iter().all(|seen| *seen == each) {
                Ok(())
            } else {
                Err(format!("{seen:?}, not {each} each"))
            }
        })
        .await;
    }

    /// Fills a namespace beyond its share.
    async fn crowd(&self, namespace: &str) {
        let pods: Api<Pod> = Api::namespaced(self.olga.clone(), namespace);
        let wanted: Pod = serde_json::from_value(pod(&json!({ "cpu": "10m" }))).unwrap();
        for _ in 0..CROWD {
            settles("a pod to be admitted", || async {
                pods.create(&PostParams::default(), &wanted).await
            })
            .await;
        }
    }

    /// The owner claims a namespace, gets it, and deletes the claim.
    async fn asks_and_gives_back(&self, tenant: &str, name: &str) {
        let home = format!("{tenant}-home");
        let claims: Api<TenantNamespace> = Api::namespaced(self.olga.clone(), &home);
        let claim = json!({ "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantNamespace", "metadata": { "name": name }, "spec": {} });
        let claim: TenantNamespace = serde_json::from_value(claim).unwrap();
        settles("a namespace to be asked for", || async {
            claims.create(&PostParams::default(), &claim).await
        })
        .await;
        settles("the namespace that was asked for", || async {
            let claim = claims.get(name).await.map_err(|error| error.to_string())?;
            let conditions = claim.status.unwrap_or_default().conditions;
            let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
            match ready {
                Some(ready) if ready.status == "True" => Ok(()),
                _ => Err(format!("{ready:?}")),
            }
        })
        .await;
        claims.delete(name, &DeleteParams::default()).await.unwrap();
        let namespaces: Api<Namespace> = Api::all(self.admin.clone());
        self.gone(&namespaces, &format!("{tenant}-{name}")).await;
    }

    async fn empty(&self, namespace: &str) {
        let pods: Api<Pod> = Api::namespaced(self.admin.clone(), namespace);
        let now = DeleteParams::default().grace_period(0);
        pods.delete_collection(&now, &ListParams::default()).await.unwrap();
    }

    /// Changes a template's grant; returns the revision.
    async fn grant(&self, template: &str, pods: i64) -> u64 {
        let templates: Api<TenantTemplate> = Api::all(self.admin.clone());
        let change = Patch::Merge(json!({ "spec": { "quotas": { "pods": pods } } }));
        let changed = templates.patch(template, &PatchParams::default(), &change).await;
        changed.unwrap().resource_version().unwrap().parse().unwrap()
    }

    async fn revision(&self) -> u64 {
        let templates: Api<TenantTemplate> = Api::all(self.admin.clone());
        let list = templates.list(&ListParams::default()).await.unwrap();
        list.metadata.resource_version.unwrap().parse().unwrap()
    }

    /// Waits until the objects are exactly those that `tenantry render` prints.
    async fn as_rendered(&self, part: Part) {
        let tenants: Api<Tenant> = Api::all(self.admin.clone());
        let tenant = tenants.get(&self.cast.name(part)).await.unwrap();
        settles("the end state to be as rendered", || async {
            let (template, tenant) = (self.cast.template(part), tenant.clone());
            let differences = stands::differences_of(&self.admin, &[template], &[tenant]).await;
            if differences.is_empty() {
                Ok(())
            } else {
                Err(differences.join("\n"))
            }
        })
        .await;
    }

    /// Waits until no version changes for four times the status interval; returns the start of that time. Writes that
    /// change nothing leave versions alone: the audit log shows those.
    async fn rests(&self, name: &str) -> Mark {
        settles("nothing to be written any more", || async {
            let before = stands::versions_of(&self.admin, name, name).await;
            // Not earlier: a write during the first reading is either in it or among the changes.
            let since = Mark::now();
            tokio::time::sleep(Duration::from_secs(4)).await;
            let changes = stands::changes(&before, &stands::versions_of(&self.admin, name, name).await);
            if changes.is_empty() {
                Ok(since)
            } else {
                Err(changes.join("\n"))
            }
        })
        .await
    }

    /// Deletes the tenant and its template, and waits until nothing is left.
    async fn leave(&self, name: &str) {
        let tenants: Api<Tenant> = Api::all(self.admin.clone());
        tenants.delete(name, &DeleteParams::default()).await.unwrap();
        self.gone(&tenants, name).await;
        let templates: Api<TenantTemplate> = Api::all(self.admin.clone());
        templates.delete(name, &DeleteParams::default()).await.unwrap();
        self.gone(&templates, name).await;
        let left: Vec<_> = stands::managed_of(&self.admin, &[name]).await.into_keys().collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }

    async fn gone<K>(&self, api: &Api<K>, name: &str)
    where
        K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    {
        settles(&format!("{name} to be gone"), || async move {
            match api.get_opt(name).await {
                Ok(None) => Ok(()),
                Ok(Some(_)) => Err("it stands".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
    }
}
