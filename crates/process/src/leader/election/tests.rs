use super::*;

const ME: &str = "blue-1";
const OTHER: &str = "green-2";

fn at(seconds: u64) -> Monotonic {
    Monotonic::new(Duration::from_secs(seconds))
}

fn wall() -> Timestamp {
    "2026-11-22T06:00:00Z".parse().expect("a timestamp")
}

fn lease(holder: Option<&str>, renewed_second: i64) -> StoredLease {
    StoredLease {
        record: LeaseRecord {
            holder: holder.map(str::to_owned),
            duration_seconds: Some(15),
            acquired: Some(Timestamp::UNIX_EPOCH),
            renewed: Some(Timestamp::from_second(renewed_second).expect("in range")),
            transitions: 3,
        },
        metadata: ObjectMeta {
            resource_version: Some("41".to_owned()),
            ..ObjectMeta::default()
        },
    }
}

fn decide_at(view: &View, now: Monotonic) -> Step {
    decide(view, now, wall(), ME, &ElectionConfig::default())
}

fn leading_since(start: Monotonic) -> View {
    let mut view = View::new(start);
    view.on_written(start, lease(Some(ME), 10), &ElectionConfig::default());
    view
}

#[test]
fn a_candidate_reads_before_it_does_anything_else() {
    assert_eq!(decide_at(&View::new(at(0)), at(0)), Step::Read);
}

#[test]
fn a_missing_lease_is_created() {
    let mut view = View::new(at(0));
    view.on_read(at(0), None);
    let Step::Create(record) = decide_at(&view, at(0)) else {
        panic!("expected create")
    };
    assert_eq!(record.holder.as_deref(), Some(ME));
    assert_eq!((record.duration_seconds, record.transitions), (Some(15), 0));
}

#[test]
fn a_released_lease_is_taken_at_once_and_counts_a_transition() {
    for holder in [None, Some("")] {
        let mut view = View::new(at(0));
        view.on_read(at(0), Some(lease(holder, 10)));
        let Step::Replace(next) = decide_at(&view, at(0)) else {
            panic!("expected replace")
        };
        assert_eq!(next.record.holder.as_deref(), Some(ME));
        assert_eq!(next.record.transitions, 4);
        assert_eq!(
            next.metadata.resource_version.as_deref(),
            Some("41"),
            "the write names the version that was read"
        );
    }
}

#[test]
fn a_lease_expires_by_the_local_clock_since_its_last_change() {
    let mut view = View::new(at(100));
    view.on_read(at(100), Some(lease(Some(OTHER), 0)));
    assert_eq!(decide_at(&view, at(114)), Step::HeldByOther);
    assert!(matches!(decide_at(&view, at(115)), Step::Replace(_)));

    view.on_read(at(114), Some(lease(Some(OTHER), 1)));
    assert_eq!(
        decide_at(&view, at(128)),
        Step::HeldByOther,
        "a renewal restarts the wait"
    );
    view.on_read(at(128), Some(lease(Some(OTHER), 1)));
    assert!(
        matches!(decide_at(&view, at(129)), Step::Replace(_)),
        "a read without a change does not restart the wait"
    );
}

#[test]
fn a_lease_expires_after_the_duration_that_its_holder_wrote() {
    let mut longer = lease(Some(OTHER), 0);
    longer.record.duration_seconds = Some(60);
    let mut view = View::new(at(0));
    view.on_read(at(0), Some(longer.clone()));
    assert_eq!(decide_at(&view, at(59)), Step::HeldByOther);
    longer.record.duration_seconds = None;
    view.on_read(at(59), Some(longer));
    assert_eq!(decide_at(&view, at(73)), Step::HeldByOther);
    assert!(matches!(decide_at(&view, at(74)), Step::Replace(_)));
}

#[test]
fn a_deleted_lease_is_created_after_its_holder_has_stopped() {
    let mut view = View::new(at(0));
    view.on_read(at(0), Some(lease(Some(OTHER), 0)));
    view.on_read(at(2), None);
    assert_eq!(decide_at(&view, at(14)), Step::HeldByOther);
    assert!(matches!(decide_at(&view, at(15)), Step::Create(_)));
}

#[test]
fn a_deleted_lease_of_our_own_is_created_again_while_we_lead() {
    let mut view = leading_since(at(0));
    view.on_failure(at(2), 0.0, &ElectionConfig::default());
    view.on_read(at(4), None);
    let Step::Create(record) = decide_at(&view, at(4)) else {
        panic!("expected create")
    };
    assert_eq!((record.holder.as_deref(), record.transitions), (Some(ME), 3));
}

#[test]
fn the_leader_renews_each_retry_period_without_reading() {
    let view = leading_since(at(0));
    assert_eq!(decide_at(&view, at(1)), Step::Wait(Duration::from_secs(1)));
    let Step::Replace(next) = decide_at(&view, at(2)) else {
        panic!("expected replace")
    };
    assert_eq!(
        next.record,
        LeaseRecord {
            renewed: Some(wall()),
            ..lease(Some(ME), 10).record
        }
    );
}

#[test]
fn after_a_failed_renewal_the_leader_reads_first() {
    let mut view = leading_since(at(0));
    view.on_failure(at(3), 1.0, &ElectionConfig::default());
    assert_eq!(
        decide_at(&view, at(4)),
        Step::Wait(Duration::from_secs(1)),
        "its retry has no jitter"
    );
    assert_eq!(decide_at(&view, at(5)), Step::Read);
}

#[test]
fn leadership_ends_at_the_renew_deadline() {
    let view = leading_since(at(0));
    assert_eq!(decide_at(&view, at(10)), Step::Stop(Loss::RenewDeadline));
}

#[test]
fn leadership_ends_when_the_lease_names_another() {
    let mut view = leading_since(at(0));
    view.on_failure(at(2), 0.0, &ElectionConfig::default());
    view.on_read(at(4), Some(lease(Some(OTHER), 0)));
    assert_eq!(decide_at(&view, at(4)), Step::Stop(Loss::TakenBy(OTHER.to_owned())));
}

#[test]
fn a_write_with_a_lost_answer_is_recognised_as_ours() {
    let mut view = View::new(at(0));
    view.on_failure(at(0), 0.0, &ElectionConfig::default());
    view.on_read(at(2), Some(lease(Some(ME), 0)));
    assert_eq!(view.held_until(), None, "reading our own name is not yet leading");
    assert!(matches!(decide_at(&view, at(2)), Step::Replace(_)));
}

#[test]
fn a_renewal_changes_the_record_even_if_the_clock_stops() {
    let ahead = wall() + Duration::from_secs(3600);
    let mut stored = lease(Some(ME), 0);
    stored.record.renewed = Some(ahead);
    let mut view = View::new(at(0));
    view.on_written(at(0), stored, &ElectionConfig::default());
    let Step::Replace(next) = decide_at(&view, at(2)) else {
        panic!("expected replace")
    };
    assert_eq!(next.record.renewed, Some(ahead + Duration::from_micros(1)));
}

#[test]
fn only_our_own_unchanged_lease_is_released() {
    let view = leading_since(at(0));
    let released = view.release(wall(), ME).expect("ours");
    assert_eq!(
        (released.record.holder, released.record.duration_seconds),
        (None, Some(1))
    );
    assert_eq!(released.metadata.resource_version.as_deref(), Some("41"));

    assert_eq!(view.release(wall(), OTHER), None);
    let mut stale = leading_since(at(0));
    stale.on_failure(at(2), 0.0, &ElectionConfig::default());
    assert_eq!(stale.release(wall(), ME), None);
    assert_eq!(View::new(at(0)).release(wall(), ME), None);
}

#[test]
fn durations_that_let_two_or_none_lead_are_refused() {
    let s = Duration::from_secs;
    let new = ElectionConfig::new;
    assert_eq!(new(s(15), s(10), s(2)), Ok(ElectionConfig::default()));
    assert!(matches!(
        new(Duration::from_millis(1500), s(1), s(0)),
        Err(ElectionConfigError::LeaseDuration(_))
    ));
    assert!(matches!(
        new(s(0), s(0), s(0)),
        Err(ElectionConfigError::LeaseDuration(_))
    ));
    assert!(matches!(
        new(s(15), s(15), s(2)),
        Err(ElectionConfigError::RenewDeadline { .. })
    ));
    assert!(matches!(
        new(s(15), s(10), s(6)),
        Err(ElectionConfigError::RetryPeriod { .. })
    ));
    assert!(matches!(
        new(s(15), s(10), s(0)),
        Err(ElectionConfigError::RetryPeriod { .. })
    ));
}
