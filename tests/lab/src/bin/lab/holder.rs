//! An operator that outlives `lab up`. A holder process runs it as a kubelet would, and ends it on `stop` or when the
//! control plane has ended. The operator is the holder's child, so a signal never reaches another process.
//!
//! Files in the lab's folder: `operator.lock` (locked while the holder lives), `operator.ready` (its [`State`]),
//! `operator.stop` (written to end it), `holder.log`, and the folder `operator` with its log and credentials.

use std::{
    fs::{self, File, TryLockError},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use controlplane::detached;
use lab::{Lab, OperatorOptions};

const PAUSE: Duration = Duration::from_millis(50);
/// For the start, and for the end, which may take --shutdown-grace.
const LIMIT: Duration = Duration::from_secs(60);

/// An operator that is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Its process id.
    pub pid: u32,
    /// Its log.
    pub log: PathBuf,
    /// Address of /metrics, /livez and /readyz.
    pub listen: String,
    /// The binary and settings that it was started with: [`fingerprint`].
    pub fingerprint: String,
}

impl State {
    fn to_text(&self) -> String {
        let Self {
            pid,
            log,
            listen,
            fingerprint,
        } = self;
        format!("{pid}\n{listen}\n{fingerprint}\n{}\n", log.display())
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.lines().map(str::to_owned);
        Some(Self {
            pid: lines.next()?.parse().ok()?,
            listen: lines.next()?,
            fingerprint: lines.next()?,
            log: lines.next()?.into(),
        })
    }
}

/// The operator in `dir`, if it is ready.
pub fn status(dir: &Path) -> anyhow::Result<Option<State>> {
    if try_lock(dir)?.is_some() {
        return Ok(None);
    }
    Ok(fs::read_to_string(dir.join("operator.ready"))
        .ok()
        .and_then(|text| State::from_text(&text)))
}

/// Distinguishes one build of the operator from another.
pub fn fingerprint(binary: &Path) -> anyhow::Result<String> {
    let about = fs::metadata(binary).with_context(|| format!("failed to look at {}", binary.display()))?;
    Ok(format!("{} {:?}", about.len(), about.modified()?))
}

/// Starts a holder of `binary` that outlives this process, and waits until the operator is ready.
pub fn start(dir: &Path, binary: &Path) -> anyhow::Result<State> {
    for old in ["operator.ready", "operator.stop"] {
        remove(&dir.join(old))?;
    }
    let log = dir.join("holder.log");
    let mut child = Command::new(std::env::current_exe()?)
        .arg("hold")
        .arg("--dir")
        .arg(dir)
        .arg("--binary")
        .arg(binary)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log)?)
        .spawn()?;
    let started = Instant::now();
    loop {
        if let Some(state) = status(dir)? {
            return Ok(state);
        }
        if let Some(ended) = child.try_wait()? {
            let why = fs::read_to_string(&log).unwrap_or_default();
            bail!("the operator did not start ({ended}): {}", why.trim());
        }
        if started.elapsed() > LIMIT {
            bail!(
                "the operator is not ready after {} s; see {} and its log in {}",
                LIMIT.as_secs(),
                log.display(),
                dir.join("operator").display()
            );
        }
        thread::sleep(PAUSE);
    }
}

/// Ends the operator in `dir` and waits until it has exited. True if there was one.
pub fn end(dir: &Path) -> anyhow::Result<bool> {
    if !dir.join("operator.lock").exists() || try_lock(dir)?.is_some() {
        return Ok(false);
    }
    fs::write(dir.join("operator.stop"), "")?;
    let started = Instant::now();
    while try_lock(dir)?.is_none() {
        if started.elapsed() > LIMIT {
            bail!(
                "the operator does not end; see {} and its log in {}",
                dir.join("holder.log").display(),
                dir.join("operator").display()
            );
        }
        thread::sleep(PAUSE);
    }
    Ok(true)
}

/// Runs an operator until `stop` is written or the control plane in `dir` has ended. Restarts it when it exits.
pub async fn hold(dir: &Path, binary: &Path) -> anyhow::Result<()> {
    let _lock = patient_lock(dir)?;
    let files = dir.join("operator");
    remove_dir(&files)?;
    fs::create_dir_all(&files)?;
    let lab = Lab::attach(Path::new("."), &dir.join("kubeconfig"), &files);
    let wanted =
        || -> anyhow::Result<bool> { Ok(!dir.join("operator.stop").exists() && detached::status(dir)?.is_some()) };
    while wanted()? {
        let mut operator = lab.operator(OperatorOptions::new(binary)).await?;
        let state = State {
            pid: operator.pid().context("the operator has no process id")?,
            log: operator.log().to_owned(),
            listen: operator.listen().to_owned(),
            fingerprint: fingerprint(binary)?,
        };
        let (ready, new) = (dir.join("operator.ready"), dir.join("operator.ready.new"));
        fs::write(&new, state.to_text())?;
        fs::rename(&new, &ready)?;
        let mut runs = true;
        while runs && wanted()? {
            tokio::time::sleep(PAUSE).await;
            runs = operator.runs()?;
        }
        remove(&ready)?;
        if runs {
            operator.stop().await?;
        } else {
            // As a kubelet does; each start keeps its own log.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    Ok(())
}

/// Takes the lock, waiting for as long as another process's `status` may hold it.
fn patient_lock(dir: &Path) -> anyhow::Result<File> {
    let started = Instant::now();
    loop {
        if let Some(lock) = try_lock(dir)? {
            return Ok(lock);
        }
        if started.elapsed() > Duration::from_secs(2) {
            bail!("another operator is held in {}", dir.display());
        }
        thread::sleep(PAUSE);
    }
}

fn try_lock(dir: &Path) -> anyhow::Result<Option<File>> {
    let path = dir.join("operator.lock");
    let file = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("failed to open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("failed to lock {}", path.display())),
    }
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn remove_dir(path: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_read_back_from_its_file() {
        let state = State {
            pid: 7,
            log: "/a b/log".into(),
            listen: "127.0.0.1:1".into(),
            fingerprint: "12 SystemTime { a: 1 }".into(),
        };
        assert_eq!(State::from_text(&state.to_text()), Some(state));
    }
}
