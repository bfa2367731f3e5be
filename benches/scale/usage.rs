//! Resources of the processes, and the operator's requests.

use std::{collections::BTreeMap, time::Duration};

use controlplane::Component;
use lab::{Lab, Operator, audit::Event, eventually};

use crate::watching::PATIENCE;

/// CPU seconds so far.
#[derive(Clone, Copy)]
pub struct Cpu {
    pub api_server: f64,
    pub operator: f64,
    /// All of the control plane, the operator and this process.
    pub all: f64,
}

impl Cpu {
    pub fn read(lab: &Lab, operator: Option<&Operator>) -> Self {
        let of = |component| {
            lab.plane()
                .and_then(|plane| plane.pid(component))
                .and_then(lab::cpu_seconds_of)
                .unwrap_or(0.0)
        };
        let api_server = of(Component::ApiServer);
        let operator = operator.and_then(Operator::cpu_seconds).unwrap_or(0.0);
        let own = lab::cpu_seconds_of(std::process::id()).unwrap_or(0.0);
        Self {
            api_server,
            operator,
            all: api_server + operator + own + of(Component::Etcd) + of(Component::ControllerManager),
        }
    }

    pub fn since(&self, before: &Self) -> Self {
        Self {
            api_server: self.api_server - before.api_server,
            operator: self.operator - before.operator,
            all: self.all - before.all,
        }
    }
}

pub type Calls = BTreeMap<(String, String), f64>;

/// Requests that the operator has sent, by verb and resource.
pub async fn calls(operator: &Operator) -> Calls {
    let text = operator.metrics().await.unwrap();
    let mut calls = Calls::new();
    for line in text
        .lines()
        .filter(|line| line.starts_with("tenantry_api_requests_total{"))
    {
        let label = |name: &str| {
            let rest = line.split(&format!("{name}=\"")).nth(1).unwrap();
            rest.split('"').next().unwrap().to_owned()
        };
        let count: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        *calls.entry((label("verb"), label("resource"))).or_default() += count;
    }
    calls
}

/// How long the operator must send nothing to count as done.
pub const STILL: Duration = Duration::from_secs(2);

/// The requests, once nothing but watches and the lease's were sent for so long.
pub async fn settled_calls(operator: &Operator, still: Duration) -> Calls {
    let asked = |calls: &Calls| -> f64 {
        let calls = calls.iter().filter(|((verb, resource), _)| is_work(verb, resource));
        calls.map(|(_, count)| count).sum()
    };
    let mut before = calls(operator).await;
    loop {
        tokio::time::sleep(still).await;
        let after = calls(operator).await;
        if (asked(&after) - asked(&before)).abs() < 0.5 {
            return after;
        }
        before = after;
    }
}

/// Whether a request is work: watches and the lease of the leader election are not.
pub fn is_work(verb: &str, resource: &str) -> bool {
    verb != "watch" && resource != "leases"
}

pub fn is_write(verb: &str) -> bool {
    matches!(verb, "create" | "update" | "patch" | "delete" | "apply")
}

pub fn difference(before: &Calls, after: &Calls) -> Calls {
    let more = |(key, count): (&(String, String), &f64)| (key.clone(), count - before.get(key).unwrap_or(&0.0));
    after.iter().map(more).filter(|(_, count)| *count > 0.5).collect()
}

pub fn describe(calls: &Calls) -> String {
    describe_all(
        &calls
            .iter()
            .filter(|((verb, _), _)| is_write(verb))
            .map(|(key, count)| (key.clone(), *count))
            .collect(),
    )
}

pub fn describe_all(calls: &Calls) -> String {
    let calls: Vec<_> = calls
        .iter()
        .filter(|((verb, resource), _)| is_work(verb, resource))
        .map(|((verb, resource), count)| format!("{count} {verb} {resource}"))
        .collect();
    if calls.is_empty() {
        "none".to_owned()
    } else {
        calls.join(", ")
    }
}

pub fn counter(text: &str, name: &str, labels: &[&str]) -> f64 {
    let lines = text
        .lines()
        .filter(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)));
    lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// With BENCH_AUDIT: all requests to the API server so far, by user.
pub fn print_requests(lab: &Lab) {
    let Some(text) = lab
        .plane()
        .and_then(controlplane::ControlPlane::audit_log)
        .and_then(|path| std::fs::read_to_string(path).ok())
    else {
        return;
    };
    let mut counts: BTreeMap<(String, String, String), usize> = BTreeMap::new();
    for event in text.lines().filter_map(Event::parse) {
        let what = event.what();
        *counts.entry((event.user, event.verb, what)).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for ((user, verb, what), count) in counts.into_iter().take(40) {
        println!("{count:7} {verb} {what} by {user}");
    }
}

/// Waits until the garbage collector watches `resources` of our group, which takes up to 30 s after their definition is
/// created. Until then it reads the owner of every object that it sees: 2.1 reads a tenant, once in the life of a
/// cluster.
pub async fn collector_knows(lab: &Lab, resources: &[(&str, &str)]) {
    eventually("the garbage collector to watch our kinds", PATIENCE, || async {
        let mut kubectl = lab.kubectl().map_err(|error| error.to_string())?;
        let text = lab::run(kubectl.args(["get", "--raw", "/metrics"])).map_err(|error| error.to_string())?;
        let unwatched = resources.iter().find(|(group, resource)| {
            let labels = [
                format!("group=\"{group}\""),
                format!("resource=\"{resource}\""),
                "verb=\"WATCH\"".to_owned(),
            ];
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            counter(&text, "apiserver_longrunning_requests", &labels) < 1.0
        });
        unwatched.map_or(Ok(()), |missing| Err(format!("{missing:?} is not watched")))
    })
    .await;
}
