//! The rules hold when the operator is killed, is not running, or meets another one. Each test has a control plane of
//! its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use controlplane::Audit;
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{ConfigMap, LimitRange, Namespace, Pod, ResourceQuota, Service},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
};
use lab::{Lab, Operator, OperatorOptions};
use serde_json::json;
use tenantry_api::{
    Quantity,
    v1alpha1::{Tenant, TenantTemplate},
};

use crate::common::{
    self, PATIENCE, audit,
    builders::{template, tenant},
    code, eventually,
    oracle::{breaches, four_cores_and, repeated_creates, strays},
    record::Record,
    stands,
};

const TEMPLATE: &str = "fleet";

fn fleet() -> TenantTemplate {
    let small = json!({ "cpu": "100m", "memory": "64Mi" });
    let spec = json!({
        "tier": "Standard",
        "quotas": { "cpu": "4", "memory": "8Gi", "storage": "10Gi", "namespaces": 3, "pods": 9 },
        "containers": { "default": small, "defaultRequest": small },
        "security": { "podSecurity": "Restricted" },
    });
    template(TEMPLATE, spec)
}

fn grants(_: &str) -> BTreeMap<String, Quantity> {
    let mut grants = four_cores_and("9");
    grants.insert("requests.storage".to_owned(), "10Gi".parse().unwrap());
    grants
}

/// Creates Tenants of one or two namespaces each, named by number.
async fn create_numbered(admin: &Client, numbers: std::ops::Range<usize>) {
    let build = |number: usize| {
        let tenant = tenant(&format!("t{number}"), TEMPLATE).owner("olga").namespace("a");
        if number.is_multiple_of(2) {
            tenant
        } else {
            tenant.namespace("b")
        }
        .build()
    };
    let tenants: Vec<Tenant> = numbers.map(build).collect();
    futures::future::join_all(tenants.iter().map(|tenant| common::create(admin, tenant))).await;
}

/// A seed that a failed run prints, to repeat it.
#[expect(clippy::print_stderr, reason = "shown only when the test fails")]
fn seed() -> u64 {
    let seed = std::env::var("TENANTRY_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("TENANTRY_TEST_SEED={seed}");
    seed
}

/// Short, so that a dead leader is replaced soon; long enough for a slow machine.
pub fn elected(pod: &str) -> OperatorOptions {
    let options = OperatorOptions {
        pod: pod.to_owned(),
        no_wait: true,
        ..common::binary()
    };
    options
        .arg("--lease-duration=8s")
        .arg("--renew-deadline=6s")
        .arg("--retry-period=1s")
}

/// Waits until it leads.
pub async fn leads(operator: &Operator) {
    eventually("the operator to lead", PATIENCE, || async {
        let metrics = operator.metrics().await.map_err(|error| error.to_string())?;
        if metrics.contains("\ntenantry_leader 1") {
            Ok(())
        } else {
            Err("it does not".to_owned())
        }
    })
    .await;
}

/// Waits until `more` changes of guards and rights followed the first `before`: the operator is at work.
async fn works(record: &Record, before: usize, more: usize) {
    eventually("the operator to write", PATIENCE, || async {
        let seen = record.so_far().len() - before;
        if seen >= more {
            Ok(())
        } else {
            Err(format!("{seen} of {more} changes"))
        }
    })
    .await;
}

/// How many Tenants are not Ready.
async fn unready(admin: &Client) -> usize {
    let tenants = Api::<Tenant>::all(admin.clone()).list(&ListParams::default()).await;
    tenants
        .unwrap()
        .iter()
        .filter(|tenant| !common::is_ready(tenant))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_killed_at_random_breaks_no_rule_and_converges() {
    const ROUNDS: usize = 10;
    const PER_ROUND: usize = 20;
    let mut rng = fastrand::Rng::with_seed(seed());
    let (lab, admin) = common::own(Audit::Metadata).await;
    let record = Record::start(&admin).await;
    common::create_template(&admin, &fleet()).await;
    let mut unfinished = 0;
    for round in 0..ROUNDS {
        let before = record.so_far().len();
        // Without an election the next process starts while the last writes of the previous one may still be in flight.
        let options = if rng.u8(0..5) == 0 {
            elected("tenantry-0")
        } else {
            common::binary().arg("--leader-elect=false")
        };
        let operator = lab
            .operator(OperatorOptions {
                no_wait: true,
                ..options
            })
            .await
            .unwrap();
        create_numbered(&admin, round * PER_ROUND..(round + 1) * PER_ROUND).await;
        leads(&operator).await;
        // Every round has more changes than that, so the wait always ends.
        works(&record, before, rng.usize(1..=7 * PER_ROUND)).await;
        operator.kill();
        unfinished += usize::from(unready(&admin).await > 0);
    }
    assert!(
        unfinished > ROUNDS / 2,
        "only {unfinished} kills came before the work was done"
    );
    let operator = lab.operator(common::binary()).await.unwrap();
    let tenants = common::all_ready(&admin).await;
    assert_eq!(tenants.len(), ROUNDS * PER_ROUND);
    assert!(operator.stop().await.unwrap().success());

    assert_eq!(stands::differences(&admin, &[fleet()], &tenants).await, [""; 0]);
    audit::mark(&lab, &admin).await;
    let events = audit::read(&lab);
    let writers: BTreeSet<_> = events
        .iter()
        .filter(|event| event.user == audit::OPERATOR && event.is_write() && !event.is_lease())
        .map(|event| &event.credential)
        .collect();
    assert!(writers.len() > ROUNDS / 2, "kills came before any work: {writers:?}");
    let steps = record.steps(&admin).await;
    assert!(steps.len() > 7 * tenants.len(), "{} steps", steps.len());
    assert_eq!(breaches(&steps, &grants), [""; 0]);
    assert_eq!(strays(&events, &steps), [""; 0]);
    assert_eq!(repeated_creates(&events), [""; 0]);
}

async fn refuses_what_it_should(lab: &Lab, namespace: &str) {
    let olga = lab.as_user("olga", &[]).await.unwrap();
    let create = PostParams::default();
    let configs: Api<ConfigMap> = Api::namespaced(olga.clone(), namespace);
    let config: ConfigMap = serde_json::from_value(json!({ "metadata": { "name": "mine" } })).unwrap();
    configs.create(&create, &config).await.expect("an own ConfigMap");

    let pods: Api<Pod> = Api::namespaced(olga.clone(), namespace);
    let pod = |name: &str, privileged: bool| -> Pod {
        let context = json!({
            "allowPrivilegeEscalation": privileged, "privileged": privileged, "capabilities": { "drop": ["ALL"] },
            "runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": { "type": "RuntimeDefault" },
        });
        let container = json!({ "name": "app", "image": "registry.example.com/app:1", "securityContext": context });
        serde_json::from_value(json!({ "metadata": { "name": name }, "spec": { "containers": [container] } })).unwrap()
    };
    assert_eq!(code(pods.create(&create, &pod("bad", true)).await), 403);
    let mut admitted = Vec::new();
    let refusal = loop {
        let name = format!("good-{}", admitted.len());
        match pods.create(&create, &pod(&name, false)).await {
            Ok(_) => admitted.push(name),
            Err(error) => break error,
        }
        assert!(admitted.len() < 10, "the quota did not hold");
    };
    assert!(
        !admitted.is_empty() && refusal.to_string().contains("exceeded quota"),
        "{admitted:?} {refusal}"
    );

    let services: Api<Service> = Api::namespaced(olga.clone(), namespace);
    let open: Service = serde_json::from_value(
        json!({ "metadata": { "name": "open" }, "spec": { "type": "NodePort", "ports": [{ "port": 80 }] } }),
    )
    .unwrap();
    let answer = code(services.create(&create, &open).await);
    assert!((400..500).contains(&answer), "a NodePort service: {answer}");
    let ranges: Api<LimitRange> = Api::namespaced(olga, namespace);
    assert_eq!(code(ranges.delete("tenantry", &DeleteParams::default()).await), 403);

    for name in admitted {
        pods.delete(&name, &DeleteParams::default()).await.unwrap();
    }
    let quotas: Api<ResourceQuota> = Api::namespaced(lab.admin().await.unwrap(), namespace);
    eventually("the quota to count no pods", PATIENCE, || async {
        let quota = serde_json::to_value(quotas.get("tenantry").await.unwrap()).unwrap();
        let used = &quota["status"]["used"];
        if used["pods"] == "0" && used["limits.cpu"] == "0" {
            Ok(())
        } else {
            Err(used.to_string())
        }
    })
    .await;
}

fn unchanged_reconciles(metrics: &str) -> usize {
    let prefix = r#"tenantry_reconcile_total{controller="tenant",outcome="unchanged"} "#;
    metrics
        .lines()
        .find_map(|line| line.strip_prefix(prefix)?.parse().ok())
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_work_without_operator_and_restart_writes_nothing() {
    const TENANTS: usize = 20;
    let (lab, admin) = common::own(Audit::Metadata).await;
    common::create_template(&admin, &fleet()).await;
    create_numbered(&admin, 0..TENANTS).await;
    let operator = lab.operator(common::binary()).await.unwrap();
    common::all_ready(&admin).await;
    // The template's count of tenants is written after a second.
    common::counts_tenants(&admin, TEMPLATE, TENANTS).await;
    assert!(operator.stop().await.unwrap().success());

    refuses_what_it_should(&lab, "t1-a").await;

    let before = stands::versions(&admin).await;
    let stopped = audit::mark(&lab, &admin).await;
    let operator = lab.operator(common::binary()).await.unwrap();
    eventually("the operator to have looked at every Tenant", PATIENCE, || async {
        let seen = unchanged_reconciles(&operator.metrics().await.map_err(|error| error.to_string())?);
        if seen >= TENANTS {
            Ok(())
        } else {
            Err(format!("{seen} seen"))
        }
    })
    .await;
    // Counts of tenants and of use are each written after a second: both would be written by now.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(stands::changes(&before, &stands::versions(&admin).await), [""; 0]);
    let started = audit::mark(&lab, &admin).await;
    let events = audit::read(&lab);
    let writes = audit::by_operator(&events, &stopped, &started).filter(|event| event.is_write() && !event.is_lease());
    assert_eq!(writes.map(ToString::to_string).collect::<Vec<_>>(), [""; 0]);

    // Not a wait: for this long, nothing may happen.
    tokio::time::sleep(Duration::from_secs(20)).await;
    let later = audit::mark(&lab, &admin).await;
    let events = audit::read(&lab);
    let mut calls = audit::by_operator(&events, &started, &later).peekable();
    assert!(calls.peek().is_some(), "not even the lease was renewed");
    let calls = calls.filter(|event| !event.is_lease() && event.verb != "watch");
    assert_eq!(calls.map(ToString::to_string).collect::<Vec<_>>(), [""; 0]);
}

async fn lease_holder(admin: &Client) -> String {
    let leases: Api<Lease> = Api::namespaced(admin.clone(), lab::NAMESPACE);
    let lease = leases.get("tenantry").await.unwrap();
    lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn leader_that_resumes_after_losing_its_lease_writes_nothing() {
    let (lab, admin) = common::own(Audit::Metadata).await;
    let record = Record::start(&admin).await;
    common::create_template(&admin, &fleet()).await;
    let first = lab.operator(elected("tenantry-1")).await.unwrap();
    leads(&first).await;
    let mut second = lab.operator(elected("tenantry-2")).await.unwrap();
    second.until_ready().await.unwrap();
    create_numbered(&admin, 0..5).await;
    common::all_ready(&admin).await;
    assert!(lease_holder(&admin).await.starts_with("tenantry-1"));
    assert!(
        second.metrics().await.unwrap().contains("\ntenantry_leader 0"),
        "the second waits"
    );

    // A crash: the lease is not released, and expires.
    first.kill();
    let first_gone = audit::mark(&lab, &admin).await;
    leads(&second).await;
    create_numbered(&admin, 5..10).await;
    common::all_ready(&admin).await;
    let second_alone = audit::mark(&lab, &admin).await;

    // Stopped while it works, and replaced.
    let before = record.so_far().len();
    create_numbered(&admin, 10..40).await;
    works(&record, before, 1).await;
    second.signal("STOP").unwrap();
    assert_ne!(
        unready(&admin).await,
        0,
        "the operator was frozen after its work was done"
    );
    let third = lab.operator(elected("tenantry-3")).await.unwrap();
    leads(&third).await;
    common::all_ready(&admin).await;
    let tenants: Api<Tenant> = Api::all(admin.clone());
    for number in 10..15 {
        tenants
            .delete(&format!("t{number}"), &DeleteParams::default())
            .await
            .unwrap();
    }
    for number in 10..15 {
        common::gone(&tenants, &format!("t{number}")).await;
    }
    let resumed = audit::mark(&lab, &admin).await;
    second.signal("CONT").unwrap();
    let status = second.ended(PATIENCE).await;
    assert!(!status.success(), "a leader that lost its lease must say so: {status}");
    let ended = audit::mark(&lab, &admin).await;
    let events = audit::read(&lab);
    let credentials: BTreeSet<&str> = audit::by_operator(&events, &first_gone, &second_alone)
        .filter(|event| event.resource == "tenants" && event.is_write())
        .map(|event| &*event.credential)
        .collect();
    assert_eq!(
        credentials.len(),
        1,
        "one process wrote while it was alone: {credentials:?}"
    );
    let frozen = credentials.into_iter().collect::<String>();
    let late = audit::by_operator(&events, &resumed, &ended)
        .filter(|event| event.credential == frozen && event.is_write() && event.succeeded());
    assert_eq!(late.map(ToString::to_string).collect::<Vec<_>>(), [""; 0]);

    // A rolling update: the operator finishes its writes and releases the lease at once.
    let before = record.so_far().len();
    create_numbered(&admin, 40..70).await;
    works(&record, before, 1).await;
    let asked = std::time::Instant::now();
    let status = third.stop().await.unwrap();
    assert!(status.success(), "{status}");
    assert!(asked.elapsed() < Duration::from_secs(25), "{:?}", asked.elapsed());
    assert_eq!(lease_holder(&admin).await, "");
    assert_ne!(unready(&admin).await, 0, "the operator ended after its work was done");
    let fourth = lab.operator(common::binary()).await.unwrap();
    common::all_ready(&admin).await;
    drop(fourth);

    let namespaces: Api<Namespace> = Api::all(admin.clone());
    let left: Vec<_> = namespaces
        .list(&Default::default())
        .await
        .unwrap()
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    assert!(
        !left
            .iter()
            .any(|name| (10..15).any(|number| name.starts_with(&format!("t{number}-")))),
        "{left:?}"
    );
    audit::mark(&lab, &admin).await;
    let events = audit::read(&lab);
    let steps = record.steps(&admin).await;
    assert_eq!(breaches(&steps, &grants), [""; 0]);
    assert_eq!(strays(&events, &steps), [""; 0]);
    // Writes that the stopped process had begun may reach the API server late, which refuses them.
    let others = events.iter().filter(|event| event.credential != frozen);
    assert_eq!(repeated_creates(others), [""; 0]);
}
