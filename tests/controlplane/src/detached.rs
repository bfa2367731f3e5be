//! A control plane that outlives the command that started it. A supervisor process runs it until `stop` is written or a
//! time limit has passed.
//!
//! Its folder has these files:
//! - `lock`: the supervisor locks it, so the kernel knows whether the supervisor is alive.
//! - `ready`: [`State`], written when the control plane serves.
//! - `stop`: a command writes it to end the control plane.
//! - `kubeconfig`, `supervisor.log`, and the control plane's own folder `data-...`.

use std::fs::{self, File, TryLockError};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::audit::Audit;
use crate::cluster::{ControlPlane, Options};
use crate::error::Error;
use crate::scratch::new_dir;

/// How long a control plane runs if no command stops it.
pub const DEFAULT_TTL: Duration = Duration::from_secs(8 * 3600);

const PAUSE: Duration = Duration::from_millis(100);
/// Building the binaries on a slow machine is part of it.
const UP_LIMIT: Duration = Duration::from_secs(3600);
const DOWN_LIMIT: Duration = Duration::from_secs(60);

/// Settings of a detached control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// As in [`Options`].
    pub audit: Audit,
    /// As in [`Options`].
    pub controller_manager_qps: Option<u32>,
    /// When it ends by itself.
    pub ttl: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            audit: Audit::Off,
            controller_manager_qps: None,
            ttl: DEFAULT_TTL,
        }
    }
}

/// A detached control plane that serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The admin's kubeconfig.
    pub kubeconfig: PathBuf,
    /// `https://127.0.0.1:PORT`
    pub url: String,
    /// Process id of its holder.
    pub pid: u32,
    /// When it ends by itself, in seconds since 1970.
    pub ends_at: u64,
}

impl State {
    fn to_text(&self) -> String {
        let Self {
            kubeconfig,
            url,
            pid,
            ends_at,
        } = self;
        format!(
            "kubeconfig={}\nurl={url}\npid={pid}\nends_at={ends_at}\n",
            kubeconfig.display()
        )
    }

    fn from_text(text: &str) -> Option<Self> {
        let value = |key: &str| {
            text.lines()
                .find_map(|l| l.split_once('=').filter(|(k, _)| *k == key))
                .map(|(_, v)| v)
        };
        Some(Self {
            kubeconfig: PathBuf::from(value("kubeconfig")?),
            url: value("url")?.to_owned(),
            pid: value("pid")?.parse().ok()?,
            ends_at: value("ends_at")?.parse().ok()?,
        })
    }
}

/// `${XDG_STATE_HOME:-$HOME/.local/state}/tenantry/controlplane`
pub fn default_dir() -> PathBuf {
    let absolute = |key: &str| std::env::var_os(key).map(PathBuf::from).filter(|p| p.is_absolute());
    let base = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|h| h.join(".local/state")));
    base.unwrap_or_else(std::env::temp_dir).join("tenantry/controlplane")
}

/// What runs in `dir`, if it serves.
pub fn status(dir: &Path) -> Result<Option<State>, Error> {
    if !dir.join("lock").exists() || try_lock(dir)?.is_some() {
        return Ok(None);
    }
    Ok(fs::read_to_string(dir.join("ready"))
        .ok()
        .and_then(|text| State::from_text(&text)))
}

/// Starts one in `dir`, or finds the one that runs. `program` is the `controlplane` binary, which is run as
/// `PROGRAM supervise --dir DIR --audit AUDIT --ttl SECONDS [--qps N]` and must call [`supervise`].
pub fn up(program: &Path, dir: &Path, settings: Settings) -> Result<State, Error> {
    fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
    let failed = |why: String| Error::Detached {
        dir: dir.to_path_buf(),
        direction: "up",
        why,
    };
    let log = dir.join("supervisor.log");
    let mut child = None;
    if let Some(lock) = try_lock(dir)? {
        remove(&dir.join("ready"))?;
        remove(&dir.join("stop"))?;
        let log_file = File::create(&log).map_err(Error::io("create", &log))?;
        drop(lock);
        let mut command = Command::new(program);
        let Settings {
            audit,
            controller_manager_qps,
            ttl,
        } = settings;
        command
            .arg("supervise")
            .arg("--dir")
            .arg(dir)
            .args(["--audit", audit.name()]);
        command.arg("--ttl").arg(ttl.as_secs().to_string());
        if let Some(qps) = controller_manager_qps {
            command.arg("--qps").arg(qps.to_string());
        }
        command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log_file);
        let program = program.display().to_string();
        child = Some(command.spawn().map_err(|why| Error::Spawn {
            program,
            why,
            remedy: "",
        })?);
    }
    let started = Instant::now();
    let mut shown = 0;
    loop {
        shown = show_new(&log, shown);
        if let Some(state) = status(dir)? {
            return Ok(state);
        }
        let ended = child.as_mut().is_some_and(|c| !matches!(c.try_wait(), Ok(None)));
        // Another `up` may have won the race; then its supervisor holds the lock.
        if (ended || child.is_none()) && try_lock(dir)?.is_some() {
            show_new(&log, shown);
            return Err(failed(format!(
                "its holder ended, and said why above and in {}",
                log.display()
            )));
        }
        if started.elapsed() > UP_LIMIT {
            return Err(failed(format!(
                "nothing serves after {} s; see {}",
                UP_LIMIT.as_secs(),
                log.display()
            )));
        }
        thread::sleep(PAUSE);
    }
}

/// Ends the one in `dir` and waits until all its processes have. True if there was one.
pub fn down(dir: &Path) -> Result<bool, Error> {
    if !dir.join("lock").exists() || try_lock(dir)?.is_some() {
        return Ok(false);
    }
    let stop = dir.join("stop");
    fs::write(&stop, "").map_err(Error::io("write", &stop))?;
    let started = Instant::now();
    while try_lock(dir)?.is_none() {
        if started.elapsed() > DOWN_LIMIT {
            let pid = fs::read_to_string(dir.join("ready"))
                .ok()
                .and_then(|t| State::from_text(&t))
                .map(|s| s.pid);
            let why = pid.map_or("its holder does not answer".into(), |p| {
                format!("process {p} does not answer; kill it")
            });
            return Err(Error::Detached {
                dir: dir.to_path_buf(),
                direction: "down",
                why,
            });
        }
        thread::sleep(PAUSE);
    }
    Ok(true)
}

/// Runs a control plane in `dir` until `stop` is written or `ttl` is over. Returns at once if another supervisor runs.
pub fn supervise(dir: &Path, settings: Settings) -> Result<(), Error> {
    let Settings {
        audit,
        controller_manager_qps,
        ttl,
    } = settings;
    let Some(_lock) = patient_lock(dir)? else { return Ok(()) };
    // A new folder: if an earlier supervisor was killed, its janitor may still be removing the old one.
    let data = new_dir(dir, "data-")?;
    let plane = ControlPlane::start_own(Options {
        audit,
        controller_manager_qps,
        dir: Some(data),
        ..Options::default()
    })?;
    let kubeconfig = dir.join("kubeconfig");
    fs::copy(plane.kubeconfig(), &kubeconfig).map_err(Error::io("write", &kubeconfig))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let state = State {
        kubeconfig: kubeconfig.clone(),
        url: plane.url().to_owned(),
        pid: std::process::id(),
        ends_at: (now + ttl).as_secs(),
    };
    let (ready, new) = (dir.join("ready"), dir.join("ready.new"));
    fs::write(&new, state.to_text())
        .and_then(|()| fs::rename(&new, &ready))
        .map_err(Error::io("write", &ready))?;
    let started = Instant::now();
    while started.elapsed() < ttl && !dir.join("stop").exists() {
        thread::sleep(PAUSE);
    }
    remove(&ready)?;
    remove(&kubeconfig)?;
    drop(plane);
    remove(&dir.join("stop"))
}

/// None if another process holds the lock for longer than a `status` command does.
fn patient_lock(dir: &Path) -> Result<Option<File>, Error> {
    let started = Instant::now();
    loop {
        let lock = try_lock(dir)?;
        if lock.is_some() || started.elapsed() > Duration::from_secs(2) {
            return Ok(lock);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn try_lock(dir: &Path) -> Result<Option<File>, Error> {
    let path = dir.join("lock");
    let file = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(Error::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(why)) => Err(Error::io("lock", &path)(why)),
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Prints what the supervisor has logged since: the progress of the build.
fn show_new(log: &Path, shown: usize) -> usize {
    use std::io::Write as _;
    let text = fs::read(log).unwrap_or_default();
    let new = text.get(shown..).unwrap_or_default();
    let _ = std::io::stderr().write_all(new);
    shown + new.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn state_is_read_back_from_its_file() {
        let state = State {
            kubeconfig: "/a b/k=c".into(),
            url: "https://127.0.0.1:1".into(),
            pid: 7,
            ends_at: 9,
        };
        assert_eq!(State::from_text(&state.to_text()), Some(state));
    }

    #[test]
    fn ready_file_is_ignored_without_a_running_supervisor() {
        let dir = Scratch(new_dir(&std::env::temp_dir(), "tenantry-detached-").unwrap());
        let state = State {
            kubeconfig: "/k".into(),
            url: "u".into(),
            pid: 7,
            ends_at: 9,
        };
        fs::write(dir.0.join("ready"), state.to_text()).unwrap();
        assert_eq!(status(&dir.0).unwrap(), None);
        let lock = try_lock(&dir.0).unwrap();
        assert_eq!(status(&dir.0).unwrap(), Some(state));
        drop(lock);
        assert!(!down(&dir.0).unwrap());
    }
}
