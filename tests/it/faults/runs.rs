//! Runs plans, many at once, each with tenants of its own, and judges what the API server saw.

use std::{any::Any, collections::BTreeMap, future::pending, pin::pin};

use faultproxy::{Entry, Proxy, RuleFile};
use futures::FutureExt as _;
use kube::Client;
use lab::{Lab, Operator, OperatorOptions};
use tokio::task::JoinSet;

use super::{
    plan::{Fault, Plan},
    scenario::{Cast, Player, Story, grants},
};
use crate::common::{
    self,
    audit::{self, Event, Mark},
    oracle::{breaches_by_revision, repeated_creates, strays},
    record::{Record, Step},
};

/// Scenarios at once: most of their time is waiting.
const TOGETHER: usize = 48;

/// What became of a plan.
#[derive(Debug)]
pub struct Verdict {
    pub plan: Plan,
    /// Whether its fault struck. A write that depends on how things happen to fall may not come every time.
    pub fired: bool,
    pub violations: Vec<String>,
    /// Why it did not come to the fault-free end.
    pub stuck: Option<String>,
}

impl Verdict {
    pub fn is_good(&self) -> bool {
        self.violations.is_empty() && self.stuck.is_none()
    }
}

/// A control plane for one batch after the other.
pub struct Stage {
    lab: Lab,
    admin: Client,
    olga: Client,
}

/// Who may talk to the proxy, and how it is started.
pub fn through(proxy: &Proxy, options: OperatorOptions) -> OperatorOptions {
    OperatorOptions {
        server: Some(proxy.url().to_owned()),
        ..options
    }
}

/// One operator that leads at once: what comes of elections is tested by themselves.
pub fn alone(proxy: &Proxy) -> OperatorOptions {
    through(proxy, common::binary().arg("--leader-elect=false"))
}

impl Stage {
    pub async fn new() -> Self {
        let (lab, admin) = common::own_in_a_hurry(controlplane::Audit::Metadata).await;
        let olga = lab.as_user("olga", &[]).await.unwrap();
        Self { lab, admin, olga }
    }

    /// The log of a run without any fault, which must be without blame.
    pub async fn reference(&self, cast: Cast) -> Vec<Entry> {
        let plan = Plan {
            cast,
            what: "no fault".to_owned(),
            fault: None,
            rules: Vec::new(),
        };
        let (verdicts, log) = self.batch(vec![plan], RuleFile::default(), pending()).await;
        for verdict in verdicts {
            assert!(verdict.is_good(), "without any fault: {verdict:#?}");
        }
        log
    }

    /// Runs each plan by its own rules, and tells of every failure at once, with how to replay it.
    pub async fn run(&self, plans: Vec<Plan>, reference: &Cast) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        let total = plans.len();
        for batch in plans.chunks(TOGETHER) {
            let rules = batch.iter().flat_map(|plan| plan.rules.clone()).collect::<Vec<_>>();
            let more = self.batch(batch.to_vec(), rules.into(), pending()).await.0;
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
            verdicts.extend(more);
            println!("{} of {total} plans run", verdicts.len());
        }
        verdicts
    }

    /// Runs plans at once, under these rules until `calm`; gives the proxy's log too.
    pub async fn batch(
        &self,
        plans: Vec<Plan>,
        rules: RuleFile,
        calm: impl Future<Output = ()>,
    ) -> (Vec<Verdict>, Vec<Entry>) {
        let since = audit::mark(&self.lab, &self.admin).await;
        let record = Record::start(&self.admin).await;
        let proxy = Proxy::start(self.lab.kubeconfig()).await.unwrap();
        proxy.set_rules(rules);
        let operator = self.lab.operator(alone(&proxy)).await.unwrap();

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
        let mut operator = Some(operator);
        let mut calm = pin!(calm.fuse());
        while ends.len() < plans.len() {
            tokio::select! {
                Some(ended) = stories.join_next() => {
                    let (place, story) = ended.unwrap();
                    ends.insert(place, story.map_err(|error| message(error.into_panic())));
                }
                () = &mut calm => proxy.set_rules(vec![]),
                () = proxy.until_held(1) => operator = Some(self.restart(&proxy, operator.take()).await),
            }
        }
        let ended = self.end(operator).await;

        audit::mark(&self.lab, &self.admin).await;
        let steps = record.steps(&self.admin).await;
        let mut events = audit::read(&self.lab);
        events.retain(|event| Mark::of(event) > since);
        let log = proxy.log();
        let verdicts = plans.into_iter().zip(ends.into_values()).map(|(plan, end)| {
            let mut verdict = judge(plan, end, &steps, &events, &log);
            verdict.violations.extend(ended.clone());
            verdict
        });
        (verdicts.collect(), log)
    }

    /// Kills the operator while the answer to a write hangs, and starts the next when all that was sent is done.
    async fn restart(&self, proxy: &Proxy, operator: Option<Operator>) -> Operator {
        operator.expect("it runs").kill();
        loop {
            proxy.release();
            tokio::select! {
                () = proxy.until_idle() => break,
                // Of another plan: it too was done, and its sender was killed.
                () = proxy.until_held(1) => {}
            }
        }
        self.lab.operator(alone(proxy)).await.unwrap()
    }

    /// What is to blame in how the operator itself ended.
    async fn end(&self, operator: Option<Operator>) -> Option<String> {
        let operator = operator.expect("it runs");
        let panicked = operator.log_text().contains("panicked");
        let status = operator.stop().await.unwrap();
        (panicked || !status.success()).then(|| format!("the operator ended with {status}, panicked: {panicked}"))
    }
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
    let story = end.as_ref().ok().copied();
    let mut violations = breaches_by_revision(&own, &|_, revision| grants(story, revision));
    // Of the whole batch: whose fault it was does not matter.
    violations.extend(strays(events, steps));
    let mine = events.iter().filter(|event| {
        (event.namespace.contains(id) || event.name.contains(id))
            && !plan.excuses(&event.resource, &event.namespace, &event.name)
    });
    violations.extend(repeated_creates(mine));
    let rules: Vec<String> = plan
        .rules
        .iter()
        .map(|rule| serde_json::to_string(rule).unwrap())
        .collect();
    let fired = log
        .iter()
        .filter_map(|entry| entry.rule.as_ref())
        .any(|rule| rules.contains(rule));
    Verdict {
        fired,
        violations,
        stuck: end.err(),
        plan,
    }
}

/// Prints one line for each fault; fails if a plan did.
pub fn report(verdicts: &[Verdict]) {
    let mut by_fault: BTreeMap<Option<Fault>, Vec<&Verdict>> = BTreeMap::new();
    for verdict in verdicts {
        by_fault.entry(verdict.plan.fault).or_default().push(verdict);
    }
    println!("| fault | plans run | struck | violations | converged |\n| --- | --- | --- | --- | --- |");
    for (fault, verdicts) in by_fault {
        let name = fault.map_or_else(|| "of a rule file".to_owned(), |fault| fault.to_string());
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
