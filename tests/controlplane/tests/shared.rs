//! What the tests of a binary share.

use controlplane::{ControlPlane, Options, shared};

fn plane() -> &'static ControlPlane {
    match shared(Options::default) {
        Ok(plane) => plane,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn two_callers_get_the_same_control_plane() {
    let other = std::thread::spawn(|| plane().url()).join().unwrap();
    assert_eq!(plane().url(), other);
    assert!(
        plane()
            .kubectl()
            .args(["get", "namespaces"])
            .status()
            .unwrap()
            .success()
    );
}
