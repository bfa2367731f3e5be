//! The measurements.

use std::{fmt, fs, time::Duration};

use controlplane::ControlPlane;
use kube::Client;
use lab::{Lab, Operator};
use serde_json::{Value, json};

const MB: f64 = 1_048_576.0;

/// One measurement.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    pub at: Duration,
    /// Values by the name that the table and the JSON give them, in the order of [`NAMES`].
    pub values: [f64; NAMES.len()],
}

/// The values of a sample.
pub const NAMES: [&str; 14] = [
    "memory_mb",
    "fds",
    "sockets",
    "threads",
    "tasks",
    "watches",
    "objects",
    "tenants",
    "backing_off",
    "reconciles",
    "watch_errors",
    "operator_cpu_s",
    "control_plane_cpu_s",
    "etcd_mb",
];
/// Counts that must be back at the end. A connection is a descriptor and a task, and the number of idle ones is chance.
const COUNTS: [&str; 4] = ["fds but sockets", "tasks but of connections", "watches", "objects"];

impl Sample {
    pub fn get(&self, name: &str) -> f64 {
        let index = NAMES.iter().position(|known| *known == name);
        self.values[index.unwrap_or_else(|| panic!("{name} is not measured"))]
    }

    pub fn counts(&self) -> [f64; COUNTS.len()] {
        let get = |name| self.get(name);
        [
            get("fds") - get("sockets"),
            get("tasks") - get("sockets"),
            get("watches"),
            get("objects"),
        ]
    }

    /// The counts that differ from those before.
    pub fn not_back_at(&self, before: &Self) -> Vec<String> {
        let counts = COUNTS.into_iter().zip(before.counts()).zip(self.counts());
        let differ = counts.filter(|((_, before), after)| (before - after).abs() > 0.5);
        differ
            .map(|((name, before), after)| {
                format!("{name} were {before} in the quiet before the churn and are {after} after it")
            })
            .collect()
    }

    pub fn is_back_at(&self, before: &Self) -> bool {
        self.not_back_at(before).is_empty()
    }

    pub fn json(&self) -> Value {
        let mut object = json!({ "seconds": self.at.as_secs_f64().round() });
        for (name, value) in NAMES.iter().zip(self.values) {
            object[*name] = json!((value * 1000.0).round() / 1000.0);
        }
        object
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let get = |name| self.get(name);
        write!(
            f,
            "{:.1} MB, {} fds, {} threads, {} tasks, {} watches, {} objects of {} tenants, {} reconciles, {:.0} s of CPU, etcd {:.0} MB",
            get("memory_mb"),
            get("fds"),
            get("threads"),
            get("tasks"),
            get("watches"),
            get("objects"),
            get("tenants"),
            get("reconciles"),
            get("operator_cpu_s"),
            get("etcd_mb"),
        )
    }
}

pub struct Sampler<'a> {
    lab: &'a Lab,
    admin: &'a Client,
}

impl<'a> Sampler<'a> {
    pub fn new(lab: &'a Lab, admin: &'a Client) -> Self {
        Self { lab, admin }
    }

    pub async fn take(&self, operator: &Operator, at: Duration) -> Sample {
        let pid = operator.pid().expect("the operator runs");
        let (fds, sockets) = descriptors(pid);
        let text = operator.metrics().await.expect("the operator's metrics");
        let sum = |name: &str| sum(&text, name, "");
        let values = [
            operator.resident_bytes().expect("Linux tells the memory") as f64 / MB,
            fds as f64,
            sockets as f64,
            threads(pid),
            sum("tenantry_runtime_alive_tasks"),
            self.watches().await,
            sum("tenantry_objects_managed"),
            sum("tenantry_tenants"),
            sum("tenantry_backing_off_objects"),
            sum("tenantry_reconcile_total"),
            sum("tenantry_watch_errors_total"),
            operator.cpu_seconds().expect("Linux tells the CPU time"),
            self.control_plane_cpu(),
            self.etcd_mb(),
        ];
        Sample { at, values }
    }

    /// Watches at the API server, of all clients: those of others stay the same.
    async fn watches(&self) -> f64 {
        let request = axum::http::Request::get("/metrics").body(Vec::new()).unwrap();
        let text = self
            .admin
            .request_text(request)
            .await
            .expect("the API server's metrics");
        sum(&text, "apiserver_longrunning_requests", "verb=\"WATCH\"")
    }

    fn control_plane_cpu(&self) -> f64 {
        let pids = self.lab.plane().map(ControlPlane::pids).unwrap_or_default();
        pids.into_iter().filter_map(|(_, pid)| lab::cpu_seconds_of(pid)).sum()
    }

    fn etcd_mb(&self) -> f64 {
        let dir = self.lab.plane().map(|plane| plane.dir().join("etcd"));
        dir.map_or(0.0, |dir| bytes_below(&dir) as f64 / MB)
    }
}

fn bytes_below(dir: &std::path::Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(about) if about.is_dir() => bytes_below(&entry.path()),
            Ok(about) => about.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Open file descriptors, and how many of them are sockets.
fn descriptors(pid: u32) -> (usize, usize) {
    let open: Vec<_> = fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("Linux tells the descriptors")
        .flatten()
        .collect();
    let is_socket = |entry: &&fs::DirEntry| {
        fs::read_link(entry.path()).is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
    };
    (open.len(), open.iter().filter(is_socket).count())
}

fn threads(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Threads:"));
    line.and_then(|line| line.trim().parse().ok()).unwrap_or_default()
}

/// The sum of a metric over all its lines that contain `with`.
fn sum(text: &str, name: &str, with: &str) -> f64 {
    let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    let lines = text.lines().filter(of_name).filter(|line| line.contains(with));
    lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .fold(0.0, |sum, value| sum + value)
}
