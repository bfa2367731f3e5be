//! What an adoption would mean, and how it is printed.

use serde::Serialize;

/// What becomes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Effect {
    /// It would be refused if it were created now.
    Refused,
    /// The operator writes its own over it.
    Replaced,
    /// It goes on applying beside what the operator puts there.
    Stays,
    /// Nobody could tell.
    NotTried,
}

/// One thing to know beforehand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What becomes of it.
    pub effect: Effect,
    /// `<kind>/<name>`.
    pub object: String,
    /// Who does that.
    pub by: String,
    /// Why, and what to do.
    pub message: String,
}

impl Finding {
    pub(super) fn new(effect: Effect, object: impl Into<String>, by: &str, message: impl Into<String>) -> Self {
        Self {
            effect,
            object: object.into(),
            by: by.to_owned(),
            message: message.into(),
        }
    }
}

/// What an adoption would mean, or meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The namespace.
    pub namespace: String,
    /// The tenant that is to have it.
    pub tenant: String,
    /// How many objects were tried.
    pub tried: usize,
    /// What was found: what would be refused first, then by object.
    pub findings: Vec<Finding>,
    /// Whether the namespace was handed over.
    pub handed_over: bool,
}

impl Report {
    /// How many findings are refusals.
    pub fn refused(&self) -> usize {
        let refused = |finding: &&Finding| finding.effect == Effect::Refused;
        self.findings.iter().filter(refused).count()
    }

    /// Brings the findings into the order in which they are printed.
    pub(super) fn sort(&mut self) {
        self.findings.sort_by(|a, b| {
            let key = |finding: &Finding| (finding.effect, finding.object.clone(), finding.message.clone());
            key(a).cmp(&key(b))
        });
    }
}

/// One line a finding, then what it comes to.
impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            namespace,
            tenant,
            tried,
            findings,
            handed_over,
        } = self;
        for Finding {
            object, by, message, ..
        } in findings
        {
            // Who wrote an object must not write lines of their own here, or to the terminal.
            writeln!(f, "{object}: {by}: {}", message.replace(char::is_control, " "))?;
        }
        let refused = self.refused();
        let command = format!("tenantry adopt {namespace} --tenant {tenant} --yes");
        match refused {
            0 => write!(f, "{namespace}: nothing would be refused (objects tried: {tried}). ")?,
            refused => write!(
                f,
                "{namespace}: refusals: {refused} (objects tried: {tried}); what runs goes on, what is created anew is refused. "
            )?,
        }
        match (refused, handed_over) {
            (_, true) => writeln!(
                f,
                "It is handed over; to wait for it: kubectl wait tenant/{tenant} --for=condition=Ready"
            ),
            (0, false) => writeln!(f, "Nothing was changed; to hand it over: {command}"),
            (_, false) => writeln!(
                f,
                "Nothing was changed; mend these, or hand it over as it is: {command} --force"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(findings: Vec<Finding>, handed_over: bool) -> Report {
        let mut report = Report {
            namespace: "acme-web".to_owned(),
            tenant: "acme".to_owned(),
            tried: 3,
            findings,
            handed_over,
        };
        report.sort();
        report
    }

    #[test]
    fn refusals_come_first_and_every_finding_has_one_line() {
        let findings = vec![
            Finding::new(Effect::Stays, "NetworkPolicy/open", "stays in force", "it opens"),
            Finding::new(Effect::Refused, "Service/web", "policy x", "no\n\u{1b}NodePorts"),
            Finding::new(Effect::Refused, "Deployment/api", "Pod Security", "privileged"),
        ];
        assert_eq!(
            report(findings, false).to_string(),
            "Deployment/api: Pod Security: privileged\n\
             Service/web: policy x: no  NodePorts\n\
             NetworkPolicy/open: stays in force: it opens\n\
             acme-web: refusals: 2 (objects tried: 3); what runs goes on, what is created anew is refused. \
             Nothing was changed; mend these, or hand it over as it is: tenantry adopt acme-web --tenant acme --yes --force\n"
        );
    }

    #[test]
    fn a_namespace_with_nothing_to_mend_says_how_it_is_handed_over_and_that_it_was() {
        let before = report(Vec::new(), false).to_string();
        assert!(
            before.ends_with("to hand it over: tenantry adopt acme-web --tenant acme --yes\n"),
            "{before}"
        );
        let after = report(Vec::new(), true).to_string();
        assert!(after.contains("It is handed over"), "{after}");
    }
}
