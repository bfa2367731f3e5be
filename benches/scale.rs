//! `make bench`: the operator against what the API server itself takes, in one run on one machine.
//!
//! Every figure stands beside the raw limit: the same objects, written straight by parallel requests from a minimal client
//! to the same server. Sizes come from the environment: BENCH_TENANTS (1000), BENCH_NAMESPACES (1), BENCH_STEADY (60 s).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a benchmark fails by panicking and prints"
)]

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    path::Path,
    time::{Duration, Instant},
};

use controlplane::{Audit, Component, Options};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::{core::v1::ResourceQuota, networking::v1::NetworkPolicy};
use kube::runtime::{
    WatchStreamExt as _,
    watcher::{self, watcher},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use lab::{Lab, Operator, OperatorOptions, eventually};
use serde_json::{Value, json};
use tenantry::{
    api::v1alpha1::{Tenant, TenantTemplate},
    apply::Kind,
    render,
    tenant::{Settings, dereference::Served},
};

const PATIENCE: Duration = Duration::from_secs(900);
const TEMPLATE: &str = "bench";
/// Requests in flight; more did not raise the raw limit on 2 cores.
const PARALLEL: usize = 32;

fn env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| {
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, got {value:?}"))
    })
}

/// One line of the table.
struct Row {
    what: &'static str,
    value: String,
    target: &'static str,
}

#[derive(Default)]
struct Report {
    rows: Vec<Row>,
    figures: BTreeMap<String, Value>,
}

impl Report {
    fn row(&mut self, what: &'static str, value: impl Into<String>, target: &'static str) {
        let value = value.into();
        println!(
            "{what}: {value}{}",
            if target.is_empty() {
                String::new()
            } else {
                format!("   (target {target})")
            }
        );
        self.rows.push(Row { what, value, target });
    }

    fn figure(&mut self, name: &str, value: impl Into<Value>) {
        self.figures.insert(name.to_owned(), value.into());
    }
}

#[tokio::main]
async fn main() {
    let tenants = usize::try_from(env("BENCH_TENANTS", 1000)).unwrap();
    let namespaces = usize::try_from(env("BENCH_NAMESPACES", 1)).unwrap();
    let steady = Duration::from_secs(env("BENCH_STEADY", 60));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let options = Options {
        audit: if std::env::var_os("BENCH_AUDIT").is_some() {
            Audit::Metadata
        } else {
            Audit::Off
        },
        controller_manager_qps: Some(2000),
        ..Options::default()
    };
    let lab = Lab::own_with(root, options).unwrap();
    lab.install(&[]).unwrap();
    let admin = lab.admin().await.unwrap();
    let template = template();
    Api::<TenantTemplate>::all(admin.clone())
        .create(&PostParams::default(), &template)
        .await
        .unwrap();
    let mut report = Report::default();
    println!(
        "{tenants} tenants with {namespaces} namespaces each, on {} cores",
        std::thread::available_parallelism().unwrap()
    );

    // The raw limit, before the operator runs: server-side apply, as kubectl and most operators write.
    let raw = raw_objects(&template, tenants, namespaces);
    let objects: usize = raw.iter().map(Vec::len).sum();
    let started = Instant::now();
    let cpu = Cpu::read(&lab, None);
    write_raw(&admin, &raw).await;
    quotas_counted(&admin, "raw-", tenants * namespaces, share(30, namespaces)).await;
    let raw_time = started.elapsed();
    let raw_cpu = Cpu::read(&lab, None).since(&cpu);
    report.row(
        "raw limit: the same objects by parallel server-side apply",
        format!(
            "{:.1} s ({:.0} objects/s)",
            raw_time.as_secs_f64(),
            per_second(objects, raw_time)
        ),
        "",
    );

    let mut operator = lab.operator(operator_options()).await.unwrap();
    let cpu = Cpu::read(&lab, Some(&operator));
    let ready = track(Api::<Tenant>::all(admin.clone()), is_ready);
    let started = Instant::now();
    create_tenants(&admin, tenants, namespaces).await;
    let created = started.elapsed();
    reach("every Tenant to be Ready", ready, tenants).await;
    let operator_time = started.elapsed();
    let used = Cpu::read(&lab, Some(&operator)).since(&cpu);
    let ratio = operator_time.as_secs_f64() / raw_time.as_secs_f64();
    print_requests(&lab);
    report.row(
        "all tenants Ready",
        format!(
            "{:.1} s ({:.1} s of it until the last Tenant was created)",
            operator_time.as_secs_f64(),
            created.as_secs_f64()
        ),
        "",
    );
    report.row("time to Ready / raw limit", format!("{ratio:.2}"), "<= 1.3");
    report.row(
        "API server CPU, operator / raw limit",
        format!("{:.2}", used.api_server / raw_cpu.api_server),
        "",
    );
    report.row(
        "operator CPU per tenant",
        format!("{:.2} ms", used.operator * 1000.0 / tenants as f64),
        "",
    );
    report.figure("ready_over_raw", ratio);
    let calls = calls(&operator).await;
    let writes: f64 = calls
        .iter()
        .filter(|((verb, _), _)| is_write(verb))
        .map(|(_, count)| count)
        .sum();
    report.row(
        "writes per tenant",
        format!(
            "{:.2} (least possible {})",
            writes / tenants as f64,
            objects / tenants + 2
        ),
        "",
    );
    report.figure("writes_per_tenant", writes / tenants as f64);
    let resident = operator.resident_bytes().unwrap_or(0);
    report.row(
        "resident memory",
        format!("{:.1} MB", resident as f64 / 1e6),
        "<= 64 MB at 1,000 tenants",
    );
    report.figure("resident_bytes", resident);

    single_tenant(&admin, &mut report).await;
    fan_out(&admin, &operator, tenants, namespaces, &mut report).await;
    drift(&admin, tenants, &mut report).await;
    operator = restart(&lab, operator, &admin, &mut report).await;
    quiet(&lab, &operator, steady, &mut report).await;
    finish(&report);
}

fn operator_options() -> OperatorOptions {
    OperatorOptions::new(env!("CARGO_BIN_EXE_tenantry"))
}

fn template() -> TenantTemplate {
    serde_json::from_value(json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantTemplate", "metadata": { "name": TEMPLATE },
        "spec": {
            "tier": "Standard",
            "quotas": { "cpu": "2", "memory": "4Gi", "storage": "100Gi", "pods": 30 },
            "containers": { "default": { "cpu": "100m", "memory": "128Mi" }, "defaultRequest": { "cpu": "50m", "memory": "64Mi" } },
        },
    }))
    .unwrap()
}

fn tenant(name: &str, namespaces: usize) -> Value {
    let namespaces: Vec<_> = (0..namespaces)
        .map(|index| json!({ "name": format!("n{index}") }))
        .collect();
    json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": name },
        "spec": {
            "templateRef": { "name": TEMPLATE },
            "owners": [{ "kind": "User", "name": format!("owner-{name}"), "role": "Owner" }],
            "namespaces": namespaces,
        },
    })
}

/// What the operator would write for each tenant, under other names and without its managed-by label.
fn raw_objects(template: &TenantTemplate, tenants: usize, namespaces: usize) -> Vec<Vec<Value>> {
    let settings = Settings {
        accelerator_resources: vec!["nvidia.com/gpu".to_owned()],
        model_resource: "inferenceservices.serving.kserve.io".to_owned(),
        admission: BTreeSet::default(),
        status_interval: Duration::ZERO,
    };
    let template = serde_json::to_string(template).unwrap();
    let render = |index: usize| {
        let files = [
            ("template".to_owned(), template.clone()),
            (
                "tenant".to_owned(),
                tenant(&format!("raw-{index}"), namespaces).to_string(),
            ),
        ];
        let mut objects = render::render(&files, &Served::default(), &settings).unwrap();
        for object in &mut objects {
            object["metadata"]["labels"]["app.kubernetes.io/managed-by"] = json!("raw");
        }
        objects
    };
    (0..tenants).map(render).collect()
}

fn api(client: &Client, object: &Value) -> Api<DynamicObject> {
    let kind = Kind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == object["kind"])
        .unwrap();
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &kind.api_resource()),
        None => Api::all_with(client.clone(), &kind.api_resource()),
    }
}

async fn write_raw(client: &Client, tenants: &[Vec<Value>]) {
    let write = |objects: &'static [Value], client: Client| async move {
        for object in objects {
            let name = object["metadata"]["name"].as_str().unwrap();
            api(&client, object)
                .patch(name, &PatchParams::apply("raw").force(), &Patch::Apply(object))
                .await
                .unwrap();
        }
    };
    // The bench ends with the process: what it leaks, it leaks once.
    let tenants: &'static [Vec<Value>] = Box::leak(tenants.to_vec().into_boxed_slice());
    stream::iter(tenants)
        .for_each_concurrent(PARALLEL, |objects| {
            let task = tokio::spawn(write(objects, client.clone()));
            async { task.await.unwrap() }
        })
        .await;
}

/// Counts, by one watch, the objects for which `holds`; a poll would cost the server more than what is measured.
fn track<K>(api: Api<K>, holds: impl Fn(&K) -> bool + Send + 'static) -> tokio::sync::watch::Receiver<usize>
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let (sender, receiver) = tokio::sync::watch::channel(0);
    tokio::spawn(async move {
        let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
        let mut held: HashSet<(Option<String>, String)> = HashSet::new();
        while let Some(event) = events.next().await {
            let id = |object: &K| (object.namespace(), object.name_any());
            match event {
                Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) if holds(&object) => {
                    held.insert(id(&object));
                }
                Ok(
                    watcher::Event::Apply(object) | watcher::Event::InitApply(object) | watcher::Event::Delete(object),
                ) => {
                    held.remove(&id(&object));
                }
                Ok(watcher::Event::Init | watcher::Event::InitDone) => {}
                Err(error) => println!("the bench's watch broke: {error}"),
            }
            if sender.send(held.len()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Waits until a tracked number is reached.
async fn reach(what: &str, mut tracked: tokio::sync::watch::Receiver<usize>, count: usize) {
    let reached = tokio::time::timeout(PATIENCE, tracked.wait_for(|held| *held >= count))
        .await
        .is_ok();
    assert!(
        reached,
        "waited {PATIENCE:?} for {what}: {} of {count}",
        *tracked.borrow()
    );
}

fn is_counted(quota: &ResourceQuota) -> bool {
    let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
    quota
        .status
        .as_ref()
        .is_some_and(|status| status.hard.as_ref() == hard && status.used.is_some())
}

async fn quotas_counted(client: &Client, prefix: &'static str, count: usize, pods: &'static str) {
    let counted = track(Api::<ResourceQuota>::all(client.clone()), move |quota| {
        let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
        let as_wanted = hard
            .and_then(|hard| hard.get("pods"))
            .is_some_and(|amount| amount.0 == pods);
        quota
            .metadata
            .namespace
            .as_deref()
            .is_some_and(|name| name.starts_with(prefix))
            && as_wanted
            && is_counted(quota)
    });
    reach("every quota to be counted", counted, count).await;
}

async fn create_tenants(client: &Client, tenants: usize, namespaces: usize) {
    let api: Api<DynamicObject> = tenants_api(client);
    stream::iter(0..tenants)
        .for_each_concurrent(PARALLEL, |index| {
            let api = api.clone();
            async move {
                let object = serde_json::from_value(tenant(&format!("t{index}"), namespaces)).unwrap();
                api.create(&PostParams::default(), &object).await.unwrap();
            }
        })
        .await;
}

fn tenants_api(client: &Client) -> Api<DynamicObject> {
    Api::all_with(client.clone(), &kube::core::ApiResource::erase::<Tenant>(&()))
}

fn is_ready(tenant: &Tenant) -> bool {
    let status = tenant.status.as_ref();
    status.is_some_and(|status| {
        status.observed_generation == tenant.metadata.generation
            && status
                .conditions
                .iter()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True")
    })
}

/// One tenant after the other on an idle server, seen by a watch.
async fn single_tenant(client: &Client, report: &mut Report) {
    let api = tenants_api(client);
    let mut times = Vec::new();
    for index in 0..60 {
        let name = format!("single-{index}");
        let (seen, tenants) = (name.clone(), Api::<Tenant>::all(client.clone()));
        let watch = async move {
            let ready = |tenant: Option<&Tenant>| tenant.is_some_and(is_ready);
            kube::runtime::wait::await_condition(tenants, &seen, ready).await
        };
        let watch = tokio::spawn(watch);
        let object = serde_json::from_value(tenant(&name, 1)).unwrap();
        let started = Instant::now();
        api.create(&PostParams::default(), &object).await.unwrap();
        watch.await.unwrap().unwrap();
        times.push(started.elapsed());
    }
    let (p50, p99) = percentiles(times);
    report.row(
        "one Tenant, create to Ready, with all others there",
        format!("p50 {p50:.0} ms, p99 {p99:.0} ms"),
        "p99 <= 100 ms",
    );
    report.figure("single_p50_ms", p50);
    report.figure("single_p99_ms", p99);
}

/// A template change over all tenants, against the same quotas written straight.
async fn fan_out(client: &Client, operator: &Operator, tenants: usize, namespaces: usize, report: &mut Report) {
    let raw: Api<ResourceQuota> = Api::all(client.clone());
    let quotas = raw.list(&ListParams::default()).await.unwrap();
    let names: Vec<String> = quotas
        .iter()
        .filter_map(|quota| quota.metadata.namespace.clone())
        .filter(|name| name.starts_with("raw-"))
        .collect();
    let started = Instant::now();
    stream::iter(names)
        .for_each_concurrent(PARALLEL, |namespace| {
            let api: Api<ResourceQuota> = Api::namespaced(client.clone(), &namespace);
            async move {
                let quota = json!({ "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "tenantry" }, "spec": { "hard": {
                    "requests.cpu": "2", "limits.cpu": "2", "requests.memory": "4Gi", "limits.memory": "4Gi",
                    "requests.storage": "100Gi", "pods": "29", "services.loadbalancers": "0", "services.nodeports": "0",
                } } });
                api.patch("tenantry", &PatchParams::apply("raw").force(), &Patch::Apply(quota))
                    .await
                    .unwrap();
            }
        })
        .await;
    quotas_counted(client, "raw-", tenants * namespaces, "29").await;
    let raw_time = started.elapsed();

    let before = calls(operator).await;
    let templates: Api<TenantTemplate> = Api::all(client.clone());
    let started = Instant::now();
    let fewer = json!({ "spec": { "quotas": { "pods": 29 } } });
    templates
        .patch(TEMPLATE, &PatchParams::default(), &Patch::Merge(fewer))
        .await
        .unwrap();
    let followed = track(Api::<Tenant>::all(client.clone()), |tenant| {
        is_ready(tenant)
            && tenant.status.as_ref().is_some_and(|status| {
                status
                    .quota
                    .iter()
                    .any(|entry| entry.resource == "pods" && entry.grant == "29".parse().unwrap())
            })
    });
    reach("every Tenant to follow the template", followed, tenants + 60).await;
    let time = started.elapsed();
    let after = settled_calls(operator).await;
    let ratio = time.as_secs_f64() / raw_time.as_secs_f64();
    report.row(
        "template change over all tenants / raw limit",
        format!(
            "{ratio:.2} ({:.1} s against {:.1} s)",
            time.as_secs_f64(),
            raw_time.as_secs_f64()
        ),
        "<= 1.3",
    );
    report.figure("fan_out_over_raw", ratio);
    report.row(
        "writes of that change",
        describe(&difference(&before, &after)),
        "only what changed",
    );

    let before = settled_calls(operator).await;
    let touch = json!({ "metadata": { "annotations": { "bench": "touched" } } });
    templates
        .patch(TEMPLATE, &PatchParams::default(), &Patch::Merge(touch))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = calls(operator).await;
    report.row(
        "writes of a template touch that changes nothing",
        describe(&difference(&before, &after)),
        "none",
    );
}

/// One object deleted, until it is back.
async fn drift(client: &Client, tenants: usize, report: &mut Report) {
    let mut times = Vec::new();
    for index in 0..60.min(tenants) {
        let api: Api<NetworkPolicy> = Api::namespaced(client.clone(), &format!("t{index}-n0"));
        let uid = api.get("tenantry-default-deny").await.unwrap().metadata.uid;
        let started = Instant::now();
        api.delete("tenantry-default-deny", &DeleteParams::default())
            .await
            .unwrap();
        let back = kube::runtime::wait::await_condition(
            api,
            "tenantry-default-deny",
            move |policy: Option<&NetworkPolicy>| policy.is_some_and(|policy| policy.metadata.uid != uid),
        );
        back.await.unwrap();
        times.push(started.elapsed());
    }
    let (p50, p99) = percentiles(times);
    report.row(
        "a deleted NetworkPolicy is back",
        format!("p50 {p50:.0} ms, p99 {p99:.0} ms"),
        "p99 <= 100 ms",
    );
    report.figure("drift_p99_ms", p99);
}

async fn restart(lab: &Lab, operator: Operator, client: &Client, report: &mut Report) -> Operator {
    operator.stop().await.unwrap();
    let started = Instant::now();
    let operator = lab.operator(operator_options()).await.unwrap();
    let ready = started.elapsed();
    // Every Tenant is looked at once.
    let all = Api::<Tenant>::all(client.clone())
        .list_metadata(&ListParams::default())
        .await
        .unwrap()
        .items
        .len();
    eventually("every Tenant to be looked at", PATIENCE, || async {
        let text = operator.metrics().await.map_err(|error| error.to_string())?;
        let seen = counter(&text, "tenantry_reconcile_total", &["controller=\"tenant\""]);
        if seen >= all as f64 {
            Ok(())
        } else {
            Err(format!("{seen} of {all}"))
        }
    })
    .await;
    let settled = started.elapsed();
    let calls = settled_calls(&operator).await;
    report.row(
        "restart: ready, every Tenant looked at",
        format!("{:.1} s, {:.1} s", ready.as_secs_f64(), settled.as_secs_f64()),
        "",
    );
    report.row(
        "writes after a restart",
        describe(
            &calls
                .into_iter()
                .filter(|((_, resource), _)| resource != "leases")
                .collect(),
        ),
        "none",
    );
    report.row(
        "resident memory after a restart",
        format!("{:.1} MB", operator.resident_bytes().unwrap_or(0) as f64 / 1e6),
        "",
    );
    operator
}

async fn quiet(lab: &Lab, operator: &Operator, steady: Duration, report: &mut Report) {
    let before = settled_calls(operator).await;
    let cpu = Cpu::read(lab, Some(operator));
    tokio::time::sleep(steady).await;
    let used = Cpu::read(lab, Some(operator)).since(&cpu);
    let after = calls(operator).await;
    let difference: BTreeMap<_, _> = difference(&before, &after)
        .into_iter()
        .filter(|((_, resource), _)| resource != "leases")
        .collect();
    let seconds = steady.as_secs();
    report.row(
        "calls while nothing happens, but the lease's",
        format!("{} in {seconds} s", describe_all(&difference)),
        "none",
    );
    report.row(
        "CPU while nothing happens",
        format!("{:.2} % of a core", used.operator / steady.as_secs_f64() * 100.0),
        "< 0.5 %",
    );
}

/// With BENCH_AUDIT: who has asked the API server for what so far.
fn print_requests(lab: &Lab) {
    let Some(text) = lab
        .plane()
        .and_then(controlplane::ControlPlane::audit_log)
        .and_then(|path| std::fs::read_to_string(path).ok())
    else {
        return;
    };
    let mut counts: BTreeMap<(String, String, String), usize> = BTreeMap::new();
    for event in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let text = |pointer: &str| {
            event
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        if text("/stage") == "ResponseComplete" {
            let what = format!("{} {}", text("/objectRef/resource"), text("/objectRef/subresource"));
            *counts.entry((text("/user/username"), text("/verb"), what)).or_default() += 1;
        }
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for ((user, verb, what), count) in counts.into_iter().take(40) {
        println!("{count:7} {verb} {what} by {user}");
    }
}

/// CPU seconds so far.
struct Cpu {
    api_server: f64,
    operator: f64,
}

impl Cpu {
    fn read(lab: &Lab, operator: Option<&Operator>) -> Self {
        let api_server = lab
            .plane()
            .and_then(|plane| plane.pid(Component::ApiServer))
            .and_then(lab::cpu_seconds_of)
            .unwrap_or(0.0);
        Self {
            api_server,
            operator: operator.and_then(Operator::cpu_seconds).unwrap_or(0.0),
        }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            api_server: self.api_server - before.api_server,
            operator: self.operator - before.operator,
        }
    }
}

type Calls = BTreeMap<(String, String), f64>;

/// Requests that the operator has sent, by verb and resource.
async fn calls(operator: &Operator) -> Calls {
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

/// The same once no write was sent for two seconds.
async fn settled_calls(operator: &Operator) -> Calls {
    let writes = |calls: &Calls| -> f64 {
        calls
            .iter()
            .filter(|((verb, resource), _)| is_write(verb) && resource != "leases")
            .map(|(_, count)| count)
            .sum()
    };
    let mut before = calls(operator).await;
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let after = calls(operator).await;
        if (writes(&after) - writes(&before)).abs() < 0.5 {
            return after;
        }
        before = after;
    }
}

fn is_write(verb: &str) -> bool {
    matches!(verb, "create" | "update" | "patch" | "delete" | "apply")
}

fn difference(before: &Calls, after: &Calls) -> Calls {
    let more = |(key, count): (&(String, String), &f64)| (key.clone(), count - before.get(key).unwrap_or(&0.0));
    after.iter().map(more).filter(|(_, count)| *count > 0.5).collect()
}

fn describe(calls: &Calls) -> String {
    describe_all(
        &calls
            .iter()
            .filter(|((verb, _), _)| is_write(verb))
            .map(|(key, count)| (key.clone(), *count))
            .collect(),
    )
}

fn describe_all(calls: &Calls) -> String {
    let calls: Vec<_> = calls
        .iter()
        .filter(|((verb, _), _)| verb != "watch")
        .map(|((verb, resource), count)| format!("{count} {verb} {resource}"))
        .collect();
    if calls.is_empty() {
        "none".to_owned()
    } else {
        calls.join(", ")
    }
}

fn counter(text: &str, name: &str, labels: &[&str]) -> f64 {
    let lines = text
        .lines()
        .filter(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)));
    lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// What one of `namespaces` equal namespaces gets first of a count, as the raw objects were rendered.
fn share(total: usize, namespaces: usize) -> &'static str {
    assert!(total.is_multiple_of(namespaces), "BENCH_NAMESPACES must divide {total}");
    Box::leak((total / namespaces).to_string().into_boxed_str())
}

fn per_second(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

fn percentiles(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1000.0;
    (at(0.5), at(0.99))
}

fn finish(report: &Report) {
    println!("\n| what | measured | target |\n| --- | --- | --- |");
    for Row { what, value, target } in &report.rows {
        println!("| {what} | {value} | {target} |");
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scale.json");
    std::fs::write(&path, serde_json::to_string_pretty(&report.figures).unwrap()).unwrap();
    println!("\nfigures: {}", path.display());
}
