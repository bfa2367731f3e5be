//! etcd paused, etcd and the API server killed, and revisions compacted.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use controlplane::{Component, ControlPlane};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use serde_json::{Value, json};

use super::{Choice, Kept, Stand, is_left_out, plain};
use crate::{common, resilience::elected};

/// How long each is down: longer than a lease of 8 s.
fn away() -> Duration {
    let is_long = Choice::from_env().is_all();
    Duration::from_secs(if is_long { 30 } else { 12 })
}

const TENANTS: usize = 40;

/// Stops or restarts one component.
type Blow = fn(&ControlPlane);

struct Trouble {
    strike: Blow,
    relieve: Blow,
}

const ETCD_STANDS_STILL: Trouble = Trouble {
    strike: |plane| plane.pause(Component::Etcd).unwrap(),
    relieve: |plane| plane.resume(Component::Etcd).unwrap(),
};
const ETCD_DIES: Trouble = Trouble {
    strike: |plane| plane.kill(Component::Etcd).unwrap(),
    relieve: |plane| plane.start_component(Component::Etcd).unwrap(),
};
/// While it is down, the revisions of its watches are compacted, so each continues with a 410 and a list.
const API_SERVER_DIES: Trouble = Trouble {
    strike: |plane| plane.kill(Component::ApiServer).unwrap(),
    relieve: |plane| {
        compact(plane);
        plane.start_component(Component::ApiServer).unwrap();
    },
};

/// Compacts every revision of etcd but the last.
fn compact(plane: &ControlPlane) {
    let address = plane.etcd_url().expect("an etcd of our own");
    let address = address.trim_start_matches("http://");
    // As etcdctl does, through the JSON gateway.
    let post = |path: &str, body: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        let length = body.len();
        let head = format!("POST {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all((head + body).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains(" 200 OK"), "{path}: {answer}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str::<Value>(body).unwrap()
    };
    // base64 of a key that does not exist: we need the revision only.
    let answer = post("/v3/kv/range", r#"{"key":"L3g="}"#);
    let revision = &answer["header"]["revision"];
    post(
        "/v3/kv/compaction",
        &json!({ "revision": revision, "physical": true }).to_string(),
    );
}

/// Strikes while the operator creates tenants. The objects end as rendered, and no write or status was wrong.
async fn survives(what: &str, trouble: Trouble) {
    let stand = Stand::new().await;
    let mut kept = Kept::new(elected("tenantry-0"));
    let story = async {
        stand.create_numbered(0..TENANTS).await;
        stand.namespaces_appear(TENANTS / 2).await;
        let plane = stand.lab.plane().unwrap();
        (trouble.strike)(plane);
        let ready = stand.witness.ready();
        assert!(ready < TENANTS, "it came too late: all were Ready");
        // Not a wait: the length of the outage.
        tokio::time::sleep(away()).await;
        tokio::task::block_in_place(|| {
            (trouble.relieve)(plane);
            plane.wait_ready(Component::ApiServer).unwrap();
        });
        let back = std::time::Instant::now();
        stand.create_numbered(TENANTS..TENANTS + 5).await;
        let tenants = stand.as_rendered(&[plain()]).await;
        assert_eq!(tenants.len(), TENANTS + 5);
        (ready, back.elapsed())
    };
    let (ready, took) = kept.during(&stand.lab, story).await;
    stand.judge().await;
    let restarts = kept.end().await;
    println!("{what}: {ready} of {TENANTS} were Ready, {restarts} restarts, as rendered after {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn paused_etcd_only_costs_time() {
    survives("etcd stood still", ETCD_STANDS_STILL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_etcd_only_costs_time() {
    if is_left_out() {
        return;
    }
    survives("etcd was killed", ETCD_DIES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_api_server_with_compacted_revisions_only_costs_time() {
    survives("the API server was killed", API_SERVER_DIES).await;
}

/// An outage that is shorter than the lease must not end the leader.
#[tokio::test(flavor = "multi_thread")]
async fn short_api_server_outage_does_not_end_the_operator() {
    let stand = Stand::new().await;
    // Longer than the API server takes to start, however busy the machine is.
    let options = common::binary()
        .arg("--lease-duration=120s")
        .arg("--renew-deadline=90s");
    let mut operator = stand.lab.operator(options).await.unwrap();
    stand.create_numbered(0..TENANTS).await;
    stand.namespaces_appear(TENANTS / 2).await;
    let plane = stand.lab.plane().unwrap();
    tokio::task::block_in_place(|| plane.kill(Component::ApiServer).unwrap());
    let gone = std::time::Instant::now();
    assert!(stand.witness.ready() < TENANTS, "the kill came after the work was done");
    tokio::task::block_in_place(|| plane.start_component(Component::ApiServer).unwrap());
    let away = gone.elapsed();
    stand.as_rendered(&[plain()]).await;
    stand.judge().await;
    assert!(
        operator.runs().unwrap(),
        "away for {away:?}, and it ended: {}",
        operator.log_text()
    );
    // Watches continue after the outage: the operator sees later changes.
    let only_a = json!({ "spec": { "namespaces": [{ "name": "a" }] } });
    stand.change_tenant("t0", &only_a).await;
    common::gone(&Api::<Namespace>::all(stand.admin.clone()), "t0-b").await;
    assert!(operator.stop().await.unwrap().success());
}
