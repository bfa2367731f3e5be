//! One size, once, on a control plane of its own.

use std::{collections::BTreeMap, path::Path, time::Instant};

use controlplane::{Audit, Options};
use kube::{Api, Client};
use lab::{Lab, Operator, OperatorOptions};
use tenantry_api::v1alpha1::Tenant;
use tenantry_core::object::Kind;

use crate::{
    burst,
    crowd::Crowd,
    fan_out::fan_out,
    own::Writer,
    policies, raw,
    report::{Report, Target},
    restart::{quiet, restart},
    settings::{FEWER, PODS, Part, Settings},
    single,
    tenants::{create_templates, create_tenants, template},
    totals,
    usage::{Calls, Cpu, STILL, calls, collector_knows, difference, is_work, is_write, print_requests, settled_calls},
    watching::{is_ready, namespaces_furnished, quotas_counted, reach, track},
};

pub fn operator_options() -> OperatorOptions {
    OperatorOptions::new(env!("CARGO_BIN_EXE_tenantry"))
}

/// The limits of resident memory in MB, promised at two sizes.
pub fn memory_target(tenants: usize) -> Target {
    match tenants {
        ..=1000 => Target::AtMost(64.0),
        1001..=5000 => Target::AtMost(200.0),
        _ => Target::None,
    }
}

/// The error is one line if there is no control plane. All other failures panic, which keeps the control plane's logs.
pub async fn measure(settings: &Settings, tenants: usize) -> Result<Report, String> {
    let options = Options {
        audit: if settings.audit { Audit::Metadata } else { Audit::Off },
        controller_manager_qps: Some(2000),
        ..Options::default()
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let one_line = |error: anyhow::Error| {
        let text = format!("{error:#}");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let lab = Lab::own_with(root, options).map_err(one_line)?;
    lab.install(&[]).map_err(one_line)?;
    let admin = lab.admin().await.map_err(one_line)?;
    let mut report = Report {
        kubernetes: admin.apiserver_version().await.unwrap().git_version,
        ..Report::default()
    };
    create_templates(&admin).await;
    if tenants == 0 {
        let operator = lab.operator(operator_options()).await.unwrap();
        totals::headroom(&lab, &admin, &mut report).await;
        totals::churn(&admin, &mut report).await;
        operator.stop().await.unwrap();
    } else {
        Measurement {
            settings,
            tenants,
            lab: &lab,
            admin: &admin,
            report: &mut report,
        }
        .all()
        .await;
    }
    Ok(report)
}

struct Measurement<'a> {
    settings: &'a Settings,
    tenants: usize,
    lab: &'a Lab,
    admin: &'a Client,
    report: &'a mut Report,
}

/// The result of the raw limit.
struct Raw {
    children: f64,
    whole: f64,
    cpu_children: Cpu,
    cpu_whole: Cpu,
    /// Writes per tenant that it takes, by resource.
    least: BTreeMap<String, f64>,
    copies: Vec<kube::api::DynamicObject>,
}

impl Measurement<'_> {
    async fn all(self) {
        let Self {
            settings,
            tenants,
            lab,
            admin,
            ..
        } = self;
        let namespaces = settings.namespaces;
        if settings.has(Part::Idle) {
            single::on_an_idle_server(lab, admin, self.report).await;
        }
        raw::install_copy(admin).await;
        collector_knows(lab, &[("tenantry.dev", "tenants"), (raw::GROUP, "tenants")]).await;
        let Self { report, .. } = self;
        let raw = raw_limit(lab, admin, tenants, namespaces, report).await;
        namespaces_furnished(admin).await;
        let mut operator = lab.operator(operator_options()).await.unwrap();
        until_ready(lab, admin, &operator, tenants, namespaces, &raw, report).await;

        namespaces_furnished(admin).await;
        let mut pods = PODS;
        if settings.has(Part::FanOut) {
            fan_out(admin, &operator, raw.copies, namespaces, report).await;
            pods = FEWER;
        }
        if settings.has(Part::Single) {
            let what = "one Tenant, create to Ready, with all others there";
            single::one_by_one(admin, "single", what, report).await;
        }
        if settings.has(Part::Drift) {
            burst::one(admin, tenants, report).await;
        }
        if settings.has(Part::Burst) {
            burst::all(admin, tenants, namespaces, pods, report).await;
        }
        if settings.has(Part::Own) || settings.has(Part::Policies) {
            namespaces_furnished(admin).await;
            let writer = Writer::prepare(lab, admin).await;
            if settings.has(Part::Own) {
                writer.writes(report).await;
            }
            if settings.has(Part::Policies) {
                policies::taken_away(&writer, report).await;
            }
            writer.remove_pods().await;
        }
        if settings.has(Part::Crowd) {
            let crowd = Crowd::prepare(lab, admin).await;
            let with_operator = crowd.pods_per_second().await;
            operator.stop().await.unwrap();
            let without = crowd.pods_per_second().await;
            operator = restart(lab, admin, report).await;
            let with_operator = f64::midpoint(with_operator, crowd.pods_per_second().await);
            report.ratio(
                "own_writes",
                "a tenant's pod creates a second, with the operator / without",
                with_operator / without,
                Target::AtLeast(0.9),
            );
        } else if settings.has(Part::Restart) {
            operator.stop().await.unwrap();
            operator = restart(lab, admin, report).await;
        }
        if settings.has(Part::Totals) {
            totals::headroom(lab, admin, report).await;
            totals::churn(admin, report).await;
        }
        if settings.has(Part::Steady) {
            quiet(lab, &operator, tenants, settings.steady, report).await;
        }
        operator.stop().await.unwrap();
    }
}

/// The raw limit, before the operator runs: server-side apply, as kubectl and most operators write.
async fn raw_limit(lab: &Lab, admin: &Client, tenants: usize, namespaces: usize, report: &mut Report) -> Raw {
    let objects = raw::raw_objects(&template(PODS), tenants, namespaces);
    let mut least: BTreeMap<String, f64> = BTreeMap::new();
    for object in &objects[0] {
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == object["kind"]);
        *least.entry(kind.unwrap().api_resource().plural).or_default() += 1.0;
    }
    // Two more writes: a finalizer and a status. The user creates the Tenant.
    least.extend(["tenants", "tenants/status"].map(|what| (what.to_owned(), 1.0)));
    let count: usize = objects.iter().map(Vec::len).sum();
    let started = Instant::now();
    let cpu = Cpu::read(lab, None);
    raw::write_raw(admin, objects).await;
    quotas_counted(admin, "raw-", tenants * namespaces, raw::share(PODS, namespaces)).await;
    let children = started.elapsed();
    let cpu_children = Cpu::read(lab, None).since(&cpu);
    let copies = raw::write_tenants(admin, tenants, namespaces).await;
    let whole = started.elapsed();
    let cpu_whole = Cpu::read(lab, None).since(&cpu);
    let what = "raw limit: the children, by parallel server-side apply";
    report.seconds("raw_children_s", what, children);
    report.figure(
        "raw_children_objects",
        format!(
            "objects of those, {} a second in the last run",
            (count as f64 / children.as_secs_f64()).round()
        ),
        "",
        count as f64,
        Target::None,
    );
    let what = "raw limit: the whole, with the Tenants and their statuses";
    report.seconds("raw_whole_s", what, whole);
    Raw {
        children: children.as_secs_f64(),
        whole: whole.as_secs_f64(),
        cpu_children,
        cpu_whole,
        least,
        copies,
    }
}

/// All Tenants at once, until they are Ready.
async fn until_ready(
    lab: &Lab,
    admin: &Client,
    operator: &Operator,
    tenants: usize,
    namespaces: usize,
    raw: &Raw,
    report: &mut Report,
) {
    let each = tenants as f64;
    // The operator is ready before it has listed everything.
    let calls_before = settled_calls(operator, STILL).await;
    let resident_before = operator.resident_bytes().unwrap_or(0);
    let cpu = Cpu::read(lab, Some(operator));
    let ready = track(Api::<Tenant>::all(admin.clone()), is_ready);
    let started = Instant::now();
    create_tenants(admin, tenants, namespaces).await;
    let created = started.elapsed();
    reach("every Tenant to be Ready", ready, tenants).await;
    let time = started.elapsed();
    let used = Cpu::read(lab, Some(operator)).since(&cpu);
    let made = difference(&calls_before, &calls(operator).await);
    print_requests(lab);
    report.seconds("ready_s", "all Tenants Ready", time);
    report.seconds("created_s", "of that, until the last Tenant was created", created);
    let ready = time.as_secs_f64();
    let what = "time to Ready / raw limit of the children";
    report.ratio("ready_over_children", what, ready / raw.children, Target::None);
    let what = "time to Ready / raw limit of the whole";
    report.ratio("ready_over_whole", what, ready / raw.whole, Target::AtMost(1.3));
    report.ratio(
        "api_server_cpu_over_whole",
        "API server CPU / raw limit of the whole",
        used.api_server / raw.cpu_whole.api_server,
        Target::None,
    );
    report.ratio(
        "cpu_over_children",
        "CPU of all processes / raw limit of the children",
        used.all / raw.cpu_children.all,
        Target::None,
    );
    report.ratio(
        "cpu_over_whole",
        "CPU of all processes / raw limit of the whole",
        used.all / raw.cpu_whole.all,
        Target::None,
    );
    for (name, what, seconds) in [
        ("operator_cpu_ms", "operator CPU per tenant", used.operator),
        ("api_server_cpu_ms", "API server CPU per tenant", used.api_server),
        (
            "raw_api_server_cpu_ms",
            "API server CPU per tenant, raw limit of the whole",
            raw.cpu_whole.api_server,
        ),
    ] {
        report.figure(name, what, "ms", seconds * 1000.0 / each, Target::None);
    }
    tell_calls(&made, &raw.least, each, report);
    let resident = operator.resident_bytes().unwrap_or(0);
    let megabytes = resident as f64 / 1e6;
    report.figure(
        "resident_mb",
        "resident memory",
        "MB",
        megabytes,
        memory_target(tenants),
    );
    report.figure(
        "kilobytes_per_tenant",
        "resident memory per tenant, over what it was without",
        "kB",
        (resident as f64 - resident_before as f64) / 1e3 / each,
        Target::None,
    );
}

/// Writes per tenant by verb and resource, and all reads: none of the reads was necessary.
fn tell_calls(made: &Calls, least: &BTreeMap<String, f64>, each: f64, report: &mut Report) {
    let work = made.iter().filter(|((verb, resource), _)| is_work(verb, resource));
    let (writes, reads): (Vec<_>, Vec<_>) = work.partition(|((verb, _), _)| is_write(verb));
    let sum = |calls: &[(&(String, String), &f64)]| calls.iter().map(|(_, count)| **count).sum::<f64>();
    let all = Target::Least(least.values().sum());
    report.figure(
        "writes_per_tenant",
        "writes per tenant",
        "calls",
        sum(&writes) / each,
        all,
    );
    for ((verb, resource), count) in writes {
        report.figure(
            &format!("calls_{verb}_{resource}"),
            format!("{verb} {resource} per tenant"),
            "calls",
            count / each,
            Target::Least(least.get(resource).copied().unwrap_or(0.0)),
        );
    }
    let none = Target::Least(0.0);
    report.figure(
        "reads_per_tenant",
        "reads per tenant",
        "calls",
        sum(&reads) / each,
        none,
    );
}
