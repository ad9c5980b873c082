//! One call to one member, on a connection of its own, within a limit; and its failure told apart: not reached, or
//! refused by etcd in its own words.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use muster_identity::Endpoint as Address;
use rustls::ClientConfig;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Endpoint, Uri};
use tonic_prost::ProstCodec;

use super::{EtcdError, Refusal};
use crate::connect::{DialLimits, dial, secure};

/// How long a call may take, connection included; as kubeadm's.
const CALL_LIMIT: Duration = Duration::from_secs(2);
/// Largest answer that is read, in bytes.
const LARGEST_ANSWER: usize = 1 << 20;

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallFailure {
    /// Nobody answered.
    #[error("{reason}")]
    NotReached {
        /// Why, from the innermost cause.
        reason: String,
    },
    /// etcd answered with an error.
    #[error("{message}")]
    Refused {
        /// Its reason.
        refusal: Refusal,
        /// Its words.
        message: String,
    },
}

impl CallFailure {
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(*refusal),
            Self::NotReached { .. } => None,
        }
    }

    pub(super) fn into_error(self, call: &'static str, url: &str) -> EtcdError {
        match self {
            Self::Refused { refusal, message } => EtcdError::Refused {
                call,
                refusal,
                message,
            },
            Self::NotReached { reason } => EtcdError::Unreachable {
                members: vec![(url.to_owned(), reason)],
            },
        }
    }
}

fn not_reached(reason: impl ToString) -> CallFailure {
    CallFailure::NotReached {
        reason: reason.to_string(),
    }
}

pub(super) async fn call<Q, A>(
    url: &str,
    tls: Option<Arc<ClientConfig>>,
    path: &'static str,
    question: Q,
) -> Result<A, CallFailure>
where
    Q: prost::Message + Clone + 'static,
    A: prost::Message + Default + 'static,
{
    let answer = tokio::time::timeout(CALL_LIMIT, exchange(url, tls, path, question)).await;
    answer.unwrap_or_else(|_| Err(not_reached(format!("no answer within {CALL_LIMIT:?}"))))
}

async fn exchange<Q, A>(
    url: &str,
    tls: Option<Arc<ClientConfig>>,
    path: &'static str,
    question: Q,
) -> Result<A, CallFailure>
where
    Q: prost::Message + Clone + 'static,
    A: prost::Message + Default + 'static,
{
    let authority = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))
        .unwrap_or(url);
    let address = Address::parse(authority.trim_end_matches('/')).map_err(not_reached)?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let origin: Uri = format!("{scheme}://{address}")
        .parse()
        .map_err(not_reached)?;
    // The connector makes the TLS; to tonic it is a plain connection.
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(not_reached)?
        .origin(origin);
    let connector = tower::service_fn(move |_: Uri| {
        let (address, tls) = (address.clone(), tls.clone());
        async move { connect(&address, tls).await.map_err(std::io::Error::other) }
    });
    let channel = endpoint
        .connect_with_connector(connector)
        .await
        .map_err(|error| not_reached(innermost(&error)))?;
    let mut grpc = Grpc::new(channel).max_decoding_message_size(LARGEST_ANSWER);
    grpc.ready()
        .await
        .map_err(|error| not_reached(innermost(&error)))?;
    let request = tonic::Request::new(question);
    let path = PathAndQuery::from_static(path);
    match grpc
        .unary(request, path, ProstCodec::<Q, A>::default())
        .await
    {
        Ok(answer) => Ok(answer.into_inner()),
        Err(status) if status.source().is_none() => Err(CallFailure::Refused {
            refusal: Refusal::of(status.message()),
            message: status.message().to_owned(),
        }),
        Err(status) => Err(not_reached(innermost(&status))),
    }
}

/// A connection of either kind.
trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Stream for T {}

async fn connect(
    address: &Address,
    tls: Option<Arc<ClientConfig>>,
) -> Result<TokioIo<Box<dyn Stream>>, muster_handshake::HandshakeError> {
    let limits = DialLimits::default();
    let stream = dial(address, &limits).await?;
    let stream: Box<dyn Stream> = match tls {
        None => Box::new(stream),
        Some(tls) => Box::new(secure(stream, address, None, tls, &limits).await?),
    };
    Ok(TokioIo::new(stream))
}

/// The words of the innermost cause: the outer ones say only that something failed.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}
