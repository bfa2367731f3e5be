//! A loopback proxy between the operator and the API server that breaks requests by rule: plain HTTP/1.1 in, the
//! kubeconfig's TLS out, the sender's own Authorization header handed on.
//!
//! ```no_run
//! # async fn example() -> Result<(), faultproxy::Error> {
//! let proxy = faultproxy::Proxy::start("admin.kubeconfig".as_ref()).await?;
//! proxy.set_rules(faultproxy::RuleFile::parse(
//!     "rules: [{ match: { verbs: [create], resource: resourcequotas }, when: { nth: 2 }, at: after, action: reset }]",
//! )?);
//! println!("the operator talks to {}", proxy.url());
//! # Ok(())
//! # }
//! ```
//!
//! What a rule can say is in [`Rule`]. The same rules on the same requests do the same: a probability draws from the
//! file's seed.

mod answer;
mod asked;
mod events;
mod proxy;
mod rule;
mod state;

use std::path::PathBuf;

pub use asked::{Asked, Verb};
pub use proxy::{Mark, Proxy};
pub use rule::{Action, Match, Moment, Rule, RuleFile, Status, When};
pub use state::Entry;

/// Why there is no proxy or no rule.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is no rule file; the cause names the word.
    #[error("failed to read the fault rules: {0}")]
    Unreadable(String),
    /// A rule says what cannot be done.
    #[error("fault rule {number} cannot be followed: {why}")]
    Senseless {
        /// Counted from 1.
        number: usize,
        /// What is wrong.
        why: String,
    },
    /// There is no way to the API server in the kubeconfig.
    #[error("failed to load the kubeconfig {}: {why}", path.display())]
    Kubeconfig {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody answers there.
    #[error("failed to reach an API server at {url}: {why}; is the control plane running?")]
    Unreachable {
        /// Where.
        url: String,
        /// What happened.
        why: String,
    },
    /// No port to listen on.
    #[error("failed to listen on 127.0.0.1: {0}")]
    Listen(std::io::Error),
}
