//! An operator that gets SIGTERM while it works.

use std::time::{Duration, Instant};

use super::{PATIENCE, Stand, eventually, plain, roles::Roles};
use crate::{
    common::{self, audit},
    resilience::{elected, leads},
};

/// The time that Kubernetes gives a pod to end; --shutdown-grace is shorter.
const GRACE: Duration = Duration::from_secs(30);
const ROUNDS: usize = 5;
const TENANTS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn operator_terminated_at_work_exits_cleanly() {
    let stand = Stand::new().await;
    let mut slowest = Duration::ZERO;
    let mut unfinished = 0;
    for round in 0..ROUNDS {
        let operator = stand.lab.operator(elected(&format!("tenantry-{round}"))).await.unwrap();
        leads(&operator).await;
        stand.create_numbered(round * TENANTS..(round + 1) * TENANTS).await;
        // During the first writes, then a bit later in each round.
        stand.namespaces_appear(round * 2 * TENANTS + 1 + round * 8).await;
        let asked = Instant::now();
        let status = operator.stop().await.unwrap();
        slowest = slowest.max(asked.elapsed());
        assert!(status.success(), "{status}");
        assert!(asked.elapsed() < GRACE, "it took {:?}", asked.elapsed());
        assert_eq!(stand.lease_holder().await, "", "the lease is given up");
        unfinished += usize::from(stand.witness.ready() < (round + 1) * TENANTS);
    }
    let operator = stand.lab.operator(elected("tenantry-last")).await.unwrap();
    let tenants = stand.as_rendered(&[plain()]).await;
    assert_eq!(tenants.len(), ROUNDS * TENANTS);
    stand.judge().await;
    assert!(unfinished > ROUNDS / 2, "most ends came after the work was done");
    // In order means that the operator awaited every write: none was cut off.
    let cut: Vec<_> = audit::read(&stand.lab)
        .into_iter()
        .filter(|event| event.user == audit::OPERATOR && event.is_write() && event.code == 0)
        .collect();
    assert!(cut.is_empty(), "{cut:?}");
    println!("{ROUNDS} ends amid work, {unfinished} of them before it was done, the slowest took {slowest:?}");
    assert!(operator.stop().await.unwrap().success());
}

/// If they are asked to end before their first list is complete, kube's controllers wait without limit.
#[tokio::test(flavor = "multi_thread")]
async fn operator_terminated_before_its_first_list_exits_cleanly() {
    let stand = Stand::new().await;
    let roles = Roles::installed(&stand.admin).await;
    for resource in ["tenants", "tenanttemplates"] {
        let gone = roles.without(|right| right.is("list", &[resource])).await;
        let options = lab::OperatorOptions {
            no_wait: true,
            ..common::binary()
        };
        let operator = stand.lab.operator(options).await.unwrap();
        eventually("the list to be refused", PATIENCE, || async {
            let log = operator.log_text().replace('\\', "");
            let refused = gone.iter().all(|right| log.contains(&right.refusal()));
            if refused { Ok(()) } else { Err(log) }
        })
        .await;
        let asked = Instant::now();
        let status = operator.stop().await.unwrap();
        assert!(status.success(), "without the list of {resource}: {status}");
        assert!(asked.elapsed() < GRACE / 2, "it took {:?}", asked.elapsed());
    }
}
