//! A restart of the operator, and the time at rest.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use kube::{Api, Client, api::ListParams};
use lab::{Lab, Operator, eventually};
use tenantry_api::v1alpha1::Tenant;

use crate::{
    measure::{memory_target, operator_options},
    report::{Report, Target},
    usage::{Calls, Cpu, STILL, calls, counter, describe, describe_all, difference, is_work, is_write, settled_calls},
    watching::PATIENCE,
};

/// Starts the operator again after the previous process has ended.
pub async fn restart(lab: &Lab, client: &Client, report: &mut Report) -> Operator {
    let started = Instant::now();
    let operator = lab.operator(operator_options()).await.unwrap();
    let ready = started.elapsed();
    // The operator checks every Tenant once.
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
    report.seconds("restart_ready_s", "restart: ready", ready);
    report.seconds("restart_settled_s", "restart: every Tenant looked at", settled);
    let of = |writes: bool| -> Calls {
        let wanted = |verb: &str, resource: &str| is_write(verb) == writes && is_work(verb, resource);
        let calls = calls.iter().filter(|((verb, resource), _)| wanted(verb, resource));
        calls.map(|(key, count)| (key.clone(), *count)).collect()
    };
    let (asked, writes) = (of(false), of(true));
    let sum = |calls: &Calls| calls.values().sum::<f64>();
    let lists = asked.iter().filter(|((verb, _), _)| verb == "list");
    let most = lists.map(|(_, count)| *count).fold(0.0, f64::max);
    report.figure("restart_reads", "reads after a restart", "", sum(&asked), Target::None);
    report.figure(
        "restart_lists_of_a_kind",
        "most lists of one kind after a restart",
        "",
        most,
        Target::Least(1.0),
    );
    report.figure(
        "restart_writes",
        "writes after a restart",
        "",
        sum(&writes),
        Target::Least(0.0),
    );
    report.note("which reads after a restart", describe_all(&asked));
    report.note("which writes after a restart", describe(&writes));
    operator
}

/// Measures at rest, for as long as `steady`.
pub async fn quiet(lab: &Lab, operator: &Operator, tenants: usize, steady: Duration, report: &mut Report) {
    // Use that changed just before is written once more, ten seconds after the last status (`--status-interval`).
    let before = settled_calls(operator, 6 * STILL).await;
    let cpu = Cpu::read(lab, Some(operator));
    tokio::time::sleep(steady).await;
    let used = Cpu::read(lab, Some(operator)).since(&cpu);
    let after = calls(operator).await;
    let difference: BTreeMap<_, _> = difference(&before, &after)
        .into_iter()
        .filter(|((verb, resource), _)| is_work(verb, resource))
        .collect();
    let seconds = steady.as_secs();
    report.figure(
        "steady_calls",
        format!("calls while nothing happens for {seconds} s, but the lease's"),
        "",
        difference.values().sum(),
        Target::AtMost(0.0),
    );
    if !difference.is_empty() {
        report.note("which calls while nothing happens", describe_all(&difference));
    }
    report.figure(
        "steady_cpu_percent",
        "operator CPU while nothing happens",
        "% of a core",
        used.operator / steady.as_secs_f64() * 100.0,
        Target::AtMost(0.5),
    );
    report.figure(
        "steady_resident_mb",
        "resident memory after a restart and that time",
        "MB",
        operator.resident_bytes().unwrap_or(0) as f64 / 1e6,
        memory_target(tenants),
    );
}
