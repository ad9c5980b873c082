//! The way of a request, as one list: panic guard, request id, attributes, time limit, authentication, impersonation,
//! in-flight limit, authorisation, routing. A request is refused at the first stage that can.
//!
//! Refuses to know: sockets, and what the stages decide by. Refusals become answers at the end of this list
//! and nowhere else.

mod deprecation;
mod lane;
mod limit;
mod observation;
mod time_limit;

use std::{
    net::SocketAddr,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt, future::BoxFuture};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use jiff::Timestamp;
use muster_machinery::status::{AccessAttributes, Status};

pub(crate) use limit::InflightLimits;

use observation::Observation;

use crate::{
    audit::Auditor,
    authn::{Authenticator, ClientCertificate},
    authz::{Authorizer, Decision},
    entropy::random_uuid,
    registry::Refusal,
    request::{RequestInfo, UserInfo, Verb},
    route::{Authorised, RequestBody, Router, negotiated},
    system::Metrics,
    wire::{Negotiated, Response, ResponseBody, compressed, refusal_response, takes_gzip, warn},
};

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");
/// The longest audit id that is taken over from a client.
const MAX_AUDIT_ID: usize = 64;

/// Where a request comes from.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// From the network, with the certificate of the client if it showed one.
    Remote {
        /// The certificate, which nobody has judged yet.
        certificate: Option<Arc<ClientCertificate>>,
        /// Where the client is.
        address: SocketAddr,
    },
    /// From this process, in the name of a user.
    Local(Arc<UserInfo>),
}

impl Caller {
    /// Whether a certificate was shown.
    pub(crate) fn has_certificate(&self) -> bool {
        matches!(
            self,
            Self::Remote {
                certificate: Some(_),
                ..
            }
        )
    }

    /// Where the caller is, if not here.
    pub(crate) fn ip(&self) -> Option<std::net::IpAddr> {
        match self {
            Self::Remote { address, .. } => Some(address.ip()),
            Self::Local(_) => None,
        }
    }
}

/// The stages and what they go by.
pub(crate) struct Pipeline {
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) authorizer: Arc<Authorizer>,
    pub(crate) limits: InflightLimits,
    /// The longest that a request may take.
    pub(crate) longest: Duration,
    pub(crate) router: Router,
    pub(crate) metrics: Arc<Metrics>,
    /// Who keeps the audit log, if there is one.
    pub(crate) auditor: Option<Arc<Auditor>>,
}

impl Pipeline {
    /// Answers a request, whatever happens.
    pub(crate) fn answer(
        self: Arc<Self>,
        request: Request<RequestBody>,
        caller: Arc<Caller>,
    ) -> BoxFuture<'static, Response> {
        Box::pin(async move { self.handle(request, &caller).await })
    }

    async fn handle(&self, request: Request<RequestBody>, caller: &Caller) -> Response {
        let info = RequestInfo::parse(
            request.method(),
            request.uri().path(),
            request.uri().query(),
        );
        let wanted = negotiated(request.headers(), request.uri().query(), false);
        let wanted = wanted.unwrap_or(Negotiated::JSON);
        let is_head = request.method() == Method::HEAD;
        let packs = !is_head && takes_gzip(request.headers());
        let audit_id = audit_id(request.headers());
        let head = (&audit_id, caller.ip(), caller.has_certificate());
        let auditor = self.auditor.as_ref();
        let observation = Observation::begin(&self.metrics, auditor, &request, &info, head);
        let mut panicked = false;
        let mut response = self
            .guarded(request, &info, caller, (&observation, &mut panicked))
            .await
            .unwrap_or_else(|refusal| refusal_response(&refusal, wanted));
        if is_head {
            *response.body_mut() = ResponseBody::empty();
        }
        warn(response.headers_mut(), &observation.notes().warnings());
        add_headers(response.headers_mut(), audit_id);
        let response = observation.answered(response, panicked).await;
        if packs {
            return compressed(response);
        }
        response
    }

    /// Neither a panic nor a body that never ends gets past here.
    async fn guarded(
        &self,
        request: Request<RequestBody>,
        info: &RequestInfo,
        caller: &Caller,
        (observation, panicked): (&Observation, &mut bool),
    ) -> Result<Response, Refusal> {
        let limit = time_limit::of(info, request.uri().query(), self.longest)?;
        let stages = AssertUnwindSafe(self.stages(request, info, caller, observation));
        let stages = stages.catch_unwind();
        match tokio::time::timeout(limit, stages).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(panic)) => {
                let why = panic.downcast_ref::<&str>().copied();
                let why = why.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
                observation.panicked(why.unwrap_or_default());
                *panicked = true;
                tracing::error!(path = info.path, "a request handler panicked");
                Err(Status::internal("the request handler failed").into())
            }
            Err(_elapsed) => {
                observation.terminated(504);
                let why = "request did not complete within the allotted timeout";
                Err(Status::timeout(why, 0).into())
            }
        }
    }

    async fn stages(
        &self,
        request: Request<RequestBody>,
        info: &RequestInfo,
        caller: &Caller,
        observation: &Observation,
    ) -> Result<Response, Refusal> {
        let notes = observation.notes();
        let now = Timestamp::now();
        let (parts, body) = request.into_parts();
        let user = self.authenticate(&parts.headers, caller, now);
        let sender = user.inspect_err(|_| observation.not_authenticated())?;
        observation.authenticated(&sender);
        let acting = self.authorizer.acting_user(&sender, info, &parts.headers)?;
        let user = match acting {
            Some(acting) => {
                observation.impersonates(&acting.user);
                acting.user
            }
            None => sender,
        };
        let _place = self.limits.enter(&user, info, caller.ip()).await?;
        self.authorize(&user, info, observation)?;
        let watching = match info.verb {
            Verb::Watch => Some(self.limits.begin_watch(&user)?),
            _ => None,
        };
        if let Some(warning) = deprecation::warning(info) {
            notes.warn(&warning);
        }
        let authorised = Authorised {
            user,
            info: info.clone(),
            method: parts.method,
            query: parts.uri.query().map(str::to_owned),
            headers: parts.headers,
            body,
            now,
            notes: Arc::clone(notes),
        };
        let answer = self.router.route(authorised).await?;
        Ok(match watching {
            Some(watching) => watching.until_it_ends(answer),
            None => answer,
        })
    }

    fn authenticate(
        &self,
        headers: &HeaderMap,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<UserInfo, Refusal> {
        let certificate = match caller {
            Caller::Local(user) => return Ok(UserInfo::clone(user)),
            Caller::Remote { certificate, .. } => certificate.as_deref(),
        };
        self.authenticator
            .authenticate(headers, certificate, now)
            .map_err(|reason| {
                tracing::debug!(%reason, "a request could not be authenticated");
                Status::unauthorized().into()
            })
    }

    fn authorize(
        &self,
        user: &UserInfo,
        info: &RequestInfo,
        observation: &Observation,
    ) -> Result<(), Refusal> {
        let begun = Instant::now();
        let decision = self.authorizer.authorize(user, info);
        observation.decided(&decision, begun);
        let Decision::Deny { reason } = decision else {
            return Ok(());
        };
        let text = |part: &Option<String>| part.clone().unwrap_or_default();
        let resource = info.resource.clone().unwrap_or_default();
        Err(Status::forbidden(
            &AccessAttributes {
                user: &user.name,
                verb: info.verb.as_str(),
                group: &resource.group,
                resource: &resource.resource,
                subresource: &text(&resource.subresource),
                namespace: &text(&resource.namespace),
                name: &text(&resource.name),
                path: &info.path,
            },
            &reason,
        )
        .into())
    }
}

/// The id under which a request is found again: the client's, if it is a sane one, else a new one.
fn audit_id(headers: &HeaderMap) -> HeaderValue {
    let given = headers
        .get(AUDIT_ID)
        .filter(|id| !id.is_empty() && id.len() <= MAX_AUDIT_ID);
    given.cloned().unwrap_or_else(|| {
        HeaderValue::try_from(random_uuid()).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
    })
}

fn add_headers(headers: &mut HeaderMap, audit_id: HeaderValue) {
    headers.insert(AUDIT_ID, audit_id);
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-cache, private"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
}
