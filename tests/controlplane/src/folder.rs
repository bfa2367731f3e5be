//! The folder of a control plane: one process at a time locks it, and only folders that we created are ever wiped.

use std::env;
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::audit::Audit;
use crate::error::Error;
use crate::tool::Component;

/// Marks a folder as ours, so that nothing else is ever wiped.
const MARK: &str = ".tenantry-controlplane";

/// Whether the user wants every folder left behind.
pub(crate) fn keep_wanted() -> bool {
    env::var_os("TENANTRY_KEEP").is_some_and(|v| v == "1")
}

/// Locks a folder for as long as the returned file is open. Refuses a folder that has other content or that another
/// control plane uses.
pub(crate) fn claim(dir: &Path) -> Result<File, Error> {
    let refused = |why: &str| Error::Malformed {
        what: format!("the folder {}", dir.display()),
        why: why.into(),
    };
    let mark = dir.join(MARK);
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries.count(),
        Err(error) if error.kind() == ErrorKind::NotFound => 0,
        Err(error) => return Err(Error::io("list", dir)(error)),
    };
    if entries > 0 && !mark.exists() {
        return Err(refused("it is not empty and no control plane's; name another"));
    }
    fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
    let file = File::create(&mark).map_err(Error::io("create", &mark))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(refused(
            "another control plane runs in it; name another or end that one",
        )),
        Err(TryLockError::Error(why)) => Err(Error::io("lock", &mark)(why)),
    }
}

/// Removes what an earlier run left in a claimed folder, and writes the audit policy.
pub(crate) fn prepare(dir: &Path, audit: Audit) -> Result<(), Error> {
    for old in ["etcd", "certs", "kubectl-cache"].map(|name| dir.join(name)) {
        match fs::remove_dir_all(&old) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(Error::io("remove", &old)(error)),
            _ => {}
        }
    }
    let logs = Component::ALL.map(|component| format!("{component}.log"));
    for old in logs.iter().map(String::as_str).chain(["audit.log", "keep"]) {
        // Absent as a rule; one that cannot be removed is appended to.
        let _ = fs::remove_file(dir.join(old));
    }
    audit
        .policy()
        .map_or(Ok(()), |policy| write_private(&dir.join("audit-policy.yaml"), &policy))
}

/// Writes a file for its owner's eyes only, as it may hold a token.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), Error> {
    let file = File::options()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut f| f.write_all(text.as_bytes()))
        .map_err(Error::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::{Scratch, new_dir};

    fn scratch() -> Scratch {
        Scratch(new_dir(&env::temp_dir(), "tenantry-folder-").unwrap())
    }

    #[test]
    fn a_folder_is_claimed_by_one_at_a_time() {
        let dir = scratch();
        let first = claim(&dir.0).unwrap();
        assert!(matches!(claim(&dir.0), Err(Error::Malformed { .. })));
        drop(first);
        claim(&dir.0).unwrap();
    }

    #[test]
    fn a_folder_with_something_else_in_it_is_refused() {
        let dir = scratch();
        fs::write(dir.0.join("thesis"), "years").unwrap();
        assert!(matches!(claim(&dir.0), Err(Error::Malformed { .. })));
    }

    #[test]
    fn what_an_earlier_run_left_is_removed() {
        let dir = scratch();
        let _claim = claim(&dir.0).unwrap();
        fs::create_dir(dir.0.join("etcd")).unwrap();
        fs::write(dir.0.join("audit.log"), "old").unwrap();
        prepare(&dir.0, Audit::Metadata).unwrap();
        assert!(!dir.0.join("etcd").exists() && !dir.0.join("audit.log").exists());
        assert!(dir.0.join("audit-policy.yaml").exists());
    }
}
