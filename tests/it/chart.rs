//! The chart on a real API server: all combinations of values are accepted, an uninstall keeps user data, and the
//! checked-in rendered files are current. The test has a control plane of its own, as it installs CRDs of other
//! projects.

use std::{
    fs::File,
    path::Path,
    process::{Command, Stdio},
};

use controlplane::{Audit, Integration};
use lab::{Lab, NAMESPACE, RELEASE, run};

use crate::common;

/// Values and capabilities of one way to install.
struct Shape {
    name: &'static str,
    args: &'static [&'static str],
    /// Text that the output must contain.
    has: &'static [&'static str],
    /// Text that the output must not contain.
    lacks: &'static [&'static str],
}

const DIGEST: &str = "image.digest=sha256:0000000000000000000000000000000000000000000000000000000000000000";
const MAP: &str = "\nkind: MutatingAdmissionPolicy\n";
const VAP: &str = "\nkind: ValidatingAdmissionPolicy\n";

/// Without further arguments helm renders for Kubernetes 1.36 with no optional kind served.
const SHAPES: [Shape; 9] = [
    Shape {
        name: "the defaults, on 1.36",
        args: &[
            "--api-versions",
            "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy",
        ],
        has: &[MAP, VAP, "\nkind: PodDisruptionBudget\n", "replicas: 2\n"],
        lacks: &["\nkind: TenantTemplate\n", "\nkind: ServiceMonitor\n"],
    },
    Shape {
        name: "Kubernetes 1.34, which serves no MutatingAdmissionPolicy",
        args: &["--kube-version", "1.34.0"],
        has: &[VAP],
        lacks: &[MAP],
    },
    Shape {
        name: "Kubernetes 1.35",
        args: &["--kube-version", "1.35.2"],
        has: &[VAP],
        lacks: &[MAP],
    },
    Shape {
        name: "a single replica without leader election",
        args: &["--set", "replicas=1,operator.leaderElection.enabled=false"],
        has: &["replicas: 1\n", "--leader-elect=false"],
        lacks: &["\nkind: PodDisruptionBudget\n"],
    },
    Shape {
        name: "no admission policies",
        args: &["--set", "policies.enabled=false"],
        has: &["\nkind: Deployment\n"],
        lacks: &[VAP, MAP],
    },
    Shape {
        name: "a mirror and a digest",
        args: &["--set", "global.imageRegistry=mirror.example.com", "--set", DIGEST],
        has: &["mirror.example.com/tenantry@sha256:0000"],
        lacks: &[],
    },
    Shape {
        name: "all of monitoring, with the real CRDs of the prometheus-operator",
        args: &[
            "--api-versions",
            "monitoring.coreos.com/v1",
            "--set",
            "monitoring.serviceMonitor.enabled=true,monitoring.prometheusRule.enabled=true,monitoring.dashboard.enabled=true",
        ],
        has: &[
            "\nkind: ServiceMonitor\n",
            "\nkind: PrometheusRule\n",
            "grafana_dashboard",
        ],
        lacks: &[],
    },
    Shape {
        name: "the templates of the six tiers",
        args: &["--set", "templates.install=true"],
        has: &["\nkind: TenantTemplate\n", "tier: WhiteLabel"],
        lacks: &[],
    },
    Shape {
        name: "everything else that can be turned on",
        args: &[
            "--set",
            "policies.mutating=always,flowSchema.enabled=true,policies.mfa.extraKey=example.com/amr,policies.exempt.groups={ops}",
            "--set",
            "networkPolicy.apiServerCidrs={10.0.0.0/8},hostUsers=false,priorityClassName=system-cluster-critical,commonLabels.team=platform",
        ],
        has: &[MAP, "\nkind: FlowSchema\n", "hostUsers: false"],
        lacks: &[],
    },
];

fn install(lab: &Lab) {
    for values in [&[][..], &["templates.install=true"]] {
        lab.install(values).unwrap();
    }
}

fn template(lab: &Lab, args: &[&str]) -> anyhow::Result<String> {
    let mut helm = lab.helm()?;
    helm.args(["template", RELEASE]).arg(lab.root().join("charts/tenantry"));
    helm.args(["--namespace", NAMESPACE]).args(args);
    run(&mut helm)
}

fn apply(lab: &Lab, file: &Path, dry: bool) -> anyhow::Result<String> {
    let mut kubectl = lab.kubectl()?;
    kubectl.args(["apply", "--server-side", "--force-conflicts", "--namespace", NAMESPACE]);
    kubectl.arg("--filename").arg(file);
    if dry {
        kubectl.arg("--dry-run=server");
    }
    run(&mut kubectl)
}

fn shape_fails(lab: &Lab, shape: &Shape) -> anyhow::Result<()> {
    let rendered = template(lab, shape.args)?;
    for wanted in shape.has {
        anyhow::ensure!(rendered.contains(wanted), "it lacks {wanted:?}");
    }
    for unwanted in shape.lacks {
        anyhow::ensure!(!rendered.contains(unwanted), "it has {unwanted:?}");
    }
    let file = lab.dir().join("shape.yaml");
    std::fs::write(&file, rendered)?;
    apply(lab, &file, true).map(drop)
}

#[test]
fn chart_is_accepted_in_all_shapes_and_uninstall_keeps_data() {
    let lab = Lab::own(common::root(), Audit::Off).unwrap();
    install(&lab);
    for file in controlplane::crd_files(Integration::PrometheusOperator).unwrap() {
        apply(&lab, &file, false).unwrap();
    }
    let wait = ["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"];
    run(lab.kubectl().unwrap().args(wait)).unwrap();

    let failures: Vec<String> = SHAPES
        .iter()
        .filter_map(|shape| Some(format!("{}: {:#}", shape.name, shape_fails(&lab, shape).err()?)))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));

    let mut uninstall = lab.helm().unwrap();
    run(uninstall.args(["uninstall", RELEASE, "--namespace", NAMESPACE])).unwrap();
    let kept = |what: &str| run(lab.kubectl().unwrap().args(["get", what, "--output", "name"])).unwrap();
    assert_eq!(kept("tenanttemplates").lines().count(), 6);
    assert_eq!(kept("validatingadmissionpolicies"), "");
    install(&lab);

    // The same with kubectl, over the objects that helm kept.
    run(lab
        .helm()
        .unwrap()
        .args(["uninstall", RELEASE, "--namespace", NAMESPACE]))
    .unwrap();
    for file in ["deploy/install.yaml", "deploy/install-mutating.yaml"] {
        apply(&lab, &lab.root().join(file), false).unwrap();
    }
    assert!(kept("validatingadmissionpolicies").contains("tenantry-managed-objects"));
    let kustomized = run(lab.kubectl().unwrap().arg("kustomize").arg(lab.root().join("deploy"))).unwrap();
    assert!(kustomized.contains(MAP) && kustomized.contains(VAP));

    // And away again, in the order that docs/uninstall.md gives.
    let page = std::fs::read_to_string(lab.root().join("docs/uninstall.md")).unwrap();
    let commands: Vec<_> = page
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("kubectl delete") && (line.contains("-f ") || line.contains("--selector")))
        .collect();
    assert_eq!(commands.len(), 3, "{commands:?}");
    let assets = lab.plane().unwrap().assets().search_path();
    for command in commands {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).current_dir(lab.root());
        run(shell.env("KUBECONFIG", lab.kubeconfig()).env("PATH", &assets)).unwrap();
    }
    assert!(
        !run(lab.kubectl().unwrap().args(["get", "crd"]))
            .unwrap()
            .contains("tenantry")
    );
    run(lab.kubectl().unwrap().args(["create", "namespace", "after"])).unwrap();
}

#[test]
fn chart_refuses_unknown_and_contradictory_values() {
    let assets = controlplane::Assets::from_env();
    let refused = |set: &str| {
        let mut helm = Command::new(assets.path(controlplane::Tool::Helm).unwrap());
        helm.args(["template", RELEASE])
            .arg(common::root().join("charts/tenantry"));
        run(helm.args(["--set", set])).expect_err(set).to_string()
    };
    for (set, said) in [
        ("replica=3", "replica"),
        ("operator.log.levle=debug", "levle"),
        ("replicas=many", "replicas"),
        ("image.digest=latest", "digest"),
        ("operator.leaderElection.enabled=false", "set replicas to 1"),
        ("serviceAccount.create=false", "serviceAccount.name"),
    ] {
        let error = refused(set);
        assert!(error.contains(said), "{set}: {error}");
    }
}

#[test]
fn rendered_chart_that_is_checked_in_is_current() {
    let assets = controlplane::Assets::from_env();
    let fresh = std::env::temp_dir().join(format!("tenantry-install-{:016x}", fastrand::u64(..)));
    std::fs::create_dir(&fresh).unwrap();
    let mut script = Command::new("sh");
    script.arg(common::root().join("tools/render-install.sh")).arg(&fresh);
    run(script.env("HELM", assets.path(controlplane::Tool::Helm).unwrap())).unwrap();
    let stale: Vec<_> = ["install.yaml", "install-mutating.yaml"]
        .into_iter()
        .filter(|name| {
            let read = |folder: &Path| std::fs::read_to_string(folder.join(name)).unwrap();
            read(&fresh) != read(&common::root().join("deploy"))
        })
        .collect();
    std::fs::remove_dir_all(&fresh).unwrap();
    assert!(
        stale.is_empty(),
        "deploy/{stale:?} is stale: run `make generate` and commit what changed"
    );
}

#[test]
fn the_chart_s_own_unit_tests_pass() {
    let assets = controlplane::Assets::from_env();
    let log = std::env::temp_dir().join(format!("tenantry-helm-unittest-{:016x}", fastrand::u64(..)));
    let status = Command::new(assets.path(controlplane::Tool::HelmUnittest).unwrap())
        .arg(common::root().join("charts/tenantry"))
        .stdin(Stdio::null())
        .stdout(File::create(&log).unwrap())
        .status()
        .unwrap();
    let printed = std::fs::read_to_string(&log).unwrap();
    std::fs::remove_file(&log).unwrap();
    assert!(status.success(), "{printed}");
}
