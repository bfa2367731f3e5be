//! A child that cannot outlive this process.
//!
//! Each component runs below a small shell that has the other end of a pipe. When this process ends for any reason, the
//! kernel closes the pipe and the shell kills its component. So no component ever runs unwatched, we need no second
//! binary, and it works on every Unix. Linux's parent-death signal would not do: it fires when the *thread* that
//! started the component ends, and test threads do end.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;

/// `$@` is the component. Standard input: names of signals to send. Standard output: the component's process id, then
/// each signal once sent. Standard error, and all that the component prints: the log.
const KEEPER: &str = r#"
exec 3<&0 </dev/null
"$@" 3<&- >&2 &
child=$!
echo "$child"
{
  while read -r signal <&3; do kill -s "$signal" "$child"; echo "$signal"; done
  kill -s KILL "$child"
} 2>/dev/null &
watcher=$!
exec 3<&- >&-
wait "$child"
status=$?
kill -s KILL "$watcher"
exit "$status"
"#;

/// `$1` is a folder to remove if this process ends without writing `done`, unless the folder has a file `keep`.
const JANITOR: &str = r#"
read -r word && [ "$word" = done ] && exit
[ -e "$1/keep" ] && exit
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  rm -rf "$1" 2>/dev/null
  [ -e "$1" ] || exit
  sleep 0.25
done
"#;

/// What to send to a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// End in order.
    Term,
    /// End now.
    Kill,
    /// Freeze.
    Stop,
    /// Go on.
    Cont,
}

impl Signal {
    const fn name(self) -> &'static str {
        match self {
            Self::Term => "TERM",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Cont => "CONT",
        }
    }
}

/// A running component; ends when this is dropped, and when this process ends.
#[derive(Debug)]
pub(crate) struct Process {
    keeper: Child,
    signals: ChildStdin,
    answers: BufReader<ChildStdout>,
    pid: u32,
}

impl Process {
    /// Starts `program` in `dir`, its output appended to `log`.
    pub(crate) fn spawn(program: &Path, args: &[String], dir: &Path, log: &Path) -> Result<Self, Error> {
        let log_file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(Error::io("open", log))?;
        let mut command = Command::new("sh");
        command
            .args(["-c", KEEPER, "keeper"])
            .arg(program)
            .args(args)
            .current_dir(dir);
        // A process group of its own: Ctrl-C reaches only us, and we stop the component.
        command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log_file);
        let spawn_error = |why| Error::Spawn {
            program: program.display().to_string(),
            why,
            remedy: "",
        };
        let mut keeper = command.spawn().map_err(spawn_error)?;
        let (Some(signals), Some(answers)) = (keeper.stdin.take(), keeper.stdout.take()) else {
            return Err(spawn_error(std::io::Error::other("no pipe to its keeper")));
        };
        let mut process = Self {
            keeper,
            signals,
            answers: BufReader::new(answers),
            pid: 0,
        };
        let line = process.answer().map_err(spawn_error)?;
        process.pid = line
            .parse()
            .map_err(|_| spawn_error(std::io::Error::other("its keeper told no process id")))?;
        Ok(process)
    }

    fn answer(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    /// The component's own process id, while it runs.
    pub(crate) fn pid_if_running(&mut self) -> Option<u32> {
        self.exited().is_none().then_some(self.pid)
    }

    /// Its exit status once it has ended; after signal N, the shell's 128 + N.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        // An error means that it is no longer our child, so there is nothing to wait for.
        self.keeper.try_wait().unwrap_or(Some(ExitStatus::default()))
    }

    /// Sends a signal before it returns. A component that has ended already is no error.
    pub(crate) fn signal(&mut self, signal: Signal) {
        // Both fail only if the shell has ended, and then the component has too.
        if writeln!(self.signals, "{}", signal.name()).is_ok() {
            let _ = self.answer();
        }
    }

    /// Waits until it has ended; false after `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.exited().is_none() {
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
        true
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::Kill);
        // No process can refuse SIGKILL; we wait for the kernel.
        self.wait(Duration::from_secs(10));
    }
}

/// Removes a folder after this process ended without doing so.
#[derive(Debug)]
pub(crate) struct Janitor(Child);

impl Janitor {
    pub(crate) fn spawn(dir: &Path) -> Result<Self, Error> {
        let mut command = Command::new("sh");
        command
            .args(["-c", JANITOR, "janitor"])
            .arg(dir)
            .current_dir("/")
            .process_group(0);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.spawn().map(Self).map_err(|why| Error::Spawn {
            program: "sh".into(),
            why,
            remedy: "",
        })
    }

    /// Tells the janitor to leave the folder alone.
    pub(crate) fn dismiss(mut self) {
        if let Some(mut stdin) = self.0.stdin.take() {
            let _ = writeln!(stdin, "done");
        }
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::{Scratch, new_dir};
    use std::path::PathBuf;

    const LONG: Duration = Duration::from_secs(10);

    fn start(script: &str) -> (Scratch, Process) {
        let dir = Scratch(new_dir(&std::env::temp_dir(), "tenantry-process-").unwrap());
        let args = ["-c".to_owned(), script.to_owned()];
        let process = Process::spawn(&PathBuf::from("/bin/sh"), &args, &dir.0, &dir.0.join("log")).unwrap();
        (dir, process)
    }

    #[test]
    fn output_goes_to_the_log_and_the_status_comes_back() {
        let (dir, mut process) = start("echo out; echo err >&2; exit 7");
        assert!(process.wait(LONG));
        assert_eq!(process.exited().unwrap().code(), Some(7));
        assert_eq!(std::fs::read_to_string(dir.0.join("log")).unwrap(), "out\nerr\n");
    }

    #[test]
    fn a_stopped_component_is_ended_by_kill() {
        let (_dir, mut process) = start("exec sleep 1000");
        process.signal(Signal::Stop);
        process.signal(Signal::Kill);
        assert!(process.wait(LONG));
        assert_eq!(process.exited().unwrap().code(), Some(128 + 9));
    }

    #[test]
    fn signal_to_an_ended_component_is_no_error() {
        let (_dir, mut process) = start("exit 0");
        assert!(process.wait(LONG));
        process.signal(Signal::Term);
        process.signal(Signal::Term);
    }

    #[test]
    fn the_janitor_removes_the_folder_when_its_pipe_closes() {
        let dir = new_dir(&std::env::temp_dir(), "tenantry-janitor-").unwrap();
        let mut janitor = Janitor::spawn(&dir).unwrap();
        drop(janitor.0.stdin.take());
        janitor.0.wait().unwrap();
        assert!(!dir.exists());
    }

    #[test]
    fn a_dismissed_janitor_and_a_keep_file_leave_the_folder() {
        let dir = Scratch(new_dir(&std::env::temp_dir(), "tenantry-janitor-").unwrap());
        Janitor::spawn(&dir.0).unwrap().dismiss();
        assert!(dir.0.exists());
        std::fs::write(dir.0.join("keep"), "").unwrap();
        let mut janitor = Janitor::spawn(&dir.0).unwrap();
        drop(janitor.0.stdin.take());
        janitor.0.wait().unwrap();
        assert!(dir.0.exists());
    }
}
