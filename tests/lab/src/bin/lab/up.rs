//! `lab up`: five steps, each printed before it starts, with its result.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use controlplane::{Assets, Tool, detached};
use kube::Client;
use lab::{Lab, NAMESPACE, RELEASE};

use crate::{Flags, exists, guide, holder, left, say, table};

/// Long enough for a slow machine; tenants take about a second.
const TENANTS_LIMIT: Duration = Duration::from_secs(120);

/// Starts everything, or updates it.
pub async fn up(flags: &Flags) -> anyhow::Result<()> {
    let root = flags.root.canonicalize().context("failed to find the repository")?;
    exists(
        &root.join("charts/tenantry/Chart.yaml"),
        "run it in the repository, or name that with --root",
    )?;
    let binary = flags.binary()?;
    let assets = Assets::from_env();
    assets.ensure(&[&Tool::CONTROL_PLANE[..], &[Tool::Helm]].concat())?;

    step(
        1,
        "start a Kubernetes control plane: etcd, kube-apiserver, kube-controller-manager",
    );
    let started = Instant::now();
    let was_up = detached::status(&flags.dir)?.is_some();
    let plane = detached::up(&std::env::current_exe()?, &flags.dir, flags.settings)?;
    let lab = Lab::attach(&root, &plane.kubeconfig, &flags.dir);
    let client = lab.admin().await?;
    let version = client.apiserver_version().await?.git_version;
    let was_up = if was_up { "was up already" } else { "is up" };
    done(started, &format!("Kubernetes {version} {was_up} at {}", plane.url));

    step(
        2,
        "install the chart with helm, with a template for each of the six tiers",
    );
    let started = Instant::now();
    if !served(&client).await? {
        // Helm asks the API server about every object before it creates one, so templates come after their CRD.
        lab.install(&[])?;
    }
    lab.install(&["templates.install=true"])?;
    done(
        started,
        &format!("release {RELEASE} is installed in namespace {NAMESPACE}"),
    );

    step(
        3,
        "start the operator, with the ServiceAccount and arguments of that release",
    );
    let started = Instant::now();
    done(started, &operator(&flags.dir, &binary)?);

    step(4, "create three example tenants with kubectl");
    let started = Instant::now();
    done(started, examples(&lab, &root)?);

    step(
        5,
        "wait until the operator has created namespaces, guards and rights of each tenant",
    );
    let started = Instant::now();
    let rows = table::watch(&client, TENANTS_LIMIT).await?;
    if rows.is_empty() || !rows.iter().all(table::Row::is_settled) {
        bail!(
            "not every tenant is Ready after {} s; `make status` shows the path of the operator's log, `make stop` ends everything",
            TENANTS_LIMIT.as_secs()
        );
    }
    for row in &rows {
        if let Some(message) = &row.stalled {
            say(&format!("      {} needs somebody to act: {message}", row.name()));
        }
    }
    if rows.iter().all(|row| row.ready) {
        done(started, "every tenant is Ready");
    }

    let env = write_env(&flags.dir, &plane.kubeconfig, &assets, &binary)?;
    guide::print(&plane.kubeconfig, &env, &left(plane.ends_at));
    Ok(())
}

fn step(number: u8, what: &str) {
    say(&format!("[{number}/5] {what}"));
}

fn done(started: Instant, what: &str) {
    say(&format!("      {what} ({:.1} s)", started.elapsed().as_secs_f64()));
}

/// Creates the example tenants. Tenants that exist stay unchanged, so a user's edits survive.
fn examples(lab: &Lab, root: &Path) -> anyhow::Result<&'static str> {
    let output = lab
        .kubectl()?
        .args(["create", "--save-config"])
        .arg("--filename")
        .arg(root.join("examples"))
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let troubles: Vec<_> = said.lines().filter(|line| !line.contains("(AlreadyExists)")).collect();
    if !output.status.success() && !troubles.is_empty() {
        bail!("kubectl create --filename examples: {}", troubles.join("\n"));
    }
    Ok(if output.status.success() {
        "created the tenants in examples/"
    } else {
        "the tenants in examples/ existed already and were not changed"
    })
}

/// Whether the CRDs exist.
async fn served(client: &Client) -> anyhow::Result<bool> {
    let groups = client.list_api_groups().await?;
    Ok(groups.groups.iter().any(|group| group.name == "tenantry.dev"))
}

/// Starts the operator; if the same build runs already, leaves it alone.
fn operator(dir: &Path, binary: &Path) -> anyhow::Result<String> {
    let running = holder::status(dir)?;
    if let Some(state) = &running
        && state.fingerprint == holder::fingerprint(binary)?
    {
        return Ok(format!("process {} runs already", state.pid));
    }
    holder::end(dir)?;
    let state = holder::start(dir, binary)?;
    let was = if running.is_some() {
        "replaces another build"
    } else {
        "is ready"
    };
    Ok(format!("process {} {was}; log in {}", state.pid, state.log.display()))
}

/// A file for a shell to read: KUBECONFIG, and kubectl, helm and tenantry in PATH.
fn write_env(dir: &Path, kubeconfig: &Path, assets: &Assets, binary: &Path) -> anyhow::Result<PathBuf> {
    let path = dir.join("env");
    let assets = assets.dirs();
    let dirs: Vec<_> = assets
        .iter()
        .map(|dir| &**dir)
        .chain(binary.parent())
        .map(|dir| dir.display().to_string())
        .collect();
    let text = format!(
        "export KUBECONFIG='{}'\nexport KUBECACHEDIR='{}'\nexport PATH='{}':\"$PATH\"\n",
        kubeconfig.display(),
        dir.join("kubectl-cache").display(),
        dirs.join(":")
    );
    fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
    Ok(path)
}
