//! The operator as a process of its own.

use std::{
    fs::File,
    io::Write as _,
    net::TcpListener,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use k8s_openapi::api::{
    apps::v1::Deployment,
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{Container, EnvVar, ServiceAccount},
};
use kube::{Api, Client, api::PostParams};

use crate::{Lab, NAMESPACE, RELEASE, eventually};

/// How to start the operator.
#[derive(Clone, Debug)]
pub struct OperatorOptions {
    /// The binary.
    pub binary: PathBuf,
    /// Arguments after those of the Deployment; the last one wins.
    pub args: Vec<String>,
    /// The pod name that it uses.
    pub pod: String,
    /// API server to talk to instead of the kubeconfig's, for a proxy in between.
    pub server: Option<String>,
    /// Return without waiting for /readyz.
    pub no_wait: bool,
}

impl OperatorOptions {
    /// The given binary, with the Deployment's settings.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            args: Vec::new(),
            pod: "tenantry-0".to_owned(),
            server: None,
            no_wait: false,
        }
    }

    /// With another argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }
}

/// A running operator; killed when dropped.
pub struct Operator {
    child: Option<Child>,
    log: PathBuf,
    listen: String,
}

impl Operator {
    pub(crate) async fn start(lab: &Lab, options: OperatorOptions) -> anyhow::Result<Self> {
        let admin = lab.admin().await?;
        let container = container(&admin).await?;
        let id = fastrand::u64(..);
        let kubeconfig = lab.dir().join(format!("operator-{id:016x}.kubeconfig"));
        write_kubeconfig(lab, &admin, &kubeconfig, options.server.as_deref()).await?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let listen = format!("127.0.0.1:{port}");
        let log = lab.dir().join(format!("operator-{}-{id:016x}.log", options.pod));

        let mut command = Command::new(&options.binary);
        command
            .args(container.args.unwrap_or_default())
            .arg(format!("--listen={listen}"))
            .args(&options.args);
        command.env("KUBECONFIG", &kubeconfig);
        for EnvVar {
            name,
            value,
            value_from,
        } in container.env.unwrap_or_default()
        {
            let field = value_from.and_then(|from| from.field_ref).map(|field| field.field_path);
            let value = match field.as_deref() {
                None => value.unwrap_or_default(),
                Some("metadata.name") => options.pod.clone(),
                Some("metadata.namespace") => NAMESPACE.to_owned(),
                Some(other) => bail!("the Deployment's variable {name} takes {other}, which the lab does not know"),
            };
            command.env(name, value);
        }
        let out = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let child = command
            .spawn()
            .with_context(|| format!("failed to start {}", options.binary.display()))?;
        let mut operator = Self {
            child: Some(child),
            log,
            listen,
        };
        if !options.no_wait {
            operator.until_ready().await?;
        }
        Ok(operator)
    }

    /// Waits for /readyz.
    pub async fn until_ready(&mut self) -> anyhow::Result<()> {
        for _ in 0..1500 {
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                bail!("the operator ended with {status}: {}", self.log_text());
            }
            if get(&self.listen, "/readyz")
                .await
                .is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("the operator did not become ready: {}", self.log_text());
    }

    /// Whether it is still running.
    pub fn runs(&mut self) -> anyhow::Result<bool> {
        match &mut self.child {
            Some(child) => Ok(child.try_wait()?.is_none()),
            None => Ok(false),
        }
    }

    /// Process id.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Resident memory in bytes (Linux).
    pub fn resident_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?)).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_whitespace()
            .nth(1)?
            .parse::<u64>()
            .ok()
            .map(|kib| kib * 1024)
    }

    /// CPU seconds used so far (Linux).
    pub fn cpu_seconds(&self) -> Option<f64> {
        cpu_seconds_of(self.pid()?)
    }

    /// Its log so far.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// File of the log.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Address of its endpoints.
    pub fn listen(&self) -> &str {
        &self.listen
    }

    /// The text of /metrics.
    pub async fn metrics(&self) -> anyhow::Result<String> {
        get(&self.listen, "/metrics").await
    }

    /// SIGKILL, as a crash.
    pub fn kill(mut self) {
        self.end();
    }

    /// SIGTERM; returns the exit status.
    pub async fn stop(mut self) -> anyhow::Result<std::process::ExitStatus> {
        self.signal("TERM")?;
        let mut child = self.child.take().context("the operator is gone already")?;
        Ok(
            eventually("the operator to end after SIGTERM", Duration::from_secs(40), || {
                let ended = child.try_wait();
                async move { ended?.context("it still runs") }
            })
            .await,
        )
    }

    /// Sends a signal by its name: TERM, STOP, CONT.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        let pid = self.pid().context("the operator is gone already")?;
        crate::run(Command::new("kill").arg(format!("-{name}")).arg(pid.to_string())).map(drop)
    }

    /// Waits until it exits by itself.
    pub async fn ended(&mut self, limit: Duration) -> std::process::ExitStatus {
        let child = &mut self.child;
        eventually("the operator to end", limit, || {
            let ended = child.as_mut().map_or(Ok(None), Child::try_wait);
            async move { ended?.context("it still runs") }
        })
        .await
    }

    /// Leaves it running after this process; returns its process id.
    pub fn detach(mut self) -> Option<u32> {
        self.child.take().map(|child| child.id())
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have exited already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.end();
    }
}

/// CPU seconds that a process has used so far (Linux).
pub fn cpu_seconds_of(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    // USER_HZ is 100 on every Linux that Rust runs on.
    Some(ticks / 100.0)
}

async fn container(admin: &Client) -> anyhow::Result<Container> {
    let deployment = Api::<Deployment>::namespaced(admin.clone(), NAMESPACE)
        .get(RELEASE)
        .await?;
    let pod = deployment
        .spec
        .and_then(|spec| spec.template.spec)
        .context("the Deployment has no pod template")?;
    pod.containers
        .into_iter()
        .next()
        .context("the Deployment has no container")
}

async fn write_kubeconfig(lab: &Lab, admin: &Client, path: &Path, server: Option<&str>) -> anyhow::Result<()> {
    let accounts: Api<ServiceAccount> = Api::namespaced(admin.clone(), NAMESPACE);
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            expiration_seconds: Some(24 * 3600),
            ..Default::default()
        }),
        ..Default::default()
    };
    let answer = accounts
        .create_token_request(RELEASE, &PostParams::default(), &request)
        .await?;
    let token = answer.status.context("the API server gave no token")?.token;
    let text = std::fs::read_to_string(lab.kubeconfig())?;
    let mut file = kube::config::Kubeconfig::from_yaml(&text)?;
    for cluster in file.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        if let Some(server) = server {
            cluster.server = Some(server.to_owned());
        }
    }
    let mut value = serde_json::to_value(&file)?;
    let users = file
        .auth_infos
        .iter()
        .map(|named| serde_json::json!({ "name": named.name, "user": { "token": token } }));
    value["users"] = users.collect();
    // JSON is YAML. It has a token, so only its owner may read it.
    let mut file = File::options().create_new(true).write(true).mode(0o600).open(path)?;
    file.write_all(value.to_string().as_bytes())?;
    Ok(())
}

/// One HTTP request over loopback.
async fn get(address: &str, path: &str) -> anyhow::Result<String> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
