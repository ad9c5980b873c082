//! Tells people what happened to a request: Kubernetes Events and the log. Work does not wait for it.
//!
//! It refuses to know secrets: of a token it has the id.

use super::request::{Issue, Request};
use super::status::{EXPIRED, READY};
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// How many Events are sent at the same time; what does not fit is in the log alone.
const AT_ONCE: usize = 64;

/// Who reports.
const REPORTER: &str = "muster-operator";

/// What the status does not say.
pub(crate) enum News<'a> {
    /// Somebody had changed the Secret.
    Restored,
    /// Somebody had deleted the Secret.
    Refilled,
    /// Somebody had removed the token from the target cluster.
    Lost { id: &'a str },
    /// A token is out of the target cluster.
    Removed { issue: &'a Issue },
    /// A token has to be removed later.
    Owed { issue: &'a Issue },
}

/// Sends Events.
#[derive(Clone)]
pub(crate) struct Announcer {
    recorder: Recorder,
    places: Arc<Semaphore>,
}

impl Announcer {
    /// In the name of the operator on this machine.
    pub(crate) fn new(client: Client, identity: &str) -> Self {
        let reporter = Reporter {
            controller: REPORTER.to_owned(),
            instance: Some(identity.to_owned()),
        };
        Self {
            recorder: Recorder::new(client, reporter),
            places: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Tells.
    pub(crate) fn tell(&self, request: &Request, news: News<'_>) {
        let (type_, reason, note) = match news {
            News::Restored => (
                EventType::Warning,
                "SecretRestored",
                "the Secret was changed by somebody else; it holds the token again".to_owned(),
            ),
            News::Refilled => (
                EventType::Warning,
                "SecretRestored",
                "the Secret was deleted; it is there again with the same token".to_owned(),
            ),
            News::Lost { id } => (
                EventType::Warning,
                "TokenLost",
                format!(
                    "token {id} was removed from the target cluster by somebody else; a fresh one is made"
                ),
            ),
            News::Removed { issue } => (
                EventType::Normal,
                "TokenRemoved",
                format!(
                    "token {} is removed from the cluster {}",
                    issue.id,
                    issue.place()
                ),
            ),
            News::Owed { issue } => (
                EventType::Warning,
                "TokenOwed",
                format!(
                    "the cluster {} does not answer; token {} is removed there when it does",
                    issue.place(),
                    issue.id
                ),
            ),
        };
        self.publish(request, type_, reason, note);
    }

    /// Tells what is new in the conditions.
    pub(crate) fn tell_difference(&self, before: &Request, after: &Request) {
        let said = |request: &Request| {
            let ready = request.status.condition(READY);
            ready.map(|ready| {
                (
                    ready.status.clone(),
                    ready.reason.clone(),
                    ready.message.clone(),
                )
            })
        };
        let now = said(after);
        if now == said(before) && before.status.token_id == after.status.token_id {
            return;
        }
        let Some((status, reason, message)) = now else {
            return;
        };
        match (status.as_str(), reason.as_str()) {
            ("True", _) if after.status.token_id.is_none() => {}
            ("True", _) => {
                let end = after.status.expiration_time;
                let end = end.map_or_else(|| "never".to_owned(), |end| end.to_string());
                let id = after.status.token_id.as_deref().unwrap_or_default();
                let note = format!("the Secret holds token {id}; it expires: {end}");
                self.publish(after, EventType::Normal, "TokenCreated", note);
            }
            (_, "Creating") => {}
            (_, EXPIRED) => self.publish(after, EventType::Normal, "TokenExpired", message),
            _ => self.publish(after, EventType::Warning, &reason, message),
        }
    }

    fn publish(&self, request: &Request, type_: EventType, reason: &str, note: String) {
        tracing::info!(request = %request.place, reason, note, "a join token request");
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return;
        };
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        let (recorder, regarding) = (self.recorder.clone(), request.object_reference());
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = recorder.publish(&event, &regarding).await {
                tracing::debug!(%error, "an event could not be sent");
            }
        });
    }
}
