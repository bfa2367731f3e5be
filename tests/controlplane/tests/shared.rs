//! What the tests of a binary share.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy takes for code of the product"
)]

use controlplane::{ControlPlane, Integration, Options, crd_files, shared};

fn plane() -> &'static ControlPlane {
    shared(|| Options {
        controller_manager_qps: Some(200),
        ..Options::default()
    })
    .unwrap()
}

#[test]
fn two_callers_get_the_same_control_plane() {
    let other = std::thread::spawn(|| plane().url()).join().unwrap();
    assert_eq!(plane().url(), other);
}

#[test]
fn the_real_crds_of_every_integration_are_served() {
    for integration in Integration::ALL {
        for file in crd_files(integration).unwrap() {
            let mut apply = plane().kubectl();
            let output = apply
                .args(["apply", "--server-side", "-f"])
                .arg(&file)
                .output()
                .unwrap();
            assert!(
                output.status.success(),
                "{}: {}",
                file.display(),
                String::from_utf8_lossy(&output.stderr)
            );
            let mut wait = plane().kubectl();
            wait.args(["wait", "--for=condition=Established", "--timeout=60s", "-f"]);
            assert!(
                wait.arg(&file).output().unwrap().status.success(),
                "{} is not served",
                file.display()
            );
        }
    }
}
