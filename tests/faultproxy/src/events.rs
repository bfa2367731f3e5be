//! A watch, event by event: the API server sends a line of JSON for each.

use std::time::Duration;

use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Bytes, Frame};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    Action, Asked,
    answer::{Body, BoxError},
};

/// Decides what happens to watch events.
pub(crate) trait Judge: Send + 'static {
    /// Whether any rule is for events: if not, the proxy does not parse them.
    fn is_needed(&self) -> bool;
    /// What happens to this event.
    fn action(&self, event: &Asked) -> Option<Action>;
}

/// The body of a watch after `judge` decided on each event.
pub(crate) fn judged(watch: Asked, mut body: kube::client::Body, judge: impl Judge) -> Body {
    let (sender, receiver) = mpsc::channel::<Result<Frame<Bytes>, BoxError>>(16);
    tokio::spawn(async move {
        let mut rest = Vec::new();
        loop {
            let frame = tokio::select! {
                frame = body.frame() => frame,
                // The watcher has gone; stop now, as no other event may ever come.
                () = sender.closed() => return,
            };
            let data = match frame {
                None => return,
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(error)) => {
                    let _ = sender.send(Err(error.into())).await;
                    return;
                }
            };
            rest.extend_from_slice(&data);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                let Fate { delay, lines, ends } = fate(&watch, line, &judge);
                tokio::time::sleep(delay).await;
                for line in lines {
                    if sender.send(Ok(Frame::data(line.into()))).await.is_err() {
                        return;
                    }
                }
                if ends {
                    return;
                }
            }
        }
    });
    StreamBody::new(ReceiverStream::new(receiver)).boxed_unsync()
}

/// What becomes of a line.
struct Fate {
    delay: Duration,
    /// What is sent instead.
    lines: Vec<Vec<u8>>,
    /// Whether the watch ends then.
    ends: bool,
}

fn fate(watch: &Asked, line: Vec<u8>, judge: &impl Judge) -> Fate {
    let mut fate = Fate {
        delay: Duration::ZERO,
        lines: Vec::new(),
        ends: false,
    };
    if !judge.is_needed() {
        fate.lines = vec![line];
        return fate;
    }
    let event: Value = serde_json::from_slice(&line).unwrap_or_default();
    match judge.action(&watch.of_event(&event)) {
        Some(Action::Drop) => {}
        Some(Action::Duplicate) => fate.lines = vec![line.clone(), line],
        Some(Action::Expire) => {
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "too old resource version", "reason": "Expired", "code": 410,
            });
            let error = json!({ "type": "ERROR", "object": status });
            fate.lines = vec![format!("{error}\n").into_bytes()];
            fate.ends = true;
        }
        Some(Action::Cut) => fate.ends = true,
        Some(Action::Delay(milliseconds)) => {
            fate.delay = Duration::from_millis(milliseconds);
            fate.lines = vec![line];
        }
        Some(Action::Reset | Action::Status(_) | Action::Hang | Action::Slow(_) | Action::Stale) | None => {
            fate.lines = vec![line];
        }
    }
    fate
}
