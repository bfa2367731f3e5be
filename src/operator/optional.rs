//! Which optional kinds count as served: pure. A kind does while its list succeeded, whatever its CRD promises.

use std::collections::{BTreeMap, BTreeSet};

use tenantry_core::object::Kind;

/// What is known of the optional kinds.
#[derive(Debug, Default)]
pub(super) struct Optional {
    /// Whether the CRDs were listed.
    asked: bool,
    watched: BTreeMap<Kind, Standing>,
}

/// How the watch of one kind goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It has neither listed nor failed.
    Undecided,
    /// It failed, and goes on trying.
    Unserved,
    /// It has listed.
    Served,
}

/// Watches to start and to stop.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) start: Vec<Kind>,
    pub(super) stop: Vec<Kind>,
}

impl Optional {
    /// The CRDs of these kinds are there.
    pub(super) fn installed(&mut self, kinds: &BTreeSet<Kind>) -> Changes {
        self.asked = true;
        let stop = self.watched.keys().copied().filter(|kind| !kinds.contains(kind));
        let stop: Vec<_> = stop.collect();
        for kind in &stop {
            self.watched.remove(kind);
        }
        let start = kinds.iter().copied().filter(|kind| !self.watched.contains_key(kind));
        let start: Vec<_> = start.collect();
        for kind in &start {
            self.watched.insert(*kind, Standing::Undecided);
        }
        Changes { start, stop }
    }

    /// The kind was listed.
    pub(super) fn listed(&mut self, kind: Kind) {
        if let Some(standing) = self.watched.get_mut(&kind) {
            *standing = Standing::Served;
        }
    }

    /// The kind could not be listed. One that was listed before stays: its cache is the last that is known.
    pub(super) fn failed(&mut self, kind: Kind) {
        if let Some(standing @ Standing::Undecided) = self.watched.get_mut(&kind) {
            *standing = Standing::Unserved;
        }
    }

    /// The kind is no longer served, though its CRD is there. Tells whether it was.
    pub(super) fn lost(&mut self, kind: Kind) -> bool {
        let Some(standing) = self.watched.get_mut(&kind) else {
            return false;
        };
        std::mem::replace(standing, Standing::Unserved) == Standing::Served
    }

    /// Kinds that are served.
    pub(super) fn served(&self) -> BTreeSet<Kind> {
        self.of(Standing::Served)
    }

    /// Kinds of which it is not known yet whether they are served; `None` before the CRDs were listed.
    pub(super) fn undecided(&self) -> Option<BTreeSet<Kind>> {
        self.asked.then(|| self.of(Standing::Undecided))
    }

    fn of(&self, wanted: Standing) -> BTreeSet<Kind> {
        let kinds = self.watched.iter().filter(|(_, standing)| **standing == wanted);
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
    fn a_kind_whose_list_fails_is_decided_and_not_served() {
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
        assert_eq!(optional.served(), MONITORS.into(), "it may come later");
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
        assert!(!optional.lost(Kind::PodMonitor), "once");
        assert!(!optional.lost(Kind::PrometheusRule), "it was never watched");
    }

    #[test]
    fn a_kind_whose_crd_goes_is_stopped_and_may_come_back() {
        let mut optional = Optional::default();
        optional.installed(&MONITORS.into());
        optional.listed(Kind::PodMonitor);
        let changes = optional.installed(&[Kind::ServiceMonitor].into());
        assert_eq!((changes.start, changes.stop), (Vec::new(), vec![Kind::PodMonitor]));
        optional.listed(Kind::PodMonitor);
        assert_eq!(
            optional.served(),
            none(),
            "a late report of the old watch counts for nothing"
        );
        assert_eq!(optional.installed(&MONITORS.into()).start, [Kind::PodMonitor]);
        assert_eq!(optional.served(), none());
    }
}
