//! The joining half of TLS bootstrap: one [`Survey`], then one [`Enrolment`].
//!
//! Nothing is written anywhere before the survey is done. Knows no socket, clock or key.

use std::mem;

use jiff::Timestamp;
use muster_identity::NodeName;

use super::{CertificateWish, Effect, Enrolment, Event, ExistingNode, Issued, Survey, Surveyed};

/// What TLS bootstrap starts from. The token is the driver's.
#[derive(Debug, Clone)]
pub struct TlsBootstrapRequest {
    /// Our name in the cluster.
    pub node: NodeName,
    /// The certificate that is wanted.
    pub wish: CertificateWish,
    /// What to do about a Ready node of our name.
    pub existing_node: ExistingNode,
    /// When an undecided request is given up.
    pub deadline: Timestamp,
}

/// What comes out of TLS bootstrap.
#[derive(Debug, Clone)]
pub struct Enrolled {
    /// What the cluster said about itself and our name.
    pub surveyed: Surveyed,
    /// The certificate.
    pub issued: Issued,
}

#[derive(Debug)]
enum State {
    /// The reads are under way.
    Surveying(Survey),
    /// The certificate signing request runs.
    Enrolling(Box<Surveyed>, Box<Enrolment>),
    /// Over.
    Finished,
}

/// The state machine of the joining half of TLS bootstrap.
#[derive(Debug)]
pub struct TlsBootstrap {
    wish: CertificateWish,
    deadline: Timestamp,
    state: State,
}

type Effects = Vec<Effect<Box<Enrolled>>>;

impl TlsBootstrap {
    /// Begins with the survey.
    pub fn start(request: TlsBootstrapRequest) -> (Self, Effects) {
        let TlsBootstrapRequest {
            node,
            wish,
            existing_node,
            deadline,
        } = request;
        let mut machine = Self {
            wish,
            deadline,
            state: State::Finished,
        };
        let (survey, effects) = Survey::start(node, existing_node, deadline);
        let effects = machine.surveying(survey, effects);
        (machine, effects)
    }

    /// When [`Event::Tick`] is wanted, if nothing else happens before.
    pub fn deadline(&self) -> Option<Timestamp> {
        match &self.state {
            State::Surveying(survey) => survey.deadline(),
            State::Enrolling(_, enrolment) => enrolment.deadline(),
            State::Finished => None,
        }
    }

    /// Takes in what happened. An event that the state does not wait for changes nothing.
    pub fn on(&mut self, event: Event, now: Timestamp) -> Effects {
        match mem::replace(&mut self.state, State::Finished) {
            State::Surveying(mut survey) => {
                let effects = survey.on(event, now);
                self.surveying(survey, effects)
            }
            State::Enrolling(surveyed, mut enrolment) => {
                let effects = enrolment.on(event, now);
                self.enrolling(surveyed, enrolment, effects)
            }
            State::Finished => Vec::new(),
        }
    }

    fn surveying(&mut self, survey: Survey, effects: Vec<Effect<Box<Surveyed>>>) -> Effects {
        self.state = State::Surveying(survey);
        let mut outcome = Vec::with_capacity(effects.len());
        for effect in effects {
            match effect.or_finished() {
                Ok(effect) => outcome.push(effect),
                Err(Err(error)) => {
                    self.state = State::Finished;
                    outcome.push(Effect::Finished(Err(error)));
                }
                Err(Ok(surveyed)) => {
                    let (enrolment, first) = Enrolment::start(self.wish.clone(), self.deadline);
                    outcome.extend(self.enrolling(surveyed, Box::new(enrolment), first));
                }
            }
        }
        outcome
    }

    fn enrolling(
        &mut self,
        surveyed: Box<Surveyed>,
        enrolment: Box<Enrolment>,
        effects: Vec<Effect<Box<Issued>>>,
    ) -> Effects {
        let mut outcome = Vec::with_capacity(effects.len());
        for effect in effects {
            match effect.or_finished() {
                Ok(effect) => outcome.push(effect),
                Err(result) => {
                    let enrolled = result.map(|issued| {
                        Box::new(Enrolled {
                            surveyed: *surveyed,
                            issued: *issued,
                        })
                    });
                    outcome.push(Effect::Finished(enrolled));
                    return outcome;
                }
            }
        }
        self.state = State::Enrolling(surveyed, enrolment);
        outcome
    }
}
