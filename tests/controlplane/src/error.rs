//! What can go wrong, each with its remedy.

use std::io;
use std::path::{Path, PathBuf};

use crate::tool::Component;

/// Why a control plane could not be found, built, started or stopped. Each message contains its cause, so no variant
/// has a source: printing the chain would repeat it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("failed to {action} {}: {why}", path.display())]
    Io {
        /// What was tried, such as `write`.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system answered.
        why: io::Error,
    },
    /// A program could not be started.
    #[error("failed to start `{program}`: {why}{remedy}")]
    Spawn {
        /// Name or path of the program.
        program: String,
        /// What the system answered.
        why: io::Error,
        /// What to do about it; empty, or starts with `; `.
        remedy: &'static str,
    },
    /// A program ran and failed.
    #[error("failed to {action}: `{command}` ended with {status}\n{output}")]
    Command {
        /// Its purpose.
        action: String,
        /// The command line.
        command: String,
        /// Its exit status.
        status: String,
        /// The last lines that it printed.
        output: String,
    },
    /// A component ended by itself.
    #[error("failed to run {component}: it ended with {status}; the end of {}:\n{tail}", log.display())]
    Exited {
        /// Which one.
        component: Component,
        /// Its exit status.
        status: String,
        /// Its log.
        log: PathBuf,
        /// The last lines of its log.
        tail: String,
    },
    /// A component did not become ready in time.
    #[error("failed to see {component} ready within {seconds} s: {why}; the end of {}:\n{tail}", log.display())]
    NotReady {
        /// Which one.
        component: Component,
        /// How long it was waited for.
        seconds: u64,
        /// The last answer.
        why: String,
        /// Its log.
        log: PathBuf,
        /// The last lines of its log.
        tail: String,
    },
    /// No free port was found.
    #[error("failed to find {0} free loopback ports; set net.ipv4.ip_local_port_range or end other servers")]
    Ports(usize),
    /// The cluster was given by `TENANTRY_TEST_KUBECONFIG` and is not ours to steer.
    #[error("failed to steer {0}: the cluster is given by TENANTRY_TEST_KUBECONFIG; unset it to start one of our own")]
    Attached(Component),
    /// A component that should run does not.
    #[error("failed to signal {0}: it is not running; start it first")]
    NotRunning(Component),
    /// Input that is not what it should be.
    #[error("failed to read {what}: {why}")]
    Malformed {
        /// What was read.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A detached control plane could not be brought up or down.
    #[error("failed to bring the control plane in {} {direction}: {why}", dir.display())]
    Detached {
        /// Its folder.
        dir: PathBuf,
        /// `up` or `down`.
        direction: &'static str,
        /// What is wrong.
        why: String,
    },
}

impl Error {
    /// For `map_err` on file operations.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |why| Self::Io { action, path, why }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn error_prints_its_cause_once_in_every_format() {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let spawn = Error::Spawn {
            program: "go".to_owned(),
            why: missing(),
            remedy: "; install Go",
        };
        for error in [Error::io("read", Path::new("/a"))(missing()), spawn] {
            assert!(error.to_string().contains(&missing().to_string()), "{error}");
            assert!(std::error::Error::source(&error).is_none(), "{error}");
        }
    }
}
