//! One certificate signing request from creation to certificate, as a state machine.
//!
//! The request's name is derived from the key, so that a join that was killed finds its own request
//! again. After the creation everything is watched, nothing is polled; a broken watch is followed
//! by a fresh read. Serves a node's first certificate, its renewal and its serving certificate.
//! Knows no socket, clock or private key.

use std::mem;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::certificate::check_certificate;
use super::verdict::Verdict;
use super::wish::{CertificateWish, csr_name};
use super::{CSR_PATH, Call, Effect, Event, Issued};
use crate::error::{ErrorClass, HandshakeError, approve_cure};
use crate::progress::Progress;
use crate::wire::{Request, Response};

/// Without a decision for so long, a person is told what is missing.
const PENDING_AFTER: SignedDuration = SignedDuration::from_secs(1);
/// First pause after a watch broke; doubles each time.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_millis(50);
/// Pause before a creation that failed for passing reasons is tried again.
const CREATION_PAUSE: SignedDuration = SignedDuration::from_secs(1);
/// Longest pause after a watch broke.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(5);
/// Longest single watch, in seconds; the server ends it then and it is begun again.
const LONGEST_WATCH: i64 = 300;

#[derive(Debug)]
enum State {
    /// POST under way; `named` tells whether under the key's own name.
    Creating { named: bool },
    /// GET under way because the name exists already.
    Finding,
    /// Waiting before the creation is tried again.
    CreationPausing { named: bool, until: Timestamp },
    /// Watch under way.
    Watching(Wait),
    /// GET under way after a watch ended.
    Reading(Wait),
    /// Waiting before the next read.
    Pausing { wait: Wait, until: Timestamp },
    /// Over.
    Finished,
}

#[derive(Debug)]
struct Wait {
    name: String,
    since: Timestamp,
    told_pending: bool,
    approved: bool,
    broken_watches: u32,
}

/// The state machine of one certificate signing request.
#[derive(Debug)]
pub struct Enrolment {
    wish: CertificateWish,
    deadline: Timestamp,
    state: State,
}

type Effects = Vec<Effect<Box<Issued>>>;

impl Enrolment {
    /// Begins with the creation. After `deadline` a request that nobody decided on becomes
    /// [`HandshakeError::CsrPending`].
    pub fn start(wish: CertificateWish, deadline: Timestamp) -> (Self, Effects) {
        let mut machine = Self {
            wish,
            deadline,
            state: State::Finished,
        };
        let effects = machine.create(true);
        (machine, effects)
    }

    /// When [`Event::Tick`] is wanted, if nothing else happens before.
    pub fn deadline(&self) -> Option<Timestamp> {
        match &self.state {
            State::Finished => None,
            State::Creating { .. } | State::Finding => Some(self.deadline),
            State::CreationPausing { until, .. } => Some(*until),
            State::Watching(wait) | State::Reading(wait) => Some(self.next_look(wait)),
            State::Pausing { wait, until } => Some((*until).min(self.next_look(wait))),
        }
    }

    fn next_look(&self, wait: &Wait) -> Timestamp {
        if wait.told_pending {
            self.deadline
        } else {
            pending_at(wait).min(self.deadline)
        }
    }

    /// Takes in what happened. An event that the state does not wait for changes nothing.
    pub fn on(&mut self, event: Event, now: Timestamp) -> Effects {
        match (mem::replace(&mut self.state, State::Finished), event) {
            (State::Creating { named }, Event::Answered(Call::CreateCsr, Ok(response))) => {
                self.created(named, response, now)
            }
            (State::Finding, Event::Answered(Call::ReadCsr, Ok(response))) => {
                self.found(response, now)
            }
            (State::Creating { named }, Event::Answered(Call::CreateCsr, Err(error))) => {
                self.not_created(named, error, now)
            }
            (State::Finding, Event::Answered(Call::ReadCsr, Err(error))) => {
                self.not_created(true, error, now)
            }
            (State::Reading(wait), Event::Answered(Call::ReadCsr, answer)) => match answer {
                Ok(response) => self.read(wait, response, now),
                Err(error) => self.read_failed(wait, error, now),
            },
            (State::Watching(wait), Event::Watched(event)) => self.watched(wait, &event, now),
            (State::Watching(wait), Event::WatchEnded(error)) => self.broken(wait, error, now),
            (state, Event::Tick) => self.tick(state, now),
            (state, _) => {
                self.state = state;
                Vec::new()
            }
        }
    }

    fn create(&mut self, named: bool) -> Effects {
        let name = csr_name(self.wish.csr.public_key().spki_der());
        let body = self.wish.to_object(named.then_some(name.as_str()));
        self.state = State::Creating { named };
        vec![Effect::Send(
            Call::CreateCsr,
            Request::post(CSR_PATH, body, "create the certificate signing request"),
        )]
    }

    fn created(&mut self, named: bool, response: Response, now: Timestamp) -> Effects {
        if named && response.status == http::StatusCode::CONFLICT {
            self.state = State::Finding;
            let name = csr_name(self.wish.csr.public_key().spki_der());
            return vec![Effect::Send(Call::ReadCsr, read_request(&name))];
        }
        match object_of(response, "create the certificate signing request") {
            Ok(object) => self.follow(&object, false, now),
            Err(error) => self.not_created(named, error, now),
        }
    }

    /// The driver's own attempts are used up. A server that may recover is given time until the
    /// deadline; the name makes sure that nothing is created twice.
    fn not_created(&mut self, named: bool, error: HandshakeError, now: Timestamp) -> Effects {
        let until = now.checked_add(CREATION_PAUSE).unwrap_or(now);
        if error.class() == ErrorClass::Terminal || until >= self.deadline {
            return finished(Err(error));
        }
        let told = Progress::Retrying {
            id: error.id(),
            reason: error.to_string(),
            at: until,
        };
        self.state = State::CreationPausing { named, until };
        vec![Effect::Tell(told)]
    }

    /// There is a request of our name already: take it over if it is ours and still of use.
    fn found(&mut self, response: Response, now: Timestamp) -> Effects {
        if response.status == http::StatusCode::NOT_FOUND {
            // Deleted between the two calls.
            return self.create(true);
        }
        let object = match object_of(response, "read the certificate signing request") {
            Ok(object) => object,
            Err(error) => return self.not_created(true, error, now),
        };
        let usable = match Verdict::of(&object) {
            Verdict::Undecided | Verdict::Approved => true,
            Verdict::Issued(pem) => check_certificate(&self.wish, "", &pem, now).is_ok(),
            Verdict::Denied(_) | Verdict::Failed(_) => false,
        };
        if usable && self.wish.is_asked_by(&object) {
            self.follow(&object, true, now)
        } else {
            self.create(false)
        }
    }

    fn follow(&mut self, object: &Value, resumed: bool, now: Timestamp) -> Effects {
        let Some(name) = object.pointer("/metadata/name").and_then(Value::as_str) else {
            return finished(Err(unusable_answer("the created request has no name")));
        };
        let wait = Wait {
            name: name.to_owned(),
            since: now,
            told_pending: false,
            approved: false,
            broken_watches: 0,
        };
        let mut effects = vec![Effect::Tell(Progress::CsrCreated {
            name: name.to_owned(),
            resumed,
        })];
        effects.extend(self.look(wait, object, true, now));
        effects
    }

    /// Judges one state of the object; `begin` asks for a (new) watch when it is undecided.
    fn look(&mut self, mut wait: Wait, object: &Value, begin: bool, now: Timestamp) -> Effects {
        let mut effects = Vec::new();
        match Verdict::of(object) {
            Verdict::Denied(message) => {
                return finished(Err(HandshakeError::CsrDenied {
                    name: wait.name,
                    message,
                }));
            }
            Verdict::Failed(message) => {
                return finished(Err(HandshakeError::CsrFailed {
                    name: wait.name,
                    message,
                }));
            }
            Verdict::Issued(pem) => return self.issued(&wait, &pem, now),
            Verdict::Approved if !wait.approved => {
                wait.approved = true;
                effects.push(Effect::Tell(Progress::CsrApproved {
                    name: wait.name.clone(),
                }));
            }
            Verdict::Approved | Verdict::Undecided => {}
        }
        if begin {
            let version = object
                .pointer("/metadata/resourceVersion")
                .and_then(Value::as_str);
            effects.push(Effect::Watch(self.watch_request(&wait.name, version, now)));
        }
        self.state = State::Watching(wait);
        effects
    }

    fn issued(&self, wait: &Wait, pem: &[u8], now: Timestamp) -> Effects {
        match check_certificate(&self.wish, &wait.name, pem, now) {
            Err(error) => finished(Err(error)),
            Ok(issued) => vec![
                Effect::Tell(Progress::CertificateIssued {
                    name: wait.name.clone(),
                    not_after: issued.not_after,
                }),
                Effect::Finished(Ok(Box::new(issued))),
            ],
        }
    }

    fn watched(&mut self, mut wait: Wait, event: &Value, now: Timestamp) -> Effects {
        let object = event.get("object").unwrap_or(&Value::Null);
        match event.get("type").and_then(Value::as_str) {
            Some("ADDED" | "MODIFIED") => {
                wait.broken_watches = 0;
                if object.pointer("/metadata/name").and_then(Value::as_str) != Some(&wait.name) {
                    self.state = State::Watching(wait);
                    return Vec::new();
                }
                self.look(wait, object, false, now)
            }
            Some("DELETED") => finished(Err(deleted(wait.name))),
            // Most often 410: the version is gone. Whatever it is, a fresh read tells more.
            Some("ERROR") => self.broken(wait, None, now),
            _ => {
                self.state = State::Watching(wait);
                Vec::new()
            }
        }
    }

    fn broken(&mut self, mut wait: Wait, error: Option<HandshakeError>, now: Timestamp) -> Effects {
        if let Some(error) = error.filter(|error| error.class() == ErrorClass::Terminal) {
            return finished(Err(error));
        }
        wait.broken_watches += 1;
        if wait.broken_watches == 1 {
            return self.read_again(wait);
        }
        self.pause(wait, now)
    }

    fn pause(&mut self, wait: Wait, now: Timestamp) -> Effects {
        let doublings = wait.broken_watches.clamp(1, 8) - 1;
        let pause = (FIRST_PAUSE * (1_i32 << doublings)).min(LONGEST_PAUSE);
        let until = now.checked_add(pause).unwrap_or(now);
        self.state = State::Pausing { wait, until };
        Vec::new()
    }

    fn read_again(&mut self, wait: Wait) -> Effects {
        let read = Effect::Send(Call::ReadCsr, read_request(&wait.name));
        self.state = State::Reading(wait);
        vec![read]
    }

    fn read(&mut self, wait: Wait, response: Response, now: Timestamp) -> Effects {
        if response.status == http::StatusCode::NOT_FOUND {
            return finished(Err(deleted(wait.name)));
        }
        match object_of(response, "read the certificate signing request") {
            Ok(object) => self.look(wait, &object, true, now),
            Err(error) => self.read_failed(wait, error, now),
        }
    }

    fn read_failed(&mut self, mut wait: Wait, error: HandshakeError, now: Timestamp) -> Effects {
        if error.class() == ErrorClass::Terminal {
            return finished(Err(error));
        }
        wait.broken_watches += 1;
        let told = Progress::Retrying {
            id: error.id(),
            reason: error.to_string(),
            at: now,
        };
        let mut effects = self.pause(wait, now);
        if let (State::Pausing { until, .. }, Progress::Retrying { id, reason, .. }) =
            (&self.state, told)
        {
            effects.push(Effect::Tell(Progress::Retrying {
                id,
                reason,
                at: *until,
            }));
        }
        effects
    }

    fn tick(&mut self, state: State, now: Timestamp) -> Effects {
        match state {
            State::Finished => Vec::new(),
            State::Creating { .. } | State::Finding if now >= self.deadline => {
                finished(Err(HandshakeError::ServerError {
                    what: "create the certificate signing request".to_owned(),
                    status: http::StatusCode::REQUEST_TIMEOUT.as_u16(),
                    reason: "Timeout".to_owned(),
                    message: "the deadline passed before the server answered".to_owned(),
                }))
            }
            State::CreationPausing { named, until } if now >= until => self.create(named),
            State::Watching(mut wait) => {
                if now >= self.deadline {
                    return finished(Err(undecided(&wait)));
                }
                let effects = tell_pending(&mut wait, now);
                self.state = State::Watching(wait);
                effects
            }
            State::Reading(mut wait) => {
                if now >= self.deadline {
                    return finished(Err(undecided(&wait)));
                }
                let effects = tell_pending(&mut wait, now);
                self.state = State::Reading(wait);
                effects
            }
            State::Pausing { mut wait, until } => {
                if now >= self.deadline {
                    return finished(Err(undecided(&wait)));
                }
                let mut effects = tell_pending(&mut wait, now);
                if now >= until {
                    effects.extend(self.read_again(wait));
                } else {
                    self.state = State::Pausing { wait, until };
                }
                effects
            }
            state => {
                self.state = state;
                Vec::new()
            }
        }
    }

    fn watch_request(&self, name: &str, version: Option<&str>, now: Timestamp) -> Request {
        let left = self
            .deadline
            .duration_since(now)
            .as_secs()
            .clamp(1, LONGEST_WATCH);
        let mut path = format!(
            "{CSR_PATH}?watch=true&allowWatchBookmarks=true&fieldSelector=metadata.name%3D{name}&timeoutSeconds={left}"
        );
        if let Some(version) = version.filter(|v| v.bytes().all(|b| b.is_ascii_alphanumeric())) {
            path.push_str("&resourceVersion=");
            path.push_str(version);
        }
        Request::get(path, "watch the certificate signing request")
    }
}

fn pending_at(wait: &Wait) -> Timestamp {
    wait.since.checked_add(PENDING_AFTER).unwrap_or(wait.since)
}

fn tell_pending(wait: &mut Wait, now: Timestamp) -> Effects {
    if wait.told_pending || now < pending_at(wait) {
        return Vec::new();
    }
    wait.told_pending = true;
    let cure = undecided(wait).remedy();
    debug_assert!(wait.approved || cure == approve_cure(&wait.name));
    vec![Effect::Tell(Progress::CsrPending {
        name: wait.name.clone(),
        approved: wait.approved,
        cure,
    })]
}

fn undecided(wait: &Wait) -> HandshakeError {
    HandshakeError::CsrPending {
        name: wait.name.clone(),
        approved: wait.approved,
    }
}

fn deleted(name: String) -> HandshakeError {
    HandshakeError::CsrFailed {
        name,
        message: "somebody deleted it before it was signed".to_owned(),
    }
}

fn unusable_answer(message: &str) -> HandshakeError {
    HandshakeError::ServerError {
        what: "handle the certificate signing request".to_owned(),
        status: http::StatusCode::OK.as_u16(),
        reason: String::new(),
        message: message.to_owned(),
    }
}

fn object_of(response: Response, purpose: &str) -> Result<Value, HandshakeError> {
    if !response.status.is_success() {
        return Err(response.into_error(purpose));
    }
    response
        .json()
        .ok_or_else(|| unusable_answer("the answer is not a JSON object"))
}

fn read_request(name: &str) -> Request {
    Request::get(
        format!("{CSR_PATH}/{name}"),
        "read the certificate signing request",
    )
}

fn finished(result: Result<Box<Issued>, HandshakeError>) -> Effects {
    vec![Effect::Finished(result)]
}
