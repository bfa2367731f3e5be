//! What is lived through while faults strike: two tenants of one template, from their creation to their end.

use std::{collections::BTreeMap, fmt::Display, future::Future, time::Duration};

use k8s_openapi::api::core::v1::{Namespace, Pod, ResourceQuota};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tenantry::{
    api::v1alpha1::{Tenant, TenantNamespace, TenantTemplate},
    domain::Quantity,
};

use crate::common::{
    self, PATIENCE,
    builders::{pod, template, tenant},
    eventually, stands,
};

/// Pods that the template grants, and what it grants for a while.
const GRANT: i64 = 15;
const LOW: i64 = 6;
/// Pods that one namespace comes to use, which is more than its share.
const CROWD: usize = 6;

/// Who takes part: names that nobody else has, so that many scenarios can be lived through on one cluster.
#[derive(Clone, Debug)]
pub struct Cast {
    /// Part of every name. No uid holds an x.
    pub id: String,
}

/// What the oracle must know of a scenario that came to its end.
#[derive(Clone, Copy, Debug)]
pub struct Story {
    /// Revisions from which and until when (exclusive) the lower grant must hold.
    low: (u64, u64),
}

impl Cast {
    pub fn new(number: usize) -> Self {
        Self {
            id: format!("x{number:04}"),
        }
    }

    /// The tenant with three namespaces.
    fn wide(&self) -> String {
        format!("wide-{}", self.id)
    }

    fn single(&self) -> String {
        format!("single-{}", self.id)
    }

    fn template(&self) -> TenantTemplate {
        let small = json!({ "cpu": "10m", "memory": "16Mi" });
        let spec = json!({
            "tier": "Standard", "quotaSpread": "Demand",
            "quotas": { "cpu": "4", "memory": "8Gi", "pods": GRANT },
            "containers": { "default": small, "defaultRequest": small },
            "security": { "podSecurity": "Restricted" },
        });
        template(&self.id, spec)
    }

    /// The same write in another scenario.
    pub fn renamed(&self, name: &str, other: &Self) -> String {
        name.replace(&self.id, &other.id)
    }
}

/// What each tenant is granted at a revision. What comes while it changes is bound by the larger grant.
pub fn grants(story: Option<Story>, revision: u64) -> BTreeMap<String, Quantity> {
    let low = story.is_some_and(|Story { low }| (low.0..low.1).contains(&revision));
    let pods = if low { LOW } else { GRANT }.to_string();
    let grants = [
        ("requests.cpu", "4"),
        ("limits.cpu", "4"),
        ("requests.memory", "8Gi"),
        ("limits.memory", "8Gi"),
        ("pods", &pods),
    ];
    grants
        .map(|(resource, grant)| (resource.to_owned(), grant.parse().unwrap()))
        .into()
}

/// As [`eventually`], with patience for a storm, and asking ever more seldom, so that dozens may wait at once.
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

/// One that lives through it.
pub struct Player {
    pub cast: Cast,
    pub admin: Client,
    pub olga: Client,
}

impl Player {
    pub async fn play(&self) -> Story {
        let Self { cast, admin, .. } = self;
        let (wide, single) = (cast.wide(), cast.single());
        let three = ["a", "b", "c"];
        common::create_template(admin, &cast.template()).await;
        let first = three
            .iter()
            .fold(tenant(&wide, &cast.id).owner("olga"), |tenant, name| {
                tenant.namespace(name)
            });
        common::create(admin, &first.build()).await;
        common::create(
            admin,
            &tenant(&single, &cast.id).owner("olga").namespace("only").build(),
        )
        .await;
        self.ready(&wide).await;
        self.ready(&single).await;
        self.shares(&wide, &three, GRANT / 3).await;

        self.crowd("a").await;
        self.empty("a").await;
        self.shares(&wide, &three, GRANT / 3).await;

        self.grant(LOW).await;
        self.ready(&wide).await;
        self.shares(&wide, &three, LOW / 3).await;
        self.shares(&single, &["only"], LOW).await;
        let from = self.revision().await;
        let until = self.grant(GRANT).await;
        self.ready(&wide).await;
        self.shares(&wide, &three, GRANT / 3).await;

        let names = ["a", "b", "d"];
        let listed = names.map(|name| json!({ "name": name }));
        self.change_tenant(&json!({ "spec": { "namespaces": listed } })).await;
        self.ready(&wide).await;
        self.ready(&single).await;
        let namespaces: Api<Namespace> = Api::all(admin.clone());
        self.gone(&namespaces, &format!("{wide}-c")).await;
        self.shares(&wide, &names, GRANT / 3).await;
        self.asks_and_gives_back("asked").await;
        self.ready(&single).await;
        self.as_rendered().await;
        self.rests().await;

        self.leave().await;
        Story { low: (from, until) }
    }

    async fn ready(&self, name: &str) {
        let tenants: Api<Tenant> = Api::all(self.admin.clone());
        settles(&format!("{name} to be Ready"), || async {
            let tenant = tenants.get(name).await.map_err(|error| error.to_string())?;
            if common::is_ready(&tenant) {
                Ok(())
            } else {
                Err(format!("{:#?}", tenant.status))
            }
        })
        .await;
    }

    /// Waits until each namespace may have so many pods, and the quota controller says so too.
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
    async fn crowd(&self, name: &str) {
        let pods: Api<Pod> = Api::namespaced(self.olga.clone(), &format!("{}-{name}", self.cast.wide()));
        let wanted: Pod = serde_json::from_value(pod(&json!({ "cpu": "10m" }))).unwrap();
        for _ in 0..CROWD {
            settles("a pod to be admitted", || async {
                pods.create(&PostParams::default(), &wanted).await
            })
            .await;
        }
    }

    /// The owner of the small tenant asks for a namespace, gets it, and deletes the request.
    async fn asks_and_gives_back(&self, name: &str) {
        let home = format!("{}-home", self.cast.single());
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
        self.gone(&namespaces, &format!("{}-{name}", self.cast.single())).await;
    }

    async fn empty(&self, name: &str) {
        let pods: Api<Pod> = Api::namespaced(self.admin.clone(), &format!("{}-{name}", self.cast.wide()));
        let now = DeleteParams::default().grace_period(0);
        pods.delete_collection(&now, &ListParams::default()).await.unwrap();
    }

    /// Changes what the template grants; gives the revision.
    async fn grant(&self, pods: i64) -> u64 {
        let templates: Api<TenantTemplate> = Api::all(self.admin.clone());
        let change = Patch::Merge(json!({ "spec": { "quotas": { "pods": pods } } }));
        let changed = templates.patch(&self.cast.id, &PatchParams::default(), &change).await;
        changed.unwrap().resource_version().unwrap().parse().unwrap()
    }

    async fn change_tenant(&self, change: &Value) {
        let tenants: Api<Tenant> = Api::all(self.admin.clone());
        let (name, change) = (self.cast.wide(), Patch::Merge(change));
        tenants.patch(&name, &PatchParams::default(), &change).await.unwrap();
    }

    async fn revision(&self) -> u64 {
        let templates: Api<TenantTemplate> = Api::all(self.admin.clone());
        let list = templates.list(&ListParams::default()).await.unwrap();
        list.metadata.resource_version.unwrap().parse().unwrap()
    }

    /// Waits until there stands what `tenantry render` prints, no more and no less.
    async fn as_rendered(&self) {
        let tenants: Api<Tenant> = Api::all(self.admin.clone());
        let mine = [
            tenants.get(&self.cast.wide()).await.unwrap(),
            tenants.get(&self.cast.single()).await.unwrap(),
        ];
        settles("the end state to be as rendered", || async {
            let differences = stands::differences_of(&self.admin, &[self.cast.template()], &mine).await;
            if differences.is_empty() {
                Ok(())
            } else {
                Err(differences.join("\n"))
            }
        })
        .await;
    }

    /// Waits until nothing is written any more for four times as long as a status may wait.
    async fn rests(&self) {
        settles("nothing to be written any more", || async {
            let before = self.versions().await;
            tokio::time::sleep(Duration::from_secs(4)).await;
            let changes = stands::changes(&before, &self.versions().await);
            if changes.is_empty() {
                Ok(())
            } else {
                Err(changes.join("\n"))
            }
        })
        .await;
    }

    async fn versions(&self) -> BTreeMap<String, String> {
        let tenants = [self.cast.wide(), self.cast.single()];
        stands::versions_of(&self.admin, &self.cast.id, &[&tenants[0], &tenants[1]]).await
    }

    /// Deletes everything, and waits until nothing is left.
    async fn leave(&self) {
        let tenants: Api<Tenant> = Api::all(self.admin.clone());
        let names = [self.cast.wide(), self.cast.single()];
        for name in &names {
            tenants.delete(name, &DeleteParams::default()).await.unwrap();
        }
        for name in &names {
            self.gone(&tenants, name).await;
        }
        let templates: Api<TenantTemplate> = Api::all(self.admin.clone());
        templates.delete(&self.cast.id, &DeleteParams::default()).await.unwrap();
        self.gone(&templates, &self.cast.id).await;
        let left: Vec<_> = stands::managed_of(&self.admin, &[&names[0], &names[1]])
            .await
            .into_keys()
            .collect();
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
