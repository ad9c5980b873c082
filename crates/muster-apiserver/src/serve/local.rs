//! The way in for callers in this process: a `tower::Service` in the name of one user, through the same
//! pipeline as requests from the network, without TLS and without credentials.
//!
//! Refuses to know: who calls it. `kube::Client::new(service, "default")` works on it.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use http::{HeaderValue, Request, Response, header::USER_AGENT};
use http_body::Body;
use http_body_util::BodyExt;
use tower::Service;

use crate::{
    pipeline::{Caller, Pipeline},
    request::UserInfo,
    wire::ResponseBody,
};

/// Requests in the name of one user.
#[derive(Clone)]
pub struct LocalService {
    pipeline: Arc<Pipeline>,
    caller: Arc<Caller>,
    /// What a client without a name of its own is called.
    program: Option<HeaderValue>,
}

impl LocalService {
    pub(crate) fn new(pipeline: Arc<Pipeline>, user: UserInfo) -> Self {
        let program = user.name.rsplit(':').next().unwrap_or_default();
        Self {
            program: HeaderValue::try_from(program).ok(),
            pipeline,
            caller: Arc::new(Caller::Local(Arc::new(user))),
        }
    }
}

impl std::fmt::Debug for LocalService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalService")
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}

impl<B> Service<Request<B>> for LocalService
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (pipeline, caller) = (Arc::clone(&self.pipeline), Arc::clone(&self.caller));
        let mut request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        if let Some(name) = self.program.clone() {
            request.headers_mut().entry(USER_AGENT).or_insert(name);
        }
        // A task of its own: a caller that stops polling must not hold a place in the pipeline.
        let answer = tokio::spawn(pipeline.answer(request, caller));
        async move {
            Ok(answer.await.unwrap_or_else(|_| {
                let mut response = Response::new(ResponseBody::empty());
                *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
                response
            }))
        }
        .boxed()
    }
}
