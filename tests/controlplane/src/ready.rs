//! Whether a component serves yet.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::go::tail;
use crate::tool::Component;

/// Long enough for a loaded laptop; a component that fails ends by itself long before.
const LIMIT: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(10);

/// Polls until `ask` succeeds. Fails if the component has ended, or after two minutes.
pub(crate) fn poll(
    component: Component,
    log: &Path,
    exited: impl Fn() -> Option<String>,
    mut ask: impl FnMut() -> Result<(), String>,
) -> Result<(), Error> {
    let started = Instant::now();
    loop {
        let Err(why) = ask() else { return Ok(()) };
        if let Some(status) = exited() {
            return Err(Error::Exited {
                component,
                status,
                log: log.to_path_buf(),
                tail: tail(log, 20),
            });
        }
        if started.elapsed() > LIMIT {
            let seconds = LIMIT.as_secs();
            return Err(Error::NotReady {
                component,
                seconds,
                why,
                log: log.to_path_buf(),
                tail: tail(log, 20),
            });
        }
        thread::sleep(PAUSE);
    }
}

fn connect(port: u16) -> Result<TcpStream, String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).map_err(|e| format!("port {port}: {e}"))
}

/// Something listens.
pub(crate) fn port(port: u16) -> Result<(), String> {
    connect(port).map(drop)
}

/// etcd's health endpoint, over plain HTTP.
pub(crate) fn etcd(port: u16) -> Result<(), String> {
    let mut stream = connect(port)?;
    let mut answer = String::new();
    stream
        .set_read_timeout(Some(Duration::from_secs(2)))
        .and_then(|()| stream.write_all(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n"))
        .and_then(|()| stream.read_to_string(&mut answer))
        .map_err(|e| format!("/health: {e}"))?;
    if answer.contains(r#""health":"true""#) {
        Ok(())
    } else {
        Err(answer)
    }
}

/// `path` of the API server answers with 200. Through kubectl, as it is there anyway and speaks TLS.
pub(crate) fn get(mut kubectl: Command, path: &str) -> Result<(), String> {
    kubectl
        .args(["get", "--raw", path, "--request-timeout=5s"])
        .stdin(Stdio::null());
    let output = kubectl.output().map_err(|e| e.to_string())?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

/// `/healthz` of the controller manager, known by the certificate that it made itself.
pub(crate) fn controller_manager(mut kubectl: Command, port: u16, dir: &Path) -> Result<(), String> {
    kubectl.arg(format!("--server=https://127.0.0.1:{port}"));
    kubectl
        .arg("--certificate-authority")
        .arg(dir.join("certs/kube-controller-manager.crt"));
    get(kubectl, "/healthz")
}

/// Runs a command and returns what it printed.
pub(crate) fn output(mut command: Command, action: &str) -> Result<String, Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|why| Error::Spawn {
        program: program.clone(),
        why,
        remedy: "",
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::Command {
        action: action.to_owned(),
        command: program,
        status: output.status.to_string(),
        output: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ended_component_is_an_error_at_once() {
        let poll = poll(
            Component::Etcd,
            Path::new("/nonexistent"),
            || Some("exit 1".into()),
            || Err("no".into()),
        );
        assert!(matches!(
            poll,
            Err(Error::Exited {
                component: Component::Etcd,
                ..
            })
        ));
    }

    #[test]
    fn polling_stops_at_the_first_success() {
        let mut left = 3;
        let ask = || {
            left -= 1;
            if left == 0 { Ok(()) } else { Err("not yet".into()) }
        };
        poll(Component::ApiServer, Path::new("/nonexistent"), || None, ask).unwrap();
        assert_eq!(left, 0);
    }
}
