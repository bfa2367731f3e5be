use super::*;

fn amount(text: &str) -> Quantity {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// A namespace whose quota is confirmed: weight, hard, used.
fn confirmed(weight: u32, hard: &str, used: &str) -> Observation {
    let hard = Some(amount(hard));
    Observation {
        weight: Some(weight),
        spec_hard: hard,
        status_hard: hard,
        used: Some(amount(used)),
        pending: Vec::new(),
        asked: None,
    }
}

fn fresh(weight: u32) -> Observation {
    Observation {
        weight: Some(weight),
        ..Observation::default()
    }
}

fn named<const N: usize>(seen: [Observation; N]) -> BTreeMap<String, Observation> {
    ["a", "b", "c", "d", "e"]
        .into_iter()
        .map(str::to_owned)
        .zip(seen)
        .collect()
}

fn pods<const N: usize>(grant: &str, seen: [Observation; N]) -> Plan {
    plan(Some(amount(grant)), Unit::Whole, None, Spread::Fixed, &named(seen))
}

fn hard(plan: &Plan) -> Vec<String> {
    plan.hard.values().map(ToString::to_string).collect()
}

#[test]
fn new_namespaces_start_with_their_shares() {
    let plan = pods("20", [fresh(1), fresh(1), fresh(2)]);
    assert_eq!(
        (hard(&plan), plan.settled),
        (vec!["5".into(), "5".into(), "10".into()], false)
    );
}

#[test]
fn a_settled_spread_does_not_change() {
    let plan = pods("20", [confirmed(1, "10", "3"), confirmed(1, "10", "10")]);
    assert_eq!(
        (hard(&plan), plan.settled, plan.above_grant),
        (vec!["10".into(), "10".into()], true, None)
    );
}

#[test]
fn a_new_namespace_waits_for_confirmed_shrinks_of_siblings() {
    let plan = pods("20", [confirmed(1, "20", "3"), fresh(1)]);
    assert_eq!((hard(&plan), plan.settled), (vec!["10".into(), "0".into()], false));
    let unconfirmed = Observation {
        status_hard: Some(amount("20")),
        ..confirmed(1, "10", "3")
    };
    assert_eq!(hard(&pods("20", [unconfirmed, confirmed(1, "0", "0")])), ["10", "0"]);
    assert_eq!(
        hard(&pods("20", [confirmed(1, "10", "3"), confirmed(1, "0", "0")])),
        ["10", "10"]
    );
}

#[test]
fn a_pending_write_is_counted() {
    let sent = Observation {
        pending: vec![amount("20")],
        ..fresh(1)
    };
    assert_eq!(hard(&pods("20", [sent, fresh(1)])), ["10", "0"]);
}

#[test]
fn above_the_grant_no_quota_is_raised_over_a_pending_lower_one() {
    let lowered = Observation {
        pending: vec![amount("0")],
        ..confirmed(1, "5", "0")
    };
    assert_eq!(hard(&pods("3", [lowered, confirmed(4, "18", "0")])), ["0", "2"]);
}

#[test]
fn a_spread_with_an_unconfirmed_quota_is_not_settled() {
    let unconfirmed = Observation {
        status_hard: None,
        ..confirmed(1, "10", "0")
    };
    assert!(!pods("20", [unconfirmed, confirmed(1, "10", "0")]).settled);
}

#[test]
fn a_spread_with_a_pending_write_is_not_settled() {
    let sent = Observation {
        pending: vec![amount("7")],
        ..confirmed(1, "10", "0")
    };
    assert!(!pods("20", [sent, confirmed(1, "10", "0")]).settled);
}

#[test]
fn namespaces_with_a_quota_of_zero_get_the_free_amount_first() {
    let plan = pods("20", [confirmed(1, "2", "0"), confirmed(1, "15", "0"), fresh(2)]);
    assert_eq!(hard(&plan), ["2", "5", "3"]);
}

#[test]
fn a_namespace_over_its_share_keeps_what_it_uses() {
    let plan = pods("10", [confirmed(1, "10", "8"), confirmed(1, "10", "1")]);
    assert_eq!((hard(&plan), plan.above_grant), (vec!["8".into(), "2".into()], None));
    let later = pods("10", [confirmed(1, "8", "6"), confirmed(1, "2", "1")]);
    assert_eq!(
        hard(&later),
        ["6", "2"],
        "what the first gave up is given only when confirmed"
    );
    assert_eq!(
        hard(&pods("10", [confirmed(1, "6", "6"), confirmed(1, "2", "1")])),
        ["6", "4"]
    );
}

#[test]
fn after_a_downgrade_below_use_no_namespace_grows() {
    let plan = pods("5", [confirmed(1, "10", "8"), confirmed(1, "10", "1"), fresh(8)]);
    assert_eq!(
        (hard(&plan), plan.settled),
        (vec!["8".into(), "1".into(), "0".into()], false)
    );
    assert_eq!(plan.above_grant, Some(amount("4")));
    let settled = pods(
        "5",
        [confirmed(1, "8", "8"), confirmed(1, "1", "1"), confirmed(8, "0", "0")],
    );
    assert!(settled.settled && settled.above_grant.is_some());
}

#[test]
fn a_leaving_namespace_gives_back_what_it_does_not_use() {
    let out = Observation {
        weight: None,
        ..confirmed(0, "10", "4")
    };
    assert_eq!(hard(&pods("20", [out, confirmed(0, "10", "0")])), ["4", "10"]);
}

#[test]
fn an_unlimited_resource_has_no_hard_value() {
    let plan = plan(
        None,
        Unit::Whole,
        None,
        Spread::Fixed,
        &named([confirmed(1, "10", "0")]),
    );
    assert_eq!((plan.hard.len(), plan.settled), (0, false));
}

#[test]
fn a_grant_below_one_each_is_given_to_the_first_namespaces() {
    assert_eq!(hard(&pods("2", [fresh(1), fresh(1), fresh(1)])), ["1", "1", "0"]);
    assert_eq!(hard(&pods("0", [fresh(1), fresh(1)])), ["0", "0"]);
    assert_eq!(hard(&pods("-1", [fresh(1), fresh(1)])), ["0", "0"]);
}

#[test]
fn shares_are_readable_and_exact() {
    let three = named([fresh(1), fresh(1), fresh(1)]);
    let spread = |grant: &str, unit| hard(&plan(Some(amount(grant)), unit, None, Spread::Fixed, &three));
    assert_eq!(spread("4Gi", Unit::Whole), ["1366Mi", "1365Mi", "1365Mi"]);
    assert_eq!(spread("100G", Unit::Whole), ["33334M", "33333M", "33333M"]);
    assert_eq!(spread("100", Unit::Milli), ["33334m", "33333m", "33333m"]);
    assert_eq!(spread("1", Unit::Milli), ["334m", "333m", "333m"]);
    assert_eq!(spread("1000001n", Unit::Milli), ["1000001n", "0", "0"]);
    assert_eq!(spread("100Ki", Unit::Whole), ["34134", "34133", "34133"]);
}

#[test]
fn demand_shares_are_whole_pods_if_the_pod_size_is_known() {
    let cpu = |grant: &str, pod_size: Option<&str>, seen| {
        let pod_size = pod_size.map(|size| amount(size).nanos());
        hard(&plan(
            Some(amount(grant)),
            Unit::Milli,
            pod_size,
            Spread::default(),
            &named(seen),
        ))
    };
    let hungry = || [confirmed(1, "1", "800m"), confirmed(1, "1", "0")];
    assert_eq!(cpu("2", None, hungry()), ["1", "666m"]);
    assert_eq!(cpu("2", Some("200m"), hungry()), ["1", "600m"]);
    assert_eq!(
        cpu("2", Some("1100m"), hungry()),
        ["1", "666m"],
        "the grant has fewer pods of this size than namespaces"
    );
    assert_eq!(
        cpu("2", Some("333333333n"), hungry()),
        ["1", "666m"],
        "a share of cpu is at least a thousandth"
    );
}

#[test]
fn no_namespace_grows_if_amounts_exceed_the_range() {
    let huge = Observation {
        used: Some(Quantity::from_nanos(i128::MAX, Format::DecimalSi)),
        ..fresh(1)
    };
    assert_eq!(hard(&pods("5", [huge.clone(), huge, fresh(1)])), ["0", "0", "0"]);
}

#[test]
fn each_resource_has_its_plan_and_unlimited_ones_have_none() {
    let grants: BTreeMap<String, Option<Quantity>> = [
        ("pods".to_owned(), Some(amount("10"))),
        ("requests.cpu".to_owned(), Some(amount("1"))),
        ("services".to_owned(), None),
    ]
    .into();
    let quota = |pods: &str, extra: bool| {
        let mut hard: BTreeMap<_, _> = [
            ("pods".to_owned(), amount(pods)),
            ("requests.cpu".to_owned(), amount("500m")),
        ]
        .into();
        if extra {
            hard.insert("secrets".to_owned(), amount("1"));
        }
        QuotaObservation {
            weight: Some(1),
            spec_hard: hard.clone(),
            status_hard: hard,
            ..QuotaObservation::default()
        }
    };
    let over = |extra| [("x".to_owned(), quota("5", extra)), ("y".to_owned(), quota("5", false))].into();
    let plans = plan_all(&grants, Spread::Fixed, &over(true));
    assert!(!plans.settled, "the quota still contains secrets");
    assert_eq!(plans.hard["x"].keys().collect::<Vec<_>>(), ["pods", "requests.cpu"]);
    assert_eq!(
        plan_all(&grants, Spread::Fixed, &over(false)),
        Plans { settled: true, ..plans }
    );
}
