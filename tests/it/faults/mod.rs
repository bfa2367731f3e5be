//! The rules hold when a request fails, is lost, arrives late or is the last one before the operator ends. A proxy
//! between operator and API server breaks requests by rule; the API server's audit log and watches are the evidence.
//!
//! `TENANTRY_FAULTS=all` runs every fault at every place (`make faults`), a group's name only that group,
//! `pairs:<number>:<seed>` two faults at once, and a path the rules of that file. Without it a fixed sample runs.
//! Faults that do not strike fail the test too.

#![allow(
    clippy::print_stdout,
    reason = "`make faults` prints a table; else only what fails is shown"
)]

mod conflicts;
mod guards;
mod late;
mod leaders;
mod plan;
mod runs;
mod scenario;
mod surroundings;

use std::time::Duration;

use faultproxy::{Action, Match, Moment, Rule, RuleFile, Status, Verb, When};

use self::{
    plan::{Beside, Choice, GROUPS, Plan, events, of_all, writes},
    runs::{Stage, assert_struck, idle, note_start, report},
    scenario::Cast,
};

#[tokio::test(flavor = "multi_thread")]
async fn after_any_single_fault_rules_hold_and_state_converges() {
    let choice = Choice::from_env();
    println!("faults: {choice}");
    note_start(&choice);
    let stage = Stage::new().await;
    let reference = Cast::new(0);
    if let Choice::Replay(file) = choice {
        return stage.replay(file, &reference).await;
    }
    let writes = writes(&stage.reference(reference.clone(), vec![]).await, &reference);
    assert!(writes.len() > 50, "the scenario writes more than that");
    let note_each = of_all(Verb::Watch, When::Always, Action::Delay(0));
    let events = events(&stage.reference(reference.clone(), vec![note_each]).await, &reference);
    println!("{} writes and {} events without any fault", writes.len(), events.len());
    let mut verdicts = stage.run(choice.pairs(&reference, &writes), &reference).await;
    for beside in Beside::ALL {
        let groups: Vec<_> = GROUPS.into_iter().filter(|group| group.beside == beside).collect();
        let plans = choice.plans(&groups, &reference, &writes, &events);
        verdicts.extend(stage.run(plans, &reference).await);
    }
    report(&verdicts);
    if choice.must_strike() {
        assert_struck(&verdicts);
    }
}

/// How long a storm lasts. During it some objects may make no progress: if every second write fails, an object with two
/// writes never completes.
const STORM: Duration = Duration::from_secs(60);

/// Three scenarios at once under rules that strike all of them, and then without rules.
async fn storm(what: &str, rules: Vec<Rule>) {
    storm_on(what, rules, &[]).await;
}

/// As [`storm`], of an operator with these flags.
async fn storm_on(what: &str, rules: Vec<Rule>, flags: &[&str]) {
    let stage = Stage::new().await;
    let plans = (1..=3).map(|number| Plan {
        cast: Cast::new(number),
        row: what.to_owned(),
        what: what.to_owned(),
        fault: None,
        rules: rules.clone(),
    });
    let seed = 7;
    let (verdicts, log) = stage
        .batch(
            plans.collect(),
            RuleFile { seed, rules },
            tokio::time::sleep(STORM),
            flags,
        )
        .await;
    let struck = log.iter().filter(|entry| entry.rule.is_some()).count();
    println!(
        "{what}: seed {seed}, {struck} of {} requests and events struck",
        log.len()
    );
    assert!(struck > 50, "a storm strikes more often");
    report(&verdicts);
}

fn of_writes(when: When, at: Moment, code: u16) -> Rule {
    Rule {
        matches: Match {
            verbs: Verb::WRITES.to_vec(),
            except: ["leases", "events"].map(str::to_owned).to_vec(),
            ..Match::default()
        },
        when,
        at,
        action: Action::Status(Status {
            code,
            retry_after: None,
        }),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_lost_answers_breaks_no_rule() {
    storm(
        "every third write answers 504 after it was done",
        vec![of_writes(When::Every(3), Moment::After, 504)],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_conflicts_breaks_no_rule() {
    storm(
        "every second write answers 409 and is not done",
        vec![of_writes(When::Every(2), Moment::Before, 409)],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_and_repeated_watch_events_break_no_rule() {
    let rules = vec![
        of_all(Verb::Watch, When::Probability(0.02), Action::Expire),
        of_all(Verb::Watch, When::Probability(0.2), Action::Duplicate),
    ];
    storm("one of 50 events is a 410, one of five comes twice", rules).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_with_stale_lists_destroys_nothing() {
    let mut lists = of_all(Verb::List, When::Every(2), Action::Stale);
    lists.matches.resource = Some("tenants".to_owned());
    // Not the watch events of one Tenant, which precede the deletion of a namespace.
    lists.matches.name = Some(String::new());
    let rules = vec![lists, of_all(Verb::Watch, When::Probability(0.1), Action::Delay(2000))];
    storm_on(
        "every second list of Tenants is as the one before, one of ten events holds its watch up for 2 s; lists every 5 s",
        rules,
        &["--test-relist-interval=5s"],
    )
    .await;
}

#[test]
fn an_unknown_choice_of_faults_is_named() {
    assert_eq!(Choice::read(""), Ok(Choice::Sample));
    assert_eq!(Choice::read("all"), Ok(Choice::All { part: 1, of: 1 }));
    assert_eq!(Choice::read("all:2/4"), Ok(Choice::All { part: 2, of: 4 }));
    let error = Choice::read("all:5/4").unwrap_err();
    assert!(error.contains("all:1/4"), "{error}");
    assert_eq!(Choice::read("killed"), Ok(Choice::Only("killed")));
    assert_eq!(Choice::read("pairs:48:7"), Ok(Choice::Pairs { number: 48, seed: 7 }));
    for none in ["pairs:many", "pairs:0:7"] {
        let error = Choice::read(none).unwrap_err();
        assert!(error.contains("pairs:48:7"), "{error}");
    }
    let error = Choice::read("everything").unwrap_err();
    assert!(
        error.contains("everything") && error.contains("answers, late"),
        "{error}"
    );
    let folder = std::env::temp_dir().join(crate::common::name("tenantry-rules"));
    std::fs::write(&folder, "rules: [{ action: explode }]").unwrap();
    let error = Choice::read(folder.to_str().unwrap()).unwrap_err();
    std::fs::remove_file(&folder).unwrap();
    assert!(error.contains("explode"), "{error}");
}

#[test]
fn faults_that_do_not_strike_are_reported() {
    let plans = |row: &'static str, struck: usize, of: usize| (0..of).map(move |number| (row, number < struck));
    assert_eq!(idle(plans("reset", 6, 8)), [""; 0]);
    assert_eq!(idle(plans("reset", 5, 8)), ["only 5 of 8 plans struck"]);
    assert_eq!(idle(plans("reset", 0, 2)), [""; 0], "may be chance");
    let one_of_two = plans("reset", 20, 20).chain(plans("cut", 0, 3));
    assert_eq!(idle(one_of_two), ["none of the 3 plans of cut struck"]);
}
