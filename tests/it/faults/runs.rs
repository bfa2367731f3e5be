//! Runs plans, many at once, each with tenants of its own, and judges what the API server saw.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    future::pending,
    io::Write as _,
    pin::pin,
};

use faultproxy::{Entry, Proxy, Rule, RuleFile};
use futures::FutureExt as _;
use kube::Client;
use lab::{Lab, Operator, OperatorOptions};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{
    plan::{Choice, Fault, IMPATIENT, Plan},
    scenario::{Cast, Player, Story, grants},
};
use crate::common::{
    self,
    audit::{self, Event, Mark},
    oracle::{breaches_by_revision, repeated_creates, strays, writes_at_rest},
    record::{Record, Step},
};

/// Scenarios at once: most of their time is waiting.
const TOGETHER: usize = 48;

/// The result of a plan.
#[derive(Debug)]
pub struct Verdict {
    pub plan: Plan,
    /// Whether its fault struck. A write that depends on timing may not happen in every run.
    pub fired: bool,
    /// Its rules that never struck.
    pub missed: Vec<String>,
    pub violations: Vec<String>,
    /// Why it did not reach the state of a fault-free run.
    pub stuck: Option<String>,
}

impl Verdict {
    pub fn is_good(&self) -> bool {
        self.violations.is_empty() && self.stuck.is_none()
    }
}

/// A control plane for a sequence of batches.
pub struct Stage {
    lab: Lab,
    admin: Client,
    olga: Client,
}

/// Appends lines of JSON to a file, so that an interrupted run keeps its results.
fn append(lines: impl IntoIterator<Item = Value>) {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults.jsonl");
    let mut file = std::fs::File::options().create(true).append(true).open(path).unwrap();
    for line in lines {
        writeln!(file, "{line}").unwrap();
    }
}

/// The line after which the file is about this run.
pub fn note_start(choice: &Choice) {
    let git = std::process::Command::new("git")
        .args(["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"])
        .current_dir(common::root())
        .output();
    let commit = git.ok().filter(|git| git.status.success());
    let commit = commit.map(|git| String::from_utf8_lossy(&git.stdout).trim().to_owned());
    append([json!({ "run": choice.to_string(), "at": jiff::Timestamp::now().to_string(), "commit": commit })]);
}

/// A line for each plan.
fn note(verdicts: &[Verdict]) {
    append(verdicts.iter().map(|verdict| {
        json!({
            "fault": verdict.plan.row, "plan": verdict.plan.what, "struck": verdict.fired,
            "violations": verdict.violations, "stuck": verdict.stuck,
        })
    }));
}

/// Which operator uses the proxy, and its flags.
pub fn through(proxy: &Proxy, options: OperatorOptions) -> OperatorOptions {
    OperatorOptions {
        server: Some(proxy.url().to_owned()),
        ..options
    }
}

/// An operator that leads at once: elections have tests of their own.
pub fn alone(proxy: &Proxy) -> OperatorOptions {
    through(proxy, common::binary().arg("--leader-elect=false"))
}

/// The flags that the operator of a batch needs for its faults.
fn prepared(proxy: &Proxy, plans: &[Plan]) -> OperatorOptions {
    let mut faults = plans.iter().filter_map(|plan| plan.fault);
    let mut options = alone(proxy);
    if faults.clone().any(Fault::is_late) {
        options = options.arg(IMPATIENT);
    }
    if faults.any(|fault| fault == Fault::Dropped) {
        options = options.arg("--test-relist-interval=10s");
    }
    options
}

impl Stage {
    pub async fn new() -> Self {
        let (lab, admin) = common::own_in_a_hurry(controlplane::Audit::Metadata).await;
        let olga = lab.as_user("olga", &[]).await.unwrap();
        Self { lab, admin, olga }
    }

    /// The log of a run without any fault, which must have no failure.
    pub async fn reference(&self, cast: Cast, rules: Vec<Rule>) -> Vec<Entry> {
        let plan = Plan {
            cast,
            row: "no fault".to_owned(),
            what: "no fault".to_owned(),
            fault: None,
            rules: Vec::new(),
        };
        let (verdicts, log) = self.batch(vec![plan], rules.into(), pending(), &[]).await;
        for verdict in verdicts {
            assert!(verdict.is_good(), "without any fault: {verdict:#?}");
        }
        log
    }

    /// Runs each plan under its own rules, and reports all failures together, with how to replay each.
    pub async fn run(&self, plans: Vec<Plan>, reference: &Cast) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        let total = plans.len();
        for batch in plans.chunks(TOGETHER) {
            let rules = batch.iter().flat_map(|plan| plan.rules.clone()).collect::<Vec<_>>();
            let more = self.batch(batch.to_vec(), rules.into(), pending(), &[]).await.0;
            for Verdict {
                plan,
                violations,
                stuck,
                ..
            } in more.iter().filter(|verdict| !verdict.is_good())
            {
                println!(
                    "\n{}\nreplay: {}\n{violations:#?}\n{stuck:?}",
                    plan.what,
                    plan.replay(reference)
                );
            }
            note(&more);
            verdicts.extend(more);
            let bad = verdicts.iter().filter(|verdict| !verdict.is_good()).count();
            println!("{} of {total} plans run, {bad} failed", verdicts.len());
        }
        verdicts
    }

    /// Runs the rules of a file on the scenario with its names; fails if one of them never struck.
    pub async fn replay(&self, file: RuleFile, reference: &Cast) {
        let row = "of a rule file".to_owned();
        let plan = Plan {
            cast: reference.clone(),
            what: row.clone(),
            row,
            fault: None,
            rules: file.rules.clone(),
        };
        let (verdicts, _) = self.batch(vec![plan], file, pending(), &[]).await;
        note(&verdicts);
        report(&verdicts);
        let missed: Vec<_> = verdicts.iter().flat_map(|verdict| &verdict.missed).collect();
        assert!(
            missed.is_empty(),
            "{} of the file's rules never struck, so they showed nothing: {missed:#?}\n{}",
            missed.len(),
            reference.told()
        );
    }

    /// Runs plans at once under one operator with these flags. The rules are in force until `calm`. Returns the proxy's
    /// log too.
    pub async fn batch(
        &self,
        plans: Vec<Plan>,
        rules: RuleFile,
        calm: impl Future<Output = ()>,
        flags: &[&str],
    ) -> (Vec<Verdict>, Vec<Entry>) {
        let since = audit::mark(&self.lab, &self.admin).await;
        let record = Record::start(&self.admin).await;
        let proxy = Proxy::start(self.lab.kubeconfig()).await.unwrap();
        proxy.set_rules(rules);
        let options = flags
            .iter()
            .fold(prepared(&proxy, &plans), |options, flag| options.arg(*flag));
        let operator = self.lab.operator(options.clone()).await.unwrap();

        let mut stories = JoinSet::new();
        for (place, plan) in plans.iter().enumerate() {
            let player = Player {
                cast: plan.cast.clone(),
                admin: self.admin.clone(),
                olga: self.olga.clone(),
            };
            stories.spawn(async move { (place, tokio::spawn(async move { player.play().await }).await) });
        }
        let mut ends: BTreeMap<usize, Result<Story, String>> = BTreeMap::new();
        let (mut operator, mut blames) = (Some(operator), Vec::new());
        let mut calm = pin!(calm.fuse());
        while ends.len() < plans.len() {
            tokio::select! {
                Some(ended) = stories.join_next() => {
                    let (place, story) = ended.unwrap();
                    ends.insert(place, story.map_err(|error| message(error.into_panic())));
                }
                () = &mut calm => proxy.set_rules(vec![]),
                () = proxy.until_held(1) => {
                    let old = operator.take().expect("it runs");
                    let by = held(&proxy, &plans);
                    let new = self.succeed(&proxy, old, by, options.clone(), &mut blames).await;
                    operator = Some(new);
                }
            }
        }
        blames.extend(end(operator.expect("it runs")).await);

        audit::mark(&self.lab, &self.admin).await;
        let steps = record.steps(&self.admin).await;
        let mut events = audit::read(&self.lab);
        events.retain(|event| Mark::of(event) > since);
        let log = proxy.log();
        let verdicts = plans.into_iter().zip(ends.into_values()).map(|(plan, end)| {
            let mut verdict = judge(plan, end, &steps, &events, &log);
            verdict.violations.extend(blames.clone());
            verdict
        });
        (verdicts.collect(), log)
    }

    /// Ends the operator while a write hangs, and starts the next.
    async fn succeed(
        &self,
        proxy: &Proxy,
        old: Operator,
        by: Option<Fault>,
        options: OperatorOptions,
        blames: &mut Vec<String>,
    ) -> Operator {
        match by {
            Some(Fault::Terminated) => {
                let mut ended = pin!(end(old));
                loop {
                    proxy.release();
                    tokio::select! {
                        blame = &mut ended => {
                            blames.extend(blame);
                            break;
                        }
                        // This write belongs to another plan: it too is done before the event is delivered.
                        () = proxy.until_held(1) => {}
                    }
                }
                self.lab.operator(options).await.unwrap()
            }
            Some(Fault::KilledLate) => {
                old.kill();
                let sent = proxy.mark();
                let new = self.lab.operator(options).await.unwrap();
                proxy.release_before(&sent);
                new
            }
            _ => {
                old.kill();
                loop {
                    proxy.release();
                    tokio::select! {
                        () = proxy.until_idle() => break,
                        // This write belongs to another plan: it too was done, and its sender was killed.
                        () = proxy.until_held(1) => {}
                    }
                }
                self.lab.operator(options).await.unwrap()
            }
        }
    }
}

/// The fault of the plan whose write hangs first.
fn held(proxy: &Proxy, plans: &[Plan]) -> Option<Fault> {
    let held = proxy.held().into_iter().next()?;
    let plan = plans.iter().find(|plan| plan.rule_texts().contains(&held))?;
    plan.fault
}

/// Asks the operator to end; returns failures of its shutdown.
async fn end(operator: Operator) -> Option<String> {
    let log = operator.log().to_owned();
    let status = operator.stop().await.unwrap();
    let panicked = std::fs::read_to_string(log).is_ok_and(|text| text.contains("panicked"));
    (panicked || !status.success()).then(|| format!("the operator ended with {status}, panicked: {panicked}"))
}

fn message(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic
            .downcast_ref::<&str>()
            .map_or("it panicked", |text| *text)
            .to_owned(),
    }
}

fn judge(plan: Plan, end: Result<Story, String>, steps: &[Step], events: &[Event], log: &[Entry]) -> Verdict {
    let id = &plan.cast.id;
    let mine = |step: &&Step| step.key.1.contains(id) || step.key.2.contains(id);
    let own: Vec<Step> = steps.iter().filter(mine).cloned().collect();
    let story = end.as_ref().ok();
    let mut violations = breaches_by_revision(&own, &|tenant, revision| grants(story, tenant, revision));
    for (tenant, rest) in story.into_iter().flat_map(|story| &story.rests) {
        let writes = writes_at_rest(events, tenant, rest);
        let in_time = writes.filter(|event| !plan.holds_back(&event.resource, &event.namespace, &event.name));
        violations.extend(in_time.map(|event| format!("written though {tenant} was at rest: {event}")));
    }
    // Failures of the whole batch: the plan that caused them does not matter.
    violations.extend(strays(events, steps));
    let mine = events.iter().filter(|event| {
        (event.namespace.contains(id) || event.name.contains(id))
            && !plan.excuses(&event.resource, &event.namespace, &event.name)
    });
    violations.extend(repeated_creates(mine));
    let own = |entry: &&Entry| entry.asked.name.contains(id) || entry.asked.namespace.contains(id);
    let unsure = log
        .iter()
        .filter(own)
        .filter(|entry| !entry.guarded && entry.asked.resource != "events");
    violations.extend(unsure.map(|entry| format!("could have hit what its sender never saw: {}", entry.asked)));
    let struck: BTreeSet<&String> = log.iter().filter_map(|entry| entry.rule.as_ref()).collect();
    let rules = plan.rule_texts();
    let fired = rules.iter().any(|rule| struck.contains(rule));
    Verdict {
        fired,
        missed: rules.into_iter().filter(|rule| !struck.contains(rule)).collect(),
        violations,
        stuck: end.err(),
        plan,
    }
}

/// In the order of the faults.
fn by_row(verdicts: &[Verdict]) -> BTreeMap<(Option<Fault>, &str), Vec<&Verdict>> {
    let mut by_row: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for verdict in verdicts {
        let row = (verdict.plan.fault, &*verdict.plan.row);
        by_row.entry(row).or_default().push(verdict);
    }
    by_row
}

/// With fewer plans of one fault, it may be chance that none struck; with fewer in all, that a quarter did not.
const FEW: usize = 3;
const FEW_IN_ALL: usize = 8;

/// Signs that the plans no longer match the scenario: a fault that does not strike tests nothing.
pub fn idle<'a>(plans: impl IntoIterator<Item = (&'a str, bool)>) -> Vec<String> {
    let mut by_row: BTreeMap<&str, Vec<bool>> = BTreeMap::new();
    for (row, struck) in plans {
        by_row.entry(row).or_default().push(struck);
    }
    let of = |plans: &[bool]| plans.iter().filter(|struck| **struck).count();
    let mut idle: Vec<String> = by_row
        .iter()
        .filter(|(_, plans)| plans.len() >= FEW && of(plans) == 0)
        .map(|(row, plans)| format!("none of the {} plans of {row} struck", plans.len()))
        .collect();
    let all: Vec<bool> = by_row.into_values().flatten().collect();
    if all.len() >= FEW_IN_ALL && of(&all) * 4 < all.len() * 3 {
        idle.push(format!("only {} of {} plans struck", of(&all), all.len()));
    }
    idle
}

/// Fails if too few faults struck.
pub fn assert_struck(verdicts: &[Verdict]) {
    let idle = idle(verdicts.iter().map(|verdict| (&*verdict.plan.row, verdict.fired)));
    assert!(
        idle.is_empty(),
        "the writes and events of the reference run are not those of the plans: {idle:#?}"
    );
}

/// Prints one line for each fault; fails if a plan did.
pub fn report(verdicts: &[Verdict]) {
    println!("| fault | plans run | struck | violations | converged |\n| --- | --- | --- | --- | --- |");
    for ((_, name), verdicts) in by_row(verdicts) {
        let struck = verdicts.iter().filter(|verdict| verdict.fired).count();
        let violations: usize = verdicts.iter().map(|verdict| verdict.violations.len()).sum();
        let converged = verdicts.iter().filter(|verdict| verdict.stuck.is_none()).count();
        println!(
            "| {name} | {} | {struck} | {violations} | {converged} |",
            verdicts.len()
        );
    }
    let bad: Vec<_> = verdicts.iter().filter(|verdict| !verdict.is_good()).collect();
    assert!(
        bad.is_empty(),
        "{} of {} plans failed: {bad:#?}",
        bad.len(),
        verdicts.len()
    );
}
