//! The API with a stopwatch: how fast it answers, and whether it is crowded, says how many hosts may join at once.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use muster_net::ApiError;
use muster_rollout::Pressure;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;

use super::{Api, Events};

/// An API whose answers are felt.
pub(crate) struct Measured {
    pub(crate) api: Arc<dyn Api>,
    pub(crate) pressures: UnboundedSender<Pressure>,
}

impl Measured {
    async fn felt<T>(
        &self,
        call: impl Future<Output = Result<T, ApiError>> + Send,
    ) -> Result<T, ApiError> {
        let begin = Instant::now();
        let answer = call.await;
        let pressure = match &answer {
            Err(error) => of_error(error),
            Ok(_) => None,
        };
        let latency = begin.elapsed();
        let _ = self
            .pressures
            .send(pressure.unwrap_or(Pressure::Fine { latency }));
        answer
    }
}

/// What a refusal says about how much the server bears; `None`: nothing.
fn of_error(error: &ApiError) -> Option<Pressure> {
    match error {
        ApiError::Status(status) if status.code == 429 => Some(Pressure::TooManyRequests {
            retry_after: status.retry_after,
        }),
        ApiError::Status(status) => (status.code >= 500).then_some(Pressure::Slow),
        ApiError::Transport { .. } => Some(Pressure::Slow),
        ApiError::Decode { .. } | ApiError::Tls(_) => None,
    }
}

#[async_trait]
impl Api for Measured {
    async fn get(&self, path: &str) -> Result<Value, ApiError> {
        self.felt(self.api.get(path)).await
    }

    async fn text(&self, path: &str) -> Result<Vec<u8>, ApiError> {
        self.felt(self.api.text(path)).await
    }

    async fn create(&self, path: &str, object: &Value) -> Result<Value, ApiError> {
        self.felt(self.api.create(path, object)).await
    }

    async fn replace(&self, path: &str, object: &Value) -> Result<Value, ApiError> {
        self.felt(self.api.replace(path, object)).await
    }

    async fn merge(&self, path: &str, patch: &Value) -> Result<Value, ApiError> {
        self.felt(self.api.merge(path, patch)).await
    }

    async fn delete(&self, path: &str) -> Result<(), ApiError> {
        self.felt(self.api.delete(path)).await
    }

    async fn watch(&self, path: &str) -> Result<Events, ApiError> {
        self.api.watch(path).await
    }
}
