//! A control plane: started, steered, and gone with its owner.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::assets::Assets;
use crate::audit::Audit;
use crate::error::Error;
use crate::flags::{self, Ports};
use crate::folder;
use crate::go::say;
use crate::kubeconfig::{self, Endpoint};
use crate::ports::free_ports;
use crate::process::{Janitor, Process, Signal};
use crate::ready;
use crate::scratch::{new_dir, random_hex};
use crate::tool::{Component, Tool};

/// Ports are chosen, let go and then used: someone else may take one in between.
const ATTEMPTS: u8 = 5;
/// Between asking a component to end and killing it.
const PATIENCE: Duration = Duration::from_secs(15);

/// Settings of a control plane.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How much the API server writes to [`ControlPlane::audit_log`].
    pub audit: Audit,
    /// Further flags of kube-apiserver, such as `--v=4`; they win over ours.
    pub api_server_flags: Vec<String>,
    /// Further flags of kube-controller-manager; they win over ours.
    pub controller_manager_flags: Vec<String>,
    /// Requests per second that kube-controller-manager's clients may send, with twice as many in a burst. By default
    /// kube-controller-manager's own (20, 30), which real clusters have. Its rate limit is most of the time to start:
    /// some 5 s at the default, under 1 s at 200.
    pub controller_manager_qps: Option<u32>,
    /// Where data, logs and kubeconfigs go: a folder that is absent, empty, or was used so before. Else a new one below
    /// the system's temporary folder.
    pub dir: Option<PathBuf>,
}

/// etcd, kube-apiserver and kube-controller-manager on loopback, or an attached cluster.
///
/// All methods take `&self` and may be called from any thread. All its processes end when it is dropped, and when the
/// owning process ends for any reason. The folder is removed then, unless `TENANTRY_KEEP=1` is set, the thread is
/// panicking, or [`ControlPlane::keep`] was called.
#[derive(Debug)]
pub struct ControlPlane {
    assets: Assets,
    dir: PathBuf,
    kubeconfig: PathBuf,
    endpoint: Endpoint,
    token: Option<String>,
    kubectl: PathBuf,
    /// None of an attached cluster.
    own: Option<Own>,
    janitor: Option<Janitor>,
    /// The lock on a folder of our own while it is in use.
    _claim: Option<File>,
}

/// The processes, at the index of their component.
#[derive(Debug)]
struct Own {
    audit: Audit,
    ports: Ports,
    commands: [(PathBuf, Vec<String>); 3],
    running: [Mutex<Option<Process>>; 3],
}

impl ControlPlane {
    /// Starts a control plane and returns when it serves: `/readyz` of the API server is good, and the controller
    /// manager has made the first ServiceAccount. With `TENANTRY_TEST_KUBECONFIG` set it starts nothing and attaches to
    /// that cluster, where the options mean nothing.
    pub fn start(options: Options) -> Result<Self, Error> {
        match env::var_os("TENANTRY_TEST_KUBECONFIG").filter(|v| !v.is_empty()) {
            Some(path) => Self::attach(Assets::from_env(), &PathBuf::from(path)),
            None => Self::start_own(options),
        }
    }

    fn attach(assets: Assets, kubeconfig: &Path) -> Result<Self, Error> {
        let kubectl = assets.path(Tool::Kubectl)?;
        let mut command = Command::new(&kubectl);
        command.arg("--kubeconfig").arg(kubeconfig).args([
            "config",
            "view",
            "--minify",
            "--flatten",
            "--raw",
            "-o",
            "json",
        ]);
        let text = ready::output(command, "read the kubeconfig of TENANTRY_TEST_KUBECONFIG")?;
        let (endpoint, token) = kubeconfig::parse(&text)?;
        let dir = new_dir(&env::temp_dir(), "tenantry-attached-")?;
        let janitor = Some(Janitor::spawn(&dir)?);
        Ok(Self {
            assets,
            dir,
            kubeconfig: kubeconfig.to_path_buf(),
            endpoint,
            token,
            kubectl,
            own: None,
            janitor,
            _claim: None,
        })
    }

    /// As [`ControlPlane::start`], but never attaches to a cluster: for callers that stop components or measure.
    #[allow(clippy::needless_pass_by_value, reason = "callers write the options in place")]
    pub fn start_own(options: Options) -> Result<Self, Error> {
        let assets = Assets::from_env();
        assets.ensure(&Tool::CONTROL_PLANE)?;
        let dir = match &options.dir {
            Some(dir) => std::path::absolute(dir).map_err(Error::io("find", dir))?,
            None => new_dir(&env::temp_dir(), "tenantry-cp-")?,
        };
        let claim = Some(folder::claim(&dir)?);
        folder::prepare(&dir, options.audit)?;
        let janitor = if folder::keep_wanted() {
            None
        } else {
            Some(Janitor::spawn(&dir)?)
        };
        let token = random_hex()?;
        folder::write_private(
            &dir.join("tokens.csv"),
            &format!("{token},admin,admin,system:masters\n"),
        )?;
        let mut plane = Self {
            kubectl: assets.path(Tool::Kubectl)?,
            kubeconfig: dir.join("kubeconfig"),
            endpoint: Endpoint {
                url: String::new(),
                ca_data: String::new(),
            },
            token: Some(token),
            own: None,
            assets,
            dir,
            janitor,
            _claim: claim,
        };
        for attempt in 1.. {
            match plane.try_start(&options) {
                Err(Error::Exited { component, tail, .. })
                    if attempt < ATTEMPTS && tail.contains("address already in use") =>
                {
                    say(&format!("{component} lost its port to someone else; trying another"));
                    plane.end_all();
                    folder::prepare(&plane.dir, options.audit)?;
                }
                result => return result.map(|()| plane),
            }
        }
        Err(Error::Ports(4))
    }

    fn try_start(&mut self, options: &Options) -> Result<(), Error> {
        let [etcd, etcd_peer, api_server, controller_manager] = free_ports()?;
        let ports = Ports {
            etcd,
            etcd_peer,
            api_server,
            controller_manager,
        };
        let Options {
            audit,
            api_server_flags,
            controller_manager_flags,
            controller_manager_qps,
            dir: _,
        } = options;
        let program = |component: Component| self.assets.path(component.tool());
        let commands = [
            (program(Component::Etcd)?, flags::etcd(&self.dir, ports)),
            (
                program(Component::ApiServer)?,
                flags::api_server(&self.dir, ports, *audit, api_server_flags),
            ),
            (
                program(Component::ControllerManager)?,
                flags::controller_manager(&self.dir, ports, *controller_manager_qps, controller_manager_flags),
            ),
        ];
        self.own = Some(Own {
            audit: *audit,
            ports,
            commands,
            running: Default::default(),
        });
        self.endpoint = Endpoint {
            url: format!("https://127.0.0.1:{api_server}"),
            ca_data: String::new(),
        };

        self.spawn(Component::Etcd)?;
        self.wait_ready(Component::Etcd)?;
        self.spawn(Component::ApiServer)?;
        // Another process may have taken its port first; its certificate tells the two apart.
        self.poll(Component::ApiServer, || {
            ready::port(api_server).and_then(|()| self.ca_data().map(drop))
        })?;
        self.write_admin_kubeconfig()?;
        self.wait_ready(Component::ApiServer)?;
        self.spawn(Component::ControllerManager)?;
        self.wait_ready(Component::ControllerManager)
    }

    /// The CA that the API server made for itself.
    fn ca_data(&self) -> Result<String, String> {
        let pem = fs::read_to_string(self.dir.join("certs/apiserver.crt")).map_err(|e| e.to_string())?;
        let ca = kubeconfig::last_certificate(&pem).map_err(|e| e.to_string())?;
        Ok(kubeconfig::base64(ca.as_bytes()))
    }

    fn write_admin_kubeconfig(&mut self) -> Result<(), Error> {
        self.endpoint.ca_data = self.ca_data().map_err(|why| Error::Malformed {
            what: "the API server's certificate".into(),
            why,
        })?;
        let token = self.token.as_deref().unwrap_or_default();
        folder::write_private(&self.kubeconfig, &kubeconfig::render(&self.endpoint, "admin", token))
    }

    /// Kubeconfig of the cluster's admin.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// `https://127.0.0.1:PORT` of the API server.
    pub fn url(&self) -> &str {
        &self.endpoint.url
    }

    /// `http://127.0.0.1:PORT` of etcd, which does not authenticate clients; none for an attached cluster.
    pub fn etcd_url(&self) -> Option<String> {
        let own = self.own.as_ref()?;
        Some(format!("http://127.0.0.1:{}", own.ports.etcd))
    }

    /// The admin's bearer token (group `system:masters`); none where an attached cluster authenticates otherwise.
    pub fn admin_token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Writes a kubeconfig with `token`, such as a ServiceAccount's, and returns its path.
    /// `name` names the file and must be made of letters, digits, `-` and `.`.
    pub fn kubeconfig_for_token(&self, name: &str, token: &str) -> Result<PathBuf, Error> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        if name.is_empty() || !name.chars().all(fits) {
            let why = "it must be made of letters, digits, `-` and `.`".into();
            return Err(Error::Malformed {
                what: format!("the kubeconfig name {name:?}"),
                why,
            });
        }
        let path = self.dir.join(format!("kubeconfig-{name}"));
        folder::write_private(&path, &kubeconfig::render(&self.endpoint, name, token))?;
        Ok(path)
    }

    /// Where the programs are.
    pub fn assets(&self) -> &Assets {
        &self.assets
    }

    /// kubectl with the admin's kubeconfig; add arguments and run it.
    pub fn kubectl(&self) -> Command {
        self.client(&self.kubectl)
    }

    /// helm with the admin's kubeconfig; builds helm first where nobody has it.
    pub fn helm(&self) -> Result<Command, Error> {
        Ok(self.client(&self.assets.path(Tool::Helm)?))
    }

    /// kubectl keys its discovery cache by address, and another cluster may use our address later: so we keep the cache
    /// with the data.
    fn client(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .env("KUBECACHEDIR", self.dir.join("kubectl-cache"));
        command
    }

    /// Where data, logs and kubeconfigs are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The audit log, one JSON event a line; none where audit is off or the cluster is attached. The API server writes an
    /// event as its request ends, which may be a moment after the client has read the answer.
    pub fn audit_log(&self) -> Option<PathBuf> {
        self.own
            .as_ref()
            .filter(|own| own.audit != Audit::Off)
            .map(|_| self.dir.join("audit.log"))
    }

    /// What a component printed.
    pub fn log(&self, component: Component) -> PathBuf {
        self.dir.join(format!("{component}.log"))
    }

    /// Keeps the folder when everything ends, for debugging.
    pub fn keep(&self) -> Result<(), Error> {
        let path = self.dir.join("keep");
        File::create(&path).map(drop).map_err(Error::io("create", &path))
    }

    /// Process id of a component that runs.
    pub fn pid(&self, component: Component) -> Option<u32> {
        let mut slot = lock(&self.own.as_ref()?.running[component as usize]);
        slot.as_mut().and_then(Process::pid_if_running)
    }

    /// All components that run, with their process ids.
    pub fn pids(&self) -> Vec<(Component, u32)> {
        Component::ALL
            .into_iter()
            .filter_map(|c| Some((c, self.pid(c)?)))
            .collect()
    }

    /// Resident memory of a component in bytes; none if it does not run or the system does not report it.
    pub fn resident_bytes(&self, component: Component) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid(component)?)).ok()?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
        Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
    }

    /// Asks a component to end and waits; kills it after 15 s. One that does not run is no error.
    pub fn stop(&self, component: Component) -> Result<(), Error> {
        let mut slot = lock(&self.own(component)?.running[component as usize]);
        if let Some(process) = slot.as_mut() {
            // A stopped process cannot handle SIGTERM.
            process.signal(Signal::Cont);
            process.signal(Signal::Term);
            process.wait(PATIENCE);
        }
        *slot = None;
        Ok(())
    }

    /// Ends a component by SIGKILL and waits for its end. One that does not run is no error.
    pub fn kill(&self, component: Component) -> Result<(), Error> {
        *lock(&self.own(component)?.running[component as usize]) = None;
        Ok(())
    }

    /// Freezes a component by SIGSTOP: it keeps its connections and answers nobody.
    pub fn pause(&self, component: Component) -> Result<(), Error> {
        self.signal(component, Signal::Stop)
    }

    /// Lets a frozen component go on.
    pub fn resume(&self, component: Component) -> Result<(), Error> {
        self.signal(component, Signal::Cont)
    }

    /// Starts a component that was stopped or killed, on its old port and data, and waits until it serves.
    pub fn start_component(&self, component: Component) -> Result<(), Error> {
        self.spawn(component)?;
        self.wait_ready(component)
    }

    /// [`ControlPlane::stop`], then [`ControlPlane::start_component`].
    pub fn restart(&self, component: Component) -> Result<(), Error> {
        self.stop(component)?;
        self.start_component(component)
    }

    fn own(&self, component: Component) -> Result<&Own, Error> {
        self.own.as_ref().ok_or(Error::Attached(component))
    }

    fn signal(&self, component: Component, signal: Signal) -> Result<(), Error> {
        let mut slot = lock(&self.own(component)?.running[component as usize]);
        let process = slot.as_mut().ok_or(Error::NotRunning(component))?;
        process.pid_if_running().ok_or(Error::NotRunning(component))?;
        process.signal(signal);
        Ok(())
    }

    fn spawn(&self, component: Component) -> Result<(), Error> {
        let own = self.own(component)?;
        let (program, args) = &own.commands[component as usize];
        let mut slot = lock(&own.running[component as usize]);
        if slot.as_mut().is_none_or(|p| p.exited().is_some()) {
            *slot = Some(Process::spawn(program, args, &self.dir, &self.log(component))?);
        }
        Ok(())
    }

    /// Waits until a component serves; at most two minutes, and not for one that has ended. After etcd was away, the API
    /// server needs this too: it serves again a moment later than etcd does.
    pub fn wait_ready(&self, component: Component) -> Result<(), Error> {
        let ports = self.own(component)?.ports;
        match component {
            Component::Etcd => self.poll(component, || ready::etcd(ports.etcd)),
            Component::ApiServer => {
                self.await_port(component, ports.api_server)?;
                self.poll(component, || ready::get(self.kubectl(), "/readyz"))
            }
            Component::ControllerManager => {
                self.await_port(component, ports.controller_manager)?;
                self.poll(component, || {
                    ready::controller_manager(self.kubectl(), ports.controller_manager, &self.dir)
                })?;
                self.poll(component, || {
                    ready::get(self.kubectl(), "/api/v1/namespaces/default/serviceaccounts/default")
                })
            }
        }
    }

    fn await_port(&self, component: Component, port: u16) -> Result<(), Error> {
        self.poll(component, || ready::port(port))
    }

    /// Asks until the answer is good, the component has ended, or time is up.
    fn poll(&self, component: Component, ask: impl FnMut() -> Result<(), String>) -> Result<(), Error> {
        let own = self.own(component)?;
        let exited = || match lock(&own.running[component as usize]).as_mut() {
            Some(process) => process.exited().map(|status| status.to_string()),
            None => Some("being stopped".to_owned()),
        };
        ready::poll(component, &self.log(component), exited, ask)
    }

    /// Kills all, last started first: the data is removed anyway.
    fn end_all(&mut self) {
        let Some(own) = self.own.take() else { return };
        for slot in own.running.iter().rev() {
            drop(lock(slot).take());
        }
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.end_all();
        let keep = folder::keep_wanted() || std::thread::panicking() || self.dir.join("keep").exists();
        if keep {
            say(&format!("left behind for a look: {}", self.dir.display()));
        } else {
            // If this fails, the janitor's try would fail too.
            let _ = fs::remove_dir_all(&self.dir);
        }
        if let Some(janitor) = self.janitor.take() {
            janitor.dismiss();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A test that panicked while it held the lock leaves a process handle that is as good as before.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
