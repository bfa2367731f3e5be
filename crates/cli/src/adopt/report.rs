//! The report of `adopt`, and its text format.

use serde::Serialize;

/// What an adoption changes for an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Effect {
    /// The API server would refuse the object if it were created again.
    Refused,
    /// The operator overwrites it.
    Replaced,
    /// It still applies, in addition to the operator's objects.
    Stays,
    /// `adopt` could not check it.
    NotTried,
}

/// One finding about an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What the adoption changes for it.
    pub effect: Effect,
    /// `<kind>/<name>`.
    pub object: String,
    /// What causes that: a guard, a policy or the operator.
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

/// The report of a check or of an adoption.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The namespace.
    pub namespace: String,
    /// The tenant that gets the namespace.
    pub tenant: String,
    /// How many objects were tried.
    pub tried: usize,
    /// The findings: refusals first, then ordered by object.
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

    /// Sorts the findings into the order of printing.
    pub(super) fn sort(&mut self) {
        self.findings.sort_by(|a, b| {
            let key = |finding: &Finding| (finding.effect, finding.object.clone(), finding.message.clone());
            key(a).cmp(&key(b))
        });
    }
}

/// One line for each finding, then a summary.
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
            // The author of an object must not be able to add lines to the report or to control the terminal.
            writeln!(f, "{object}: {by}: {}", message.replace(char::is_control, " "))?;
        }
        let refused = self.refused();
        let command = format!("tenantry adopt {namespace} --tenant {tenant} --yes");
        match refused {
            0 => write!(f, "{namespace}: nothing would be refused (objects tried: {tried}). ")?,
            refused => write!(
                f,
                "{namespace}: refusals: {refused} (objects tried: {tried}); running pods keep running; refused objects cannot be created again. "
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
                "Nothing was changed; fix the refused objects, or hand it over as it is: {command} --force"
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
    fn refusals_are_first_and_each_finding_has_one_line() {
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
             acme-web: refusals: 2 (objects tried: 3); running pods keep running; refused objects cannot be created again. \
             Nothing was changed; fix the refused objects, or hand it over as it is: tenantry adopt acme-web --tenant acme --yes --force\n"
        );
    }

    #[test]
    fn a_report_without_refusals_shows_how_to_hand_over() {
        let before = report(Vec::new(), false).to_string();
        assert!(
            before.ends_with("to hand it over: tenantry adopt acme-web --tenant acme --yes\n"),
            "{before}"
        );
        let after = report(Vec::new(), true).to_string();
        assert!(after.contains("It is handed over"), "{after}");
    }
}
