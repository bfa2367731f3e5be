//! `make bench`: the operator against what the API server itself takes, in one run on one machine.
//!
//! Every figure stands beside the raw limit: the same objects, written straight by parallel requests from a minimal client
//! to the same server. Sizes come from the environment: BENCH_TENANTS (1000), BENCH_NAMESPACES (1), BENCH_STEADY (60 s). BENCH_TENANTS=0
//! measures the exact totals only: two minutes.

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

mod raw;
mod report;
mod totals;
mod usage;
mod watching;

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use controlplane::{Audit, Options};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::{core::v1::Pod, networking::v1::NetworkPolicy};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use lab::{Lab, Operator, OperatorOptions, eventually};
use serde_json::{Value, json};
use tenantry::api::v1alpha1::{Tenant, TenantTemplate};

use self::{
    report::{Report, finish, per_second},
    usage::{
        Cpu, STILL, calls, collector_knows, counter, describe, describe_all, difference, is_write, print_requests,
        settled_calls,
    },
    watching::{PATIENCE, is_ready, namespaces_furnished, quotas_counted, reach, track},
};

/// Pods of the template, and after its change; both divide by three.
const PODS: u64 = 30;
const FEWER: u64 = 27;
/// Tenants that come one by one.
const SINGLE: usize = 100;
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
    if tenants == 0 {
        let operator = lab.operator(operator_options()).await.unwrap();
        totals::headroom(&lab, &admin, &mut report).await;
        totals::churn(&admin, &mut report).await;
        operator.stop().await.unwrap();
        return finish(&report);
    }
    println!(
        "{tenants} tenants with {namespaces} namespaces each, on {} cores",
        std::thread::available_parallelism().unwrap()
    );

    raw::install_copy(&admin).await;
    collector_knows(&lab, &[("tenantry.dev", "tenants"), (raw::GROUP, "tenants")]).await;

    // The raw limit, before the operator runs: server-side apply, as kubectl and most operators write.
    let objects = raw::raw_objects(&template, tenants, namespaces);
    let count: usize = objects.iter().map(Vec::len).sum();
    let started = Instant::now();
    let cpu = Cpu::read(&lab, None);
    raw::write_raw(&admin, objects).await;
    quotas_counted(&admin, "raw-", tenants * namespaces, raw::share(PODS, namespaces)).await;
    let children_time = started.elapsed();
    let children_cpu = Cpu::read(&lab, None).since(&cpu);
    let copies = raw::write_tenants(&admin, tenants, namespaces).await;
    let whole_time = started.elapsed();
    let whole_cpu = Cpu::read(&lab, None).since(&cpu);
    report.row(
        "raw limit: the children, by parallel server-side apply",
        format!(
            "{:.1} s ({:.0} objects/s)",
            children_time.as_secs_f64(),
            per_second(count, children_time)
        ),
        "",
    );
    report.row(
        "raw limit: the whole, with the Tenants and their statuses",
        format!("{:.1} s", whole_time.as_secs_f64()),
        "",
    );

    namespaces_furnished(&admin).await;
    let mut operator = lab.operator(operator_options()).await.unwrap();
    let cpu = Cpu::read(&lab, Some(&operator));
    let ready = track(Api::<Tenant>::all(admin.clone()), is_ready);
    let started = Instant::now();
    create_tenants(&admin, tenants, namespaces).await;
    let created = started.elapsed();
    reach("every Tenant to be Ready", ready, tenants).await;
    let operator_time = started.elapsed();
    let used = Cpu::read(&lab, Some(&operator)).since(&cpu);
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
    let over = |raw: Duration| operator_time.as_secs_f64() / raw.as_secs_f64();
    report.ratio(
        "time to Ready / raw limit of the children",
        "ready_over_children",
        over(children_time),
        "",
    );
    report.ratio(
        "time to Ready / raw limit of the whole",
        "ready_over_whole",
        over(whole_time),
        "<= 1.3",
    );
    report.ratio(
        "API server CPU / raw limit of the whole",
        "api_server_cpu_over_whole",
        used.api_server / whole_cpu.api_server,
        "",
    );
    report.ratio(
        "CPU of all processes / raw limit of the children",
        "cpu_over_children",
        used.all / children_cpu.all,
        "",
    );
    report.ratio(
        "CPU of all processes / raw limit of the whole",
        "cpu_over_whole",
        used.all / whole_cpu.all,
        "",
    );
    report.row(
        "operator CPU per tenant",
        format!("{:.2} ms", used.operator * 1000.0 / tenants as f64),
        "",
    );
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
            count / tenants + 2
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

    namespaces_furnished(&admin).await;
    single_tenant(&admin, &mut report).await;
    fan_out(&admin, &operator, copies, namespaces, &mut report).await;
    drift(&admin, tenants, &mut report).await;
    let crowd = Crowd::prepare(&lab, &admin).await;
    let with_allocator = crowd.pods_per_second().await;
    operator.stop().await.unwrap();
    let without = crowd.pods_per_second().await;
    operator = restart(&lab, &admin, &mut report).await;
    let with_allocator = f64::midpoint(with_allocator, crowd.pods_per_second().await);
    report.ratio(
        "a tenant's pod creates, with the allocator / without",
        "own_writes",
        with_allocator / without,
        ">= 0.9",
    );
    totals::headroom(&lab, &admin, &mut report).await;
    totals::churn(&admin, &mut report).await;
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
            // One namespace of a tenant is one namespace.
            "selfService": "Disabled",
            "quotas": { "cpu": "2", "memory": "4Gi", "storage": "100Gi", "pods": PODS },
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

/// One tenant after the other on an idle server, seen by one watch that is open all the time.
async fn single_tenant(client: &Client, report: &mut Report) {
    let api = tenants_api(client);
    let is_single = |tenant: &Tenant| tenant.name_any().starts_with("single-") && is_ready(tenant);
    let mut ready = track(Api::<Tenant>::all(client.clone()), is_single);
    let mut times = Vec::new();
    for index in 0..SINGLE {
        let object = serde_json::from_value(tenant(&format!("single-{index}"), 1)).unwrap();
        let started = Instant::now();
        api.create(&PostParams::default(), &object).await.unwrap();
        tokio::time::timeout(PATIENCE, ready.wait_for(|ready| *ready > index))
            .await
            .unwrap()
            .unwrap();
        times.push(started.elapsed());
    }
    report.latency(
        "one Tenant, create to Ready, with all others there",
        "single",
        times,
        "p99 <= 100 ms",
    );
}

/// A template change over all tenants, against the quotas, limits for programs and statuses that it changes written straight.
async fn fan_out(
    client: &Client,
    operator: &Operator,
    copies: Vec<DynamicObject>,
    namespaces: usize,
    report: &mut Report,
) {
    let tenants = copies.len();
    let fewer = json!({ "spec": { "quotas": { "pods": FEWER } } });
    let mut changed = template();
    changed.spec.quotas =
        serde_json::from_value(json!({ "cpu": "2", "memory": "4Gi", "storage": "100Gi", "pods": FEWER })).unwrap();
    let mut objects = raw::raw_objects(&changed, tenants, namespaces);
    for objects in &mut objects {
        objects.retain(|object| object["kind"] == "ResourceQuota" || object["kind"] == "ConfigMap");
    }
    let started = Instant::now();
    raw::write_raw(client, objects).await;
    quotas_counted(client, "raw-", tenants * namespaces, raw::share(FEWER, namespaces)).await;
    let children_time = started.elapsed();
    raw::write_statuses(client, copies, namespaces, FEWER).await;
    let whole_time = started.elapsed();

    let before = calls(operator).await;
    let templates: Api<TenantTemplate> = Api::all(client.clone());
    let started = Instant::now();
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
                    .any(|entry| entry.resource == "pods" && entry.grant == FEWER.to_string().parse().unwrap())
            })
    });
    reach("every Tenant to follow the template", followed, tenants + SINGLE).await;
    let time = started.elapsed();
    let after = settled_calls(operator, STILL).await;
    report.row(
        "template change over all tenants",
        format!(
            "{:.1} s; raw limit of the children {:.1} s, of the whole {:.1} s",
            time.as_secs_f64(),
            children_time.as_secs_f64(),
            whole_time.as_secs_f64()
        ),
        "",
    );
    let over = |raw: Duration| time.as_secs_f64() / raw.as_secs_f64();
    report.ratio(
        "template change / raw limit of the children",
        "fan_out_over_children",
        over(children_time),
        "",
    );
    report.ratio(
        "template change / raw limit of the whole",
        "fan_out_over_whole",
        over(whole_time),
        "<= 1.3",
    );
    report.row(
        "writes of that change",
        describe(&difference(&before, &after)),
        "only what changed",
    );

    let before = settled_calls(operator, STILL).await;
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
    report.latency("a deleted NetworkPolicy is back", "drift", times, "p99 <= 100 ms");
}

/// A tenant with four namespaces and room for all that its owner creates in one of them.
struct Crowd {
    admin: Api<Pod>,
    owner: Api<Pod>,
}

impl Crowd {
    async fn prepare(lab: &Lab, client: &Client) -> Self {
        let template = json!({
            "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantTemplate", "metadata": { "name": "roomy" },
            "spec": { "tier": "Standard", "quotas": { "pods": 4000 } },
        });
        let template = serde_json::from_value(template).unwrap();
        let templates: Api<TenantTemplate> = Api::all(client.clone());
        templates.create(&PostParams::default(), &template).await.unwrap();
        let mut crowded = tenant("crowd", 4);
        crowded["spec"]["templateRef"]["name"] = json!("roomy");
        let crowded = serde_json::from_value(crowded).unwrap();
        tenants_api(client)
            .create(&PostParams::default(), &crowded)
            .await
            .unwrap();
        let ready = track(Api::<Tenant>::all(client.clone()), |tenant| {
            tenant.name_any() == "crowd" && is_ready(tenant)
        });
        reach("the crowd's Tenant to be Ready", ready, 1).await;
        let owner = lab.as_user("owner-crowd", &[]).await.unwrap();
        Self {
            admin: Api::namespaced(client.clone(), "crowd-n0"),
            owner: Api::namespaced(owner, "crowd-n0"),
        }
    }

    async fn pods_per_second(&self) -> f64 {
        const PODS: usize = 800;
        let pod = totals::pod();
        let started = Instant::now();
        stream::iter(0..PODS)
            .for_each_concurrent(PARALLEL, |_| async {
                drop(self.owner.create(&PostParams::default(), &pod).await.unwrap());
            })
            .await;
        let rate = per_second(PODS, started.elapsed());
        let now = DeleteParams::default().grace_period(0);
        self.admin
            .delete_collection(&now, &ListParams::default())
            .await
            .unwrap();
        eventually("the crowd's pods to be gone", PATIENCE, || async {
            match self
                .admin
                .list_metadata(&ListParams::default())
                .await
                .unwrap()
                .items
                .len()
            {
                0 => Ok(()),
                left => Err(left),
            }
        })
        .await;
        rate
    }
}

async fn restart(lab: &Lab, client: &Client, report: &mut Report) -> Operator {
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
    let calls = settled_calls(&operator, STILL).await;
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
    operator
}

async fn quiet(lab: &Lab, operator: &Operator, steady: Duration, report: &mut Report) {
    // Use that changed just before is written once more, ten seconds after the last time (`--status-interval`).
    let before = settled_calls(operator, 6 * STILL).await;
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
        "resident memory after a restart and that time",
        format!("{:.1} MB", operator.resident_bytes().unwrap_or(0) as f64 / 1e6),
        "<= 64 MB at 1,000 tenants",
    );
    report.row(
        "CPU while nothing happens",
        format!("{:.2} % of a core", used.operator / steady.as_secs_f64() * 100.0),
        "< 0.5 %",
    );
}
