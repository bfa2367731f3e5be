//! Decides, purely, which optional kinds count as served: those whose list succeeded, whether or not their CRD exists.

use std::collections::{BTreeMap, BTreeSet};

use tenantry_core::object::Kind;

/// What is known about the optional kinds.
#[derive(Debug, Default)]
pub(super) struct Optional {
    /// Whether the CRDs have been listed.
    crds_listed: bool,
    watched: BTreeMap<Kind, State>,
}

/// The state of one kind's watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The kind has neither been listed nor failed.
    Undecided,
    /// Its list failed; the watch keeps trying.
    Unserved,
    /// Its list succeeded.
    Served,
}

/// Watches to start and to stop.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) start: Vec<Kind>,
    pub(super) stop: Vec<Kind>,
}

impl Optional {
    /// Takes the kinds whose CRDs are installed; returns the watches to start and to stop.
    pub(super) fn installed(&mut self, kinds: &BTreeSet<Kind>) -> Changes {
        self.crds_listed = true;
        let stop = self.watched.keys().copied().filter(|kind| !kinds.contains(kind));
        let stop: Vec<_> = stop.collect();
        for kind in &stop {
            self.watched.remove(kind);
        }
        let start = kinds.iter().copied().filter(|kind| !self.watched.contains_key(kind));
        let start: Vec<_> = start.collect();
        for kind in &start {
            self.watched.insert(*kind, State::Undecided);
        }
        Changes { start, stop }
    }

    /// A list of the kind succeeded.
    pub(super) fn listed(&mut self, kind: Kind) {
        if let Some(state) = self.watched.get_mut(&kind) {
            *state = State::Served;
        }
    }

    /// A list of the kind failed. A kind that was served stays served: its cache is the last known state.
    pub(super) fn failed(&mut self, kind: Kind) {
        if let Some(state @ State::Undecided) = self.watched.get_mut(&kind) {
            *state = State::Unserved;
        }
    }

    /// The kind is no longer served, though its CRD exists. Returns whether it was served.
    pub(super) fn lost(&mut self, kind: Kind) -> bool {
        let Some(state) = self.watched.get_mut(&kind) else {
            return false;
        };
        std::mem::replace(state, State::Unserved) == State::Served
    }

    /// Kinds that are served.
    pub(super) fn served(&self) -> BTreeSet<Kind> {
        self.of(State::Served)
    }

    /// Kinds that have neither been listed nor failed; `None` before the CRDs are listed.
    pub(super) fn undecided(&self) -> Option<BTreeSet<Kind>> {
        self.crds_listed.then(|| self.of(State::Undecided))
    }

    fn of(&self, wanted: State) -> BTreeSet<Kind> {
        let kinds = self.watched.iter().filter(|(_, state)| **state == wanted);
        kinds.map(|(kind, _)| *kind).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MONITORS: [Kind; 2] = [Kind::PodMonitor, Kind::ServiceMonitor];

    fn none() -> BTreeSet<Kind> {
        BTreeSet::new()
    }

    #[test]
    fn a_kind_whose_list_fails_counts_as_not_served() {
        let mut optional = Optional::default();
        assert_eq!(optional.undecided(), None);
        let changes = optional.installed(&MONITORS.into());
        assert_eq!((changes.start, changes.stop), (MONITORS.to_vec(), Vec::new()));
        optional.listed(Kind::ServiceMonitor);
        assert_eq!(optional.undecided(), Some([Kind::PodMonitor].into()));
        optional.failed(Kind::PodMonitor);
        assert_eq!(optional.undecided(), Some(none()));
        assert_eq!(optional.served(), [Kind::ServiceMonitor].into());
        optional.listed(Kind::PodMonitor);
        assert_eq!(optional.served(), MONITORS.into(), "a failed kind may be listed later");
    }

    #[test]
    fn a_served_kind_that_fails_stays_until_it_is_lost() {
        let mut optional = Optional::default();
        optional.installed(&MONITORS.into());
        optional.listed(Kind::PodMonitor);
        optional.failed(Kind::PodMonitor);
        assert_eq!(optional.served(), [Kind::PodMonitor].into());
        assert!(optional.lost(Kind::PodMonitor));
        assert_eq!(optional.served(), none());
        assert!(!optional.lost(Kind::PodMonitor), "it is no longer served");
        assert!(
            !optional.lost(Kind::PrometheusRule),
            "it was never watched, so never served"
        );
    }

    #[test]
    fn a_kind_stops_with_its_crd_and_starts_again_with_it() {
        let mut optional = Optional::default();
        optional.installed(&MONITORS.into());
        optional.listed(Kind::PodMonitor);
        let changes = optional.installed(&[Kind::ServiceMonitor].into());
        assert_eq!((changes.start, changes.stop), (Vec::new(), vec![Kind::PodMonitor]));
        optional.listed(Kind::PodMonitor);
        assert_eq!(
            optional.served(),
            none(),
            "a late report of the stopped watch is ignored"
        );
        assert_eq!(optional.installed(&MONITORS.into()).start, [Kind::PodMonitor]);
        assert_eq!(optional.served(), none());
    }
}
