//! The API over a connection of our own.

use async_trait::async_trait;
use futures::StreamExt as _;
use http::Method;
use muster_net::request::MERGE_PATCH;
use muster_net::{ApiClient, ApiError, ApiRequest};
use serde_json::Value;

use super::{Api, Events};

/// An API server that we speak to ourselves.
#[derive(Clone, Debug)]
pub(crate) struct Direct(pub(crate) ApiClient);

#[async_trait]
impl Api for Direct {
    async fn get(&self, path: &str) -> Result<Value, ApiError> {
        self.0.get(path).await
    }

    async fn text(&self, path: &str) -> Result<Vec<u8>, ApiError> {
        let request = ApiRequest::new(Method::GET, path);
        Ok(self.0.send(&request).await?.body.to_vec())
    }

    async fn create(&self, path: &str, object: &Value) -> Result<Value, ApiError> {
        self.0.create(path, object).await
    }

    async fn replace(&self, path: &str, object: &Value) -> Result<Value, ApiError> {
        self.0.replace(path, object).await
    }

    async fn merge(&self, path: &str, patch: &Value) -> Result<Value, ApiError> {
        self.0.patch(path, MERGE_PATCH, patch).await
    }

    async fn delete(&self, path: &str) -> Result<(), ApiError> {
        self.0.delete(path, None).await.map(drop)
    }

    async fn watch(&self, path: &str) -> Result<Events, ApiError> {
        Ok(self.0.watch(path).await?.into_stream().boxed())
    }
}
