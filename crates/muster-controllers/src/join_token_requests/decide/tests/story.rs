//! Operators that are killed between any two writes, that work side by side and from old news: in the end no token stands
//! in a cluster that nobody answers for, and there are never two for one request.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// What exists.
struct Sim {
    request: Option<Request>,
    version: u64,
    secret: SecretState,
    cluster: ClusterState,
    /// Tokens of the cluster that there is now.
    tokens: BTreeSet<String>,
    /// When tokens end that do.
    ends: BTreeMap<String, Timestamp>,
    debts: BTreeSet<String>,
    now: Timestamp,
    serial: u32,
    made: u32,
}

/// What an operator has seen.
#[derive(Clone, Default)]
struct Operator {
    seen: Option<Request>,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// An operator takes a step and dies after so many writes.
    Step {
        who: usize,
        writes: usize,
    },
    /// An operator hears the news.
    Hear {
        who: usize,
    },
    Create,
    Delete,
    EditExpiry,
    DeleteSecret,
    EditSecret,
    ClusterGoes,
    ClusterComes,
    ClusterIsMadeAnew,
    HourPasses,
}

/// One write; whether it went well.
type Deed = Box<dyn FnOnce(&mut Sim) -> bool>;

impl Sim {
    fn new() -> Self {
        Self {
            request: None,
            version: 0,
            secret: SecretState::Absent,
            cluster: ready("c0"),
            tokens: BTreeSet::new(),
            ends: BTreeMap::new(),
            debts: BTreeSet::new(),
            now: now(),
            serial: 0,
            made: 0,
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Request)) {
        self.version += 1;
        if let Some(request) = &mut self.request {
            change(request);
            request.resource_version = self.version.to_string();
            if request.deleting && request.finalizers.is_empty() {
                self.request = None;
                self.secret = SecretState::Absent;
            }
        }
    }

    /// A write that is refused if somebody else wrote since `seen`.
    fn write(&mut self, seen: &Request, change: impl FnOnce(&mut Request)) -> bool {
        let is_current = self.request.as_ref().is_some_and(|request| {
            request.uid == seen.uid && request.resource_version == seen.resource_version
        });
        if is_current {
            self.change(change);
        }
        is_current
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Create if self.request.is_none() => {
                self.version += 1;
                self.request = Some(Request {
                    uid: format!("request-{}", self.version),
                    resource_version: self.version.to_string(),
                    finalizers: Vec::new(),
                    ..request()
                });
            }
            Event::Delete => self.change(|request| request.deleting = true),
            Event::EditExpiry => self.change(|request| {
                if let Ok(wish) = &mut request.wish {
                    let hours = wish.life.map_or(0, |life| life.as_hours()) % 3 + 1;
                    *wish = lasting(&format!("{hours}h"), SignedDuration::from_hours(hours));
                }
            }),
            Event::DeleteSecret => self.secret = SecretState::Absent,
            Event::EditSecret => {
                if let SecretState::Ours { digest, .. } = &mut self.secret {
                    *digest = "vandalism".to_owned();
                }
            }
            Event::ClusterGoes => self.cluster = ClusterState::Unreachable("gone".to_owned()),
            Event::ClusterComes if !self.answers() => {
                self.cluster = ready(&format!("c{}", self.made));
            }
            Event::ClusterIsMadeAnew => {
                self.made += 1;
                self.tokens.clear();
                self.cluster = ready(&format!("c{}", self.made));
            }
            Event::HourPasses => self.now += SignedDuration::from_hours(1),
            _ => {}
        }
    }

    fn answers(&self) -> bool {
        matches!(self.cluster, ClusterState::Ready(_))
    }

    /// One step of an operator, of which `writes` writes happen. Whether there was anything to do.
    fn step(&mut self, operator: &Operator, writes: usize) -> bool {
        let Some(seen) = &operator.seen else {
            return false;
        };
        self.serial += 1;
        let (fresh, state) = (format!("t{:05}", self.serial), self.cluster.clone());
        let step = decide(&View {
            request: seen,
            cluster: &|_| state.clone(),
            secret: &self.secret,
            now: self.now,
            fresh: &fresh,
        });
        let deeds = self.deeds_of(step, seen);
        let is_something = !deeds.is_empty();
        for deed in deeds.into_iter().take(writes) {
            if !deed(self) {
                break;
            }
        }
        is_something
    }

    /// The writes of a step, in the worker's order.
    fn deeds_of(&self, step: Step, seen: &Request) -> Vec<Deed> {
        let status = |status: Status| -> Deed {
            let seen = seen.clone();
            Box::new(move |sim| sim.write(&seen, |request| request.status = status))
        };
        let finalizers = |finalizers: Vec<String>| -> Deed {
            let seen = seen.clone();
            Box::new(move |sim| sim.write(&seen, |request| request.finalizers = finalizers))
        };
        match step {
            Step::Rest(_) => Vec::new(),
            Step::Hold => vec![finalizers(vec![FINALIZER.to_owned()])],
            Step::Release => vec![finalizers(Vec::new())],
            Step::Write(written) => vec![status(*written)],
            Step::Deliver(issue) => {
                let stands = self.tokens.contains(&issue.id);
                if issue.phase != Phase::Decided && !stands {
                    return vec![status(without(seen, &issue.id))];
                }
                let after = status(delivered(seen, &issue.id, &issue.id, "way", self.now));
                let (id, uid, end) = (issue.id.clone(), seen.uid.clone(), issue.expiration_time);
                let make: Deed = Box::new(move |sim| {
                    sim.ends.extend(end.map(|end| (id.clone(), end)));
                    sim.tokens.insert(id);
                    sim.answers()
                });
                let put: Deed = Box::new(move |sim| {
                    if sim.request.as_ref().is_some_and(|now| now.uid == uid) {
                        let (digest, is_whole) = (issue.id, true);
                        sim.secret = SecretState::Ours { digest, is_whole };
                    }
                    true
                });
                vec![make, put, after]
            }
            Step::Remove(issue, after) => {
                let remove: Deed = Box::new(move |sim| {
                    sim.tokens.remove(&issue.id);
                    sim.answers()
                });
                vec![remove, status(*after)]
            }
            Step::Owe(issue, after) => {
                let owe: Deed = Box::new(move |sim| {
                    sim.debts.insert(issue.id);
                    true
                });
                vec![owe, status(*after)]
            }
        }
    }

    /// Tokens that still let somebody in.
    fn good(&self) -> BTreeSet<String> {
        let is_past = |id: &&String| self.ends.get(*id).is_some_and(|end| *end <= self.now);
        let tokens = self.tokens.iter();
        tokens.filter(|id| !is_past(id)).cloned().collect()
    }

    /// Good tokens that stand there and that nobody answers for.
    fn strays(&self) -> Vec<String> {
        let recorded = |id: &String| {
            let request = self.request.as_ref();
            request.is_some_and(|request| request.status.tokens.iter().any(|issue| issue.id == *id))
        };
        let mut strays: Vec<String> = self.good().into_iter().collect();
        strays.retain(|id| !recorded(id) && !self.debts.contains(id));
        strays
    }

    /// Everything that operators do when nothing keeps them from it.
    fn settle(&mut self) {
        for _ in 0..60 {
            let operator = Operator {
                seen: self.request.clone(),
            };
            if self.answers() {
                for gone in self
                    .strays()
                    .into_iter()
                    .chain(std::mem::take(&mut self.debts))
                {
                    self.tokens.remove(&gone);
                }
            }
            if !self.step(&operator, usize::MAX) {
                return;
            }
        }
        panic!("no end: {:?}", self.request);
    }
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let step = (0..2_usize, 0..4_usize).prop_map(|(who, writes)| Event::Step { who, writes });
    let one = prop_oneof![
        8 => step,
        6 => (0..2_usize).prop_map(|who| Event::Hear { who }),
        3 => Just(Event::Create),
        1 => Just(Event::Delete),
        1 => Just(Event::EditExpiry),
        1 => Just(Event::DeleteSecret),
        1 => Just(Event::EditSecret),
        1 => Just(Event::ClusterGoes),
        2 => Just(Event::ClusterComes),
        1 => Just(Event::ClusterIsMadeAnew),
        1 => Just(Event::HourPasses),
    ];
    prop::collection::vec(one, 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn operators_that_die_anywhere_leak_no_token(events in events()) {
        let mut sim = Sim::new();
        let mut operators = [Operator::default(), Operator::default()];
        for event in events {
            match event {
                Event::Step { who, writes } => {
                    sim.step(&operators[who], writes);
                }
                Event::Hear { who } => operators[who].seen.clone_from(&sim.request),
                other => sim.event(other),
            }
        }
        sim.settle();
        if !sim.answers() {
            return Ok(());
        }
        prop_assert!(sim.strays().is_empty());
        let Some(request) = &sim.request else {
            prop_assert!(sim.good().is_empty(), "{:?} stand", sim.good());
            return Ok(());
        };
        let current = request.status.current().expect("a token");
        let mut expected = BTreeSet::new();
        if !current.is_past(sim.now) {
            expected.insert(current.id.clone());
            let (digest, is_whole) = (current.id.clone(), true);
            prop_assert_eq!(&sim.secret, &SecretState::Ours { digest, is_whole });
        }
        prop_assert_eq!(&sim.good(), &expected);
    }

    /// One operator at a time, killed anywhere: then not even for a moment is there a token without a record.
    #[test]
    fn what_one_operator_leaves_is_on_record_at_every_moment(events in events()) {
        let mut sim = Sim::new();
        for event in events {
            match event {
                Event::Step { writes, .. } => {
                    let operator = Operator { seen: sim.request.clone() };
                    sim.step(&operator, writes);
                }
                Event::Hear { .. } => {}
                other => sim.event(other),
            }
            prop_assert!(sim.strays().is_empty(), "{event:?}");
        }
    }
}
