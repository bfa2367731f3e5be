//! Simulates two candidates and one API server, with delays, losses, freezes and clocks from proptest: there are never
//! two leaders.
//!
//! Time is discrete, in milliseconds of the world. Each candidate has its own clock with an offset and a rate.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use proptest::prelude::*;

use super::*;

/// Fate of one request, and what its candidate does.
#[derive(Debug, Clone, Copy)]
struct Fate {
    /// Milliseconds until the request reaches the server.
    there: u64,
    /// Milliseconds until the answer arrives.
    back: u64,
    /// The request never arrives; the candidate sees a failure.
    request_lost: bool,
    /// The write takes effect, but the candidate sees a failure.
    answer_lost: bool,
    /// The candidate gives up waiting before the request arrives; it still takes effect, this many milliseconds later.
    late: Option<u64>,
    /// Milliseconds for which the process is frozen before it handles the answer.
    frozen: u64,
    /// After this answer, if it leads, the candidate gives up the lease and joins again as a new process.
    resigns: bool,
}

fn fate() -> impl Strategy<Value = Fate> {
    let delay = prop_oneof![4 => 0..50_u64, 1 => 0..4_000_u64, 1 => 0..30_000_u64];
    let freeze = prop_oneof![8 => Just(0_u64), 1 => 0..5_000_u64, 2 => 5_000..40_000_u64];
    let lost = prop::bool::weighted(0.1);
    let late = prop::option::weighted(0.1, 0..30_000_u64);
    (
        delay.clone(),
        delay,
        lost,
        lost,
        late,
        freeze,
        prop::bool::weighted(0.05),
    )
        .prop_map(|(there, back, request_lost, answer_lost, late, frozen, resigns)| Fate {
            there,
            back,
            request_lost,
            answer_lost,
            late,
            frozen,
            resigns,
        })
}

#[derive(Debug, Clone, Copy)]
struct ClockShape {
    offset_ms: u64,
    /// Thousandths: 900 runs a tenth too slow.
    rate: u64,
}

fn clock_shape() -> impl Strategy<Value = ClockShape> {
    // 15 s against 10 s tolerates clocks that differ by half; machines differ by far less than these.
    (0..1_000_000_u64, 900..=1_100_u64).prop_map(|(offset_ms, rate)| ClockShape { offset_ms, rate })
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Wake,
    Arrive(u64),
    Answer(u64),
}

#[derive(Debug, Clone)]
enum Request {
    Read,
    Write(StoredLease),
    Release(StoredLease),
}

#[derive(Debug, Clone)]
enum Answer {
    Lease(Option<StoredLease>),
    Written(StoredLease),
    Failed,
}

struct Candidate {
    clock: ClockShape,
    process: u32,
    view: View,
    sent_at: Monotonic,
    waiting_for: Option<Waiting>,
}

struct Waiting {
    id: u64,
    releasing: bool,
    answer: Answer,
    fate: Fate,
}

impl Candidate {
    fn local(&self, world: u64) -> Monotonic {
        Monotonic::new(Duration::from_millis(
            self.clock.offset_ms + world * self.clock.rate / 1000,
        ))
    }

    fn is_leading(&self, world: u64) -> bool {
        self.view.held_until().is_some_and(|until| self.local(world) < until)
    }
}

struct World {
    now: u64,
    version: u64,
    stored: Option<StoredLease>,
    events: BinaryHeap<Reverse<(u64, usize, What)>>,
    candidates: Vec<Candidate>,
    fates: Vec<Fate>,
    next_fate: usize,
    elections: u32,
    requests: u64,
    in_flight: BTreeMap<u64, Request>,
}

impl World {
    fn new(clocks: [ClockShape; 2], fates: Vec<Fate>) -> Self {
        let candidates = clocks
            .into_iter()
            .map(|clock| Candidate {
                clock,
                process: 0,
                view: View::new(Monotonic::new(Duration::from_millis(clock.offset_ms))),
                sent_at: Monotonic::new(Duration::ZERO),
                waiting_for: None,
            })
            .collect();
        let mut world = Self {
            now: 0,
            version: 0,
            stored: None,
            events: BinaryHeap::new(),
            candidates,
            fates,
            next_fate: 0,
            elections: 0,
            requests: 0,
            in_flight: BTreeMap::new(),
        };
        for index in 0..2 {
            world.at(0, index, What::Wake);
        }
        world
    }

    fn at(&mut self, delay: u64, index: usize, what: What) {
        self.events.push(Reverse((self.now + delay, index, what)));
    }

    fn identity(&self, index: usize) -> String {
        format!("candidate-{index}-{}", self.candidates[index].process)
    }

    fn run(&mut self, until: u64) -> Result<(), TestCaseError> {
        while let Some(Reverse((when, index, what))) = self.events.pop() {
            if when > until {
                break;
            }
            self.now = when;
            match what {
                What::Wake => self.wake(index),
                What::Arrive(id) => self.arrive(index, id),
                What::Answer(id) => self.answer(index, id),
            }
            let leaders = self
                .candidates
                .iter()
                .filter(|candidate| candidate.is_leading(self.now))
                .count();
            prop_assert!(leaders <= 1, "two leaders at {} ms", self.now);
        }
        Ok(())
    }

    fn wake(&mut self, index: usize) {
        let now = self.candidates[index].local(self.now);
        let identity = self.identity(index);
        let config = ElectionConfig::default();
        // The wall clocks of both have stopped: safety must not depend on them.
        match decide(
            &self.candidates[index].view,
            now,
            Timestamp::UNIX_EPOCH,
            &identity,
            &config,
        ) {
            Step::HeldByOther => {
                self.candidates[index].view.on_held_by_other(now, 0.5, &config);
                self.at(0, index, What::Wake);
            }
            Step::Wait(pause) => {
                let pause = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                let rate = self.candidates[index].clock.rate;
                self.at(pause * 1000 / rate + 1, index, What::Wake);
            }
            Step::Read => self.send(index, Request::Read),
            Step::Create(record) => {
                self.send(
                    index,
                    Request::Write(StoredLease {
                        record,
                        metadata: ObjectMeta::default(),
                    }),
                );
            }
            Step::Replace(lease) => self.send(index, Request::Write(*lease)),
            Step::Stop(_) => self.restart(index),
        }
    }

    /// The process ends, and another with a new identity replaces it.
    fn restart(&mut self, index: usize) {
        let now = self.candidates[index].local(self.now);
        let candidate = &mut self.candidates[index];
        candidate.process += 1;
        candidate.view = View::new(now);
        candidate.waiting_for = None;
        self.at(100, index, What::Wake);
    }

    fn send(&mut self, index: usize, request: Request) {
        let fate = self.fates[self.next_fate % self.fates.len()];
        self.next_fate += 1;
        self.requests += 1;
        let id = self.requests;
        let now = self.candidates[index].local(self.now);
        let candidate = &mut self.candidates[index];
        candidate.sent_at = now;
        let releasing = matches!(request, Request::Release(_));
        candidate.waiting_for = Some(Waiting {
            id,
            releasing,
            answer: Answer::Failed,
            fate,
        });
        self.in_flight.insert(id, request);
        let (arrives, answered) = match fate.late {
            Some(late) => (fate.there + fate.back + late + 1, fate.there),
            None => (fate.there, fate.there + fate.back),
        };
        if !fate.request_lost {
            self.at(arrives, index, What::Arrive(id));
        }
        self.at(answered + fate.frozen, index, What::Answer(id));
    }

    fn arrive(&mut self, index: usize, id: u64) {
        let answer = match self.in_flight.remove(&id) {
            None => return,
            Some(Request::Read) => Answer::Lease(self.stored.clone()),
            Some(Request::Write(lease) | Request::Release(lease)) => self.store(lease),
        };
        if let Some(waiting) = self.candidates[index]
            .waiting_for
            .as_mut()
            .filter(|waiting| waiting.id == id)
        {
            waiting.answer = answer;
        }
    }

    fn store(&mut self, mut lease: StoredLease) -> Answer {
        let current = self
            .stored
            .as_ref()
            .and_then(|stored| stored.metadata.resource_version.clone());
        if current != lease.metadata.resource_version {
            return Answer::Failed;
        }
        self.version += 1;
        lease.metadata.resource_version = Some(self.version.to_string());
        self.stored = Some(lease.clone());
        Answer::Written(lease)
    }

    fn answer(&mut self, index: usize, id: u64) {
        let now = self.candidates[index].local(self.now);
        let config = ElectionConfig::default();
        let identity = self.identity(index);
        let candidate = &mut self.candidates[index];
        let Some(Waiting {
            releasing,
            answer,
            fate,
            ..
        }) = candidate.waiting_for.take_if(|waiting| waiting.id == id)
        else {
            return;
        };
        let was_leading = candidate.view.held_until().is_some();
        match answer {
            _ if releasing => return self.restart(index),
            Answer::Lease(lease) if !fate.answer_lost => candidate.view.on_read(now, lease),
            Answer::Written(lease) if !fate.answer_lost => {
                candidate.view.on_written(candidate.sent_at, lease, &config);
                if !was_leading {
                    self.elections += 1;
                }
            }
            Answer::Lease(_) | Answer::Written(_) | Answer::Failed => candidate.view.on_failure(now, 0.5, &config),
        }
        let candidate = &mut self.candidates[index];
        if fate.resigns
            && candidate.view.held_until().is_some()
            && let Some(lease) = candidate.view.release(Timestamp::UNIX_EPOCH, &identity)
        {
            candidate.view.on_stopped();
            return self.send(index, Request::Release(lease));
        }
        self.at(0, index, What::Wake);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn two_candidates_never_lead_at_once(
        clocks in [clock_shape(), clock_shape()],
        fates in prop::collection::vec(fate(), 1..60),
    ) {
        World::new(clocks, fates).run(600_000)?;
    }

    #[test]
    fn one_candidate_leads_soon_if_the_server_answers(clocks in [clock_shape(), clock_shape()], there in 0..50_u64) {
        let fate = Fate { there, back: 5, request_lost: false, answer_lost: false, late: None, frozen: 0, resigns: false };
        let mut world = World::new(clocks, vec![fate]);
        world.run(5_000)?;
        prop_assert_eq!(world.elections, 1);
        prop_assert_eq!(world.candidates.iter().filter(|candidate| candidate.is_leading(5_000)).count(), 1);
    }
}

#[test]
fn the_simulation_includes_changes_of_leader() {
    let calm = Fate {
        there: 5,
        back: 5,
        request_lost: false,
        answer_lost: false,
        late: None,
        frozen: 0,
        resigns: false,
    };
    let frozen = Fate { frozen: 30_000, ..calm };
    let clock = ClockShape {
        offset_ms: 0,
        rate: 1000,
    };
    let mut fates = vec![calm; 20];
    fates.push(frozen);
    let mut world = World::new([clock, clock], fates);
    world.run(600_000).expect("never two leaders");
    assert!(world.elections > 3, "only {} elections", world.elections);
}
