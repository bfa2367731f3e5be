//! One control plane for all tests of a test binary.

use std::panic;
use std::sync::OnceLock;

use crate::cluster::{ControlPlane, Options};
use crate::error::Error;
use crate::go::say;

static SHARED: OnceLock<Result<ControlPlane, Error>> = OnceLock::new();

/// Started by the first call, with that call's options; ends with the process. Tests keep apart by random names.
/// After a panic in any of them the folder is left behind, and its path printed.
pub fn shared(options: impl FnOnce() -> Options) -> Result<&'static ControlPlane, &'static Error> {
    let start = || {
        let plane = ControlPlane::start(options())?;
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            before(info);
            if let Some(Ok(plane)) = SHARED.get() {
                // The panic is the news; that its state is lost as well, the missing line tells.
                if plane.keep().is_ok() {
                    say(&format!("left behind for a look: {}", plane.dir().display()));
                }
            }
        }));
        Ok(plane)
    };
    SHARED.get_or_init(start).as_ref()
}
