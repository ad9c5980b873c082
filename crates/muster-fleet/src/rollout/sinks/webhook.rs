//! A webhook: batches of events as JSON, POSTed in order. What is not taken after a few tries is lost and counted.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderMap;
use muster_net::{PostError, PostTarget};
use muster_rollout::Event;
use tokio::time::sleep;

use crate::rollout::bus::Sink;

/// How long one POST may take.
const LIMIT: Duration = Duration::from_secs(5);
/// How often one batch is tried.
const TRIES: u32 = 3;

/// Tells a web address: `{"events": […]}`.
pub struct Webhook(PostTarget);

impl Webhook {
    /// A webhook at `http://…` or `https://…`.
    ///
    /// # Errors
    /// [`PostError::Address`].
    pub fn new(url: &str) -> Result<Self, PostError> {
        PostTarget::parse(url).map(Self)
    }
}

#[async_trait]
impl Sink for Webhook {
    fn name(&self) -> &str {
        "webhook"
    }

    async fn take(&mut self, events: &[Arc<Event>]) -> Result<(), String> {
        let events: Vec<&Event> = events.iter().map(AsRef::as_ref).collect();
        let body = serde_json::json!({"events": events}).to_string();
        let mut last = String::new();
        for attempt in 1..=TRIES {
            let posted = self
                .0
                .post("application/json", &HeaderMap::new(), body.clone(), LIMIT)
                .await;
            match posted {
                Ok(()) => return Ok(()),
                Err(error) => last = error.to_string(),
            }
            if attempt < TRIES {
                sleep(Duration::from_millis(200) * attempt).await;
            }
        }
        Err(last)
    }
}
