//! The command lines, as pure lists.

use std::path::Path;

use crate::audit::Audit;

/// The ports of one control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) etcd: u16,
    pub(crate) etcd_peer: u16,
    pub(crate) api_server: u16,
    pub(crate) controller_manager: u16,
}

fn flag(name: &str, value: impl std::fmt::Display) -> String {
    format!("--{name}={value}")
}

pub(crate) fn etcd(dir: &Path, ports: Ports) -> Vec<String> {
    let client = format!("http://127.0.0.1:{}", ports.etcd);
    let peer = format!("http://127.0.0.1:{}", ports.etcd_peer);
    vec![
        flag("data-dir", dir.join("etcd").display()),
        flag("listen-client-urls", &client),
        flag("advertise-client-urls", &client),
        flag("listen-peer-urls", &peer),
        flag("initial-advertise-peer-urls", &peer),
        flag("initial-cluster", format!("default={peer}")),
        // The data lives only as long as the processes, so a power cut may destroy it.
        "--unsafe-no-fsync".into(),
        // A limit, not a reservation: at the default of 2 GiB, a bench with 30,000 namespaces fills the database.
        flag("quota-backend-bytes", 8_u64 << 30),
    ]
}

pub(crate) fn api_server(dir: &Path, ports: Ports, audit: Audit, extra: &[String]) -> Vec<String> {
    let certs = dir.join("certs");
    // The API server creates this key itself and then also uses it for ServiceAccount tokens: no openssl is needed.
    let key = certs.join("apiserver.key");
    let mut flags = vec![
        flag("etcd-servers", format!("http://127.0.0.1:{}", ports.etcd)),
        flag("bind-address", "127.0.0.1"),
        // Without it the API server looks for a default route, which a sandbox may lack. Loopback cannot be an
        // endpoint, so none is written.
        flag("advertise-address", "127.0.0.1"),
        flag("endpoint-reconciler-type", "none"),
        flag("secure-port", ports.api_server),
        flag("cert-dir", certs.display()),
        flag("service-account-issuer", "https://kubernetes.default.svc"),
        flag("service-account-key-file", key.display()),
        flag("service-account-signing-key-file", key.display()),
        flag("service-cluster-ip-range", "10.96.0.0/16"),
        flag("token-auth-file", dir.join("tokens.csv").display()),
        flag("authorization-mode", "RBAC"),
        flag("allow-privileged", "true"),
    ];
    if audit != Audit::Off {
        flags.extend([
            flag("audit-policy-file", dir.join("audit-policy.yaml").display()),
            flag("audit-log-path", dir.join("audit.log").display()),
            // The API server writes each event before its request ends: none is batched or dropped.
            flag("audit-log-mode", "blocking"),
        ]);
    }
    flags.extend_from_slice(extra);
    flags
}

pub(crate) fn controller_manager(dir: &Path, ports: Ports, qps: Option<u32>, extra: &[String]) -> Vec<String> {
    let mut flags = vec![
        flag("kubeconfig", dir.join("kubeconfig").display()),
        "--use-service-account-credentials".into(),
        flag(
            "service-account-private-key-file",
            dir.join("certs/apiserver.key").display(),
        ),
        flag("leader-elect", "false"),
        // There are no nodes.
        flag("controllers", "*,-nodelifecycle,-nodeipam"),
        flag("bind-address", "127.0.0.1"),
        flag("secure-port", ports.controller_manager),
        flag("cert-dir", dir.join("certs").display()),
        // So that the admin's token can read its /metrics.
        flag("authentication-kubeconfig", dir.join("kubeconfig").display()),
        flag("authorization-kubeconfig", dir.join("kubeconfig").display()),
    ];
    if let Some(qps) = qps {
        flags.extend([flag("kube-api-qps", qps), flag("kube-api-burst", qps.saturating_mul(2))]);
    }
    flags.extend_from_slice(extra);
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTS: Ports = Ports {
        etcd: 12_001,
        etcd_peer: 12_002,
        api_server: 12_003,
        controller_manager: 12_004,
    };

    fn has(flags: &[String], wanted: &str) -> bool {
        flags.iter().any(|f| f == wanted)
    }

    #[test]
    fn everything_binds_to_loopback_on_the_given_ports() {
        let dir = Path::new("/run/x");
        assert!(has(&etcd(dir, PORTS), "--listen-client-urls=http://127.0.0.1:12001"));
        assert!(has(&etcd(dir, PORTS), "--listen-peer-urls=http://127.0.0.1:12002"));
        let api = api_server(dir, PORTS, Audit::Off, &[]);
        assert!(has(&api, "--bind-address=127.0.0.1") && has(&api, "--secure-port=12003"));
        assert!(has(&api, "--etcd-servers=http://127.0.0.1:12001"));
    }

    #[test]
    fn the_audit_log_is_blocking_and_absent_when_off() {
        let dir = Path::new("/run/x");
        assert!(has(
            &api_server(dir, PORTS, Audit::Metadata, &[]),
            "--audit-log-mode=blocking"
        ));
        assert!(
            !api_server(dir, PORTS, Audit::Off, &[])
                .iter()
                .any(|f| f.starts_with("--audit"))
        );
    }

    #[test]
    fn extra_flags_come_last_so_that_they_win() {
        let extra = vec!["--authorization-mode=AlwaysAllow".to_owned()];
        assert_eq!(
            api_server(Path::new("/"), PORTS, Audit::Off, &extra).last(),
            extra.last()
        );
        assert_eq!(
            controller_manager(Path::new("/"), PORTS, Some(50), &extra).last(),
            extra.last()
        );
    }

    #[test]
    fn qps_sets_the_burst_too() {
        let flags = controller_manager(Path::new("/"), PORTS, Some(50), &[]);
        assert!(has(&flags, "--kube-api-qps=50") && has(&flags, "--kube-api-burst=100"));
        assert!(
            !controller_manager(Path::new("/"), PORTS, None, &[])
                .iter()
                .any(|f| f.contains("qps"))
        );
    }
}
