//! One control plane for all tests of a test binary.

use std::panic;
use std::sync::OnceLock;

use crate::cluster::{ControlPlane, Options};
use crate::error::Error;
use crate::go::say;

static SHARED: OnceLock<Result<ControlPlane, Error>> = OnceLock::new();

/// The first call starts it, with that call's options; it ends with the process. Tests use random names to avoid
/// conflicts. If a test panics, the folder is kept and its path printed.
pub fn shared(options: impl FnOnce() -> Options) -> Result<&'static ControlPlane, &'static Error> {
    let start = || {
        let plane = ControlPlane::start(options())?;
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            before(info);
            if let Some(Ok(plane)) = SHARED.get() {
                // If `keep` fails, this line is missing: the test's panic matters more.
                if plane.keep().is_ok() {
                    say(&format!("left behind for a look: {}", plane.dir().display()));
                }
            }
        }));
        Ok(plane)
    };
    SHARED.get_or_init(start).as_ref()
}
