//! Rules 2 and 3, judged at every revision as it arrives; judged steps are dropped, as hours of them would fill the
//! memory. Writes outside tenants are not judged, as this needs the audit log, which would fill the disk.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    time::Duration,
};

use kube::{Api, Client, api::ListParams};
use tenantry_api::v1alpha1::Tenant;
use tenantry_core::object::Kind;

use crate::{
    common::{
        eventually,
        oracle::Judge,
        record::{Key, Record, Step},
    },
    scene,
};

/// Watches of idle kinds advance about once a minute.
const PATIENCE: Duration = Duration::from_secs(300);

/// A guard that an admin deletes.
#[derive(Clone, Copy, Debug, Default)]
struct Excuse {
    /// Deletions that no watch has reported yet.
    announced: usize,
    /// Whether it is missing; once it is back, the excuse ends.
    gone: bool,
}

/// How many steps are printed when a rule is broken.
const RECENT: usize = 400;

pub struct Judging {
    record: Record,
    judge: Judge,
    /// Guards that an admin deletes while rights exist: the breach is the admin's.
    excuses: BTreeMap<Key, Excuse>,
    breaches: Vec<String>,
    /// The last steps, one a line.
    recent: VecDeque<(String, String)>,
    judged: usize,
    excused: usize,
}

impl Judging {
    /// Start it before the first tenant.
    pub async fn start(admin: &Client) -> Self {
        Self {
            record: Record::start(admin).await,
            judge: Judge::default(),
            excuses: BTreeMap::new(),
            breaches: Vec::new(),
            recent: VecDeque::new(),
            judged: 0,
            excused: 0,
        }
    }

    /// An admin is about to delete it.
    pub fn excuse(&mut self, kind: Kind, namespace: &str, name: &str) {
        let key = (kind, namespace.to_owned(), name.to_owned());
        self.excuses.entry(key).or_default().announced += 1;
    }

    /// The deletion failed. No step of the object was judged since it was announced, as the caller awaits the answer.
    pub fn withdraw(&mut self, kind: Kind, namespace: &str, name: &str) {
        let key = (kind, namespace.to_owned(), name.to_owned());
        if let Some(excuse) = self.excuses.get_mut(&key) {
            excuse.announced = excuse.announced.saturating_sub(1);
            if excuse.announced == 0 && !excuse.gone {
                self.excuses.remove(&key);
            }
        }
    }

    /// Judges everything that all watches have reported.
    pub fn catch_up(&mut self) -> u64 {
        let (up_to, steps) = self.record.settled();
        for step in &steps {
            self.step(step);
        }
        up_to
    }

    fn step(&mut self, step: &Step) {
        self.judged += 1;
        self.note(step);
        if let Some(excuse) = self.excuses.get_mut(&step.key)
            && step.object.is_none()
            && excuse.announced > 0
        {
            *excuse = Excuse {
                announced: excuse.announced - 1,
                gone: true,
            };
        }
        for breach in self.judge.step(step, &scene::grants) {
            if self.excuses.keys().any(|key| is_about(&breach, key)) {
                self.excused += 1;
            } else {
                self.tell(step, &breach);
                self.breaches.push(format!("revision {}: {breach}", step.revision));
            }
        }
        if let Some(excuse) = self.excuses.get_mut(&step.key)
            && excuse.gone
            && stands(step)
        {
            excuse.gone = false;
            if excuse.announced == 0 {
                self.excuses.remove(&step.key);
            }
        }
    }

    fn note(&mut self, step: &Step) {
        let (kind, namespace, name) = &step.key;
        let home = if namespace.is_empty() { name } else { namespace };
        let what = match &step.object {
            None => "gone".to_owned(),
            Some(object) if *kind == Kind::ResourceQuota => format!(
                "spec {} status {} of {}",
                object["spec"]["hard"], object["status"], object["metadata"]["uid"]
            ),
            Some(object) => format!("stands, deletion {}", object["metadata"]["deletionTimestamp"]),
        };
        let line = format!("{} {} {namespace}/{name}: {what}", step.revision, kind.as_str());
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        let tenant = home.split('-').next().unwrap_or_default().to_owned();
        self.recent.push_back((tenant, line));
    }

    /// Prints a breach at once, with the tenant's last steps.
    fn tell(&self, step: &Step, breach: &str) {
        let home = if step.key.1.is_empty() {
            &step.key.2
        } else {
            &step.key.1
        };
        let tenant = home.split('-').next().unwrap_or_default();
        println!("BREACH at revision {}: {breach}; before it:", step.revision);
        for (_, line) in self.recent.iter().filter(|(of, _)| of == tenant) {
            println!("  {line}");
        }
    }

    /// Waits until everything is judged; returns the breaches.
    pub async fn finish(&mut self, admin: &Client) -> Vec<String> {
        let tenants: Api<Tenant> = Api::all(admin.clone());
        let now = tenants
            .list(&ListParams::default())
            .await
            .unwrap()
            .metadata
            .resource_version;
        let now: u64 = now.unwrap().parse().unwrap();
        eventually("every watch to have told all", PATIENCE, || {
            let up_to = self.catch_up();
            async move {
                if up_to >= now {
                    Ok(())
                } else {
                    Err(format!("{up_to} of {now}"))
                }
            }
        })
        .await;
        let mut breaches = self.breaches.clone();
        if let Some(first) = breaches.first_mut() {
            *first = format!("{} breaches, of which the first: {first}", self.breaches.len());
        }
        breaches.truncate(20);
        breaches
    }
}

/// Whether the guard is in force again: a quota is once it is counted.
fn stands(step: &Step) -> bool {
    let counted = |object: &serde_json::Value| {
        object["status"]["hard"]
            .as_object()
            .is_some_and(|hard| !hard.is_empty())
    };
    step.object
        .as_ref()
        .is_some_and(|object| step.key.0 != Kind::ResourceQuota || counted(object))
}

/// Whether a breach is about this missing guard, or about this uncounted quota.
fn is_about(breach: &str, (kind, namespace, name): &Key) -> bool {
    breach.starts_with(&format!("{namespace} has "))
        && (breach.ends_with(&format!("lacks {} {name}", kind.as_str()))
            || (*kind == Kind::ResourceQuota && breach.ends_with("lacks a counted quota")))
}

impl fmt::Display for Judging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            judged,
            excused,
            breaches,
            ..
        } = self;
        write!(
            f,
            "{judged} revisions judged, {} breaches, {excused} by the admin who deleted a guard",
            breaches.len()
        )
    }
}
