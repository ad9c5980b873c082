//! The container runtime, asked over the Container Runtime Interface: which one it is, whether it
//! is ready. It starts no pod.

mod messages;

use hyper_util::rt::TokioIo;
use messages::{RuntimeCondition, StatusRequest, StatusResponse, VersionRequest, VersionResponse};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic_prost::ProstCodec;

/// How long one call may take, as the kubelet's CRI calls in preflight.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// Why the runtime could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum CriError {
    /// The socket does not answer; the runtime is not running or listens elsewhere.
    #[error("cannot connect to the container runtime at {}", socket.display())]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
    /// The runtime answered with an error.
    #[error("the container runtime refused {call}")]
    Call {
        /// The method.
        call: &'static str,
        /// What it said.
        #[source]
        source: tonic::Status,
    },
}

/// What is known of the runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeState {
    name: String,
    version: String,
    problem: Option<String>,
    hollow: bool,
}

impl RuntimeState {
    /// No runtime at all: a simulated machine.
    #[must_use]
    pub fn hollow() -> Self {
        Self {
            name: "hollow".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            problem: None,
            hollow: true,
        }
    }

    /// A runtime that could not be asked.
    #[must_use]
    pub fn unavailable(error: &CriError) -> Self {
        use std::error::Error as _;
        let cause = error
            .source()
            .map(|cause| format!(": {cause}"))
            .unwrap_or_default();
        Self {
            name: "unknown".to_owned(),
            version: "unknown".to_owned(),
            problem: Some(format!("container runtime is down: {error}{cause}")),
            hollow: false,
        }
    }

    /// `name://version`, as `nodeInfo.containerRuntimeVersion`.
    #[must_use]
    pub fn version(&self) -> String {
        format!("{}://{}", self.name, self.version)
    }

    /// Why no pod can run, if so.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.problem.clone()
    }

    /// Whether there is no runtime on purpose.
    #[must_use]
    pub const fn is_hollow(&self) -> bool {
        self.hollow
    }
}

/// Asks a runtime, over one connection that is made anew when it breaks.
#[derive(Clone, Debug)]
pub struct Cri {
    socket: PathBuf,
    channel: Channel,
}

impl Cri {
    /// A client for the socket at `socket` (a path, or `unix://` and a path). It connects when asked.
    #[must_use]
    pub fn new(socket: &str) -> Self {
        let socket = PathBuf::from(socket.strip_prefix("unix://").unwrap_or(socket));
        let path = socket.clone();
        let connector = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://localhost")
            .timeout(CALL_TIMEOUT)
            .connect_timeout(CALL_TIMEOUT)
            .connect_with_connector_lazy(connector);
        Self { socket, channel }
    }

    /// The socket's path.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Name, version and readiness of the runtime.
    ///
    /// # Errors
    /// [`CriError`] when it does not answer or refuses.
    pub async fn state(&self) -> Result<RuntimeState, CriError> {
        let version: VersionResponse = self
            .call(
                "/runtime.v1.RuntimeService/Version",
                VersionRequest {
                    version: "0.1.0".to_owned(),
                },
            )
            .await?;
        let status: StatusResponse = self
            .call(
                "/runtime.v1.RuntimeService/Status",
                StatusRequest { verbose: false },
            )
            .await?;
        let conditions = status
            .status
            .map(|status| status.conditions)
            .unwrap_or_default();
        Ok(RuntimeState {
            name: version.runtime_name,
            version: version.runtime_version,
            problem: problem_of(&conditions),
            hollow: false,
        })
    }

    async fn call<Q, A>(&self, method: &'static str, request: Q) -> Result<A, CriError>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|source| CriError::Connect {
            socket: self.socket.clone(),
            source,
        })?;
        let codec = ProstCodec::<Q, A>::default();
        let path = PathAndQuery::from_static(method);
        let answer = grpc.unary(tonic::Request::new(request), path, codec).await;
        answer
            .map(tonic::Response::into_inner)
            .map_err(|source| CriError::Call {
                call: method,
                source,
            })
    }
}

/// The kubelet's words for a runtime that is not ready.
fn problem_of(conditions: &[RuntimeCondition]) -> Option<String> {
    let problem = |name: &str, lead: &str| {
        let condition = conditions.iter().find(|condition| condition.r#type == name);
        match condition {
            Some(condition) if condition.status => None,
            Some(condition) => Some(format!(
                "{lead}: {name}=false reason:{} message:{}",
                condition.reason, condition.message
            )),
            None => Some(format!("{lead}: {name} is not reported")),
        }
    };
    let found = [
        problem("RuntimeReady", "container runtime not ready"),
        problem("NetworkReady", "container runtime network not ready"),
    ];
    let found: Vec<String> = found.into_iter().flatten().collect();
    (!found.is_empty()).then(|| found.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(name: &str, status: bool) -> RuntimeCondition {
        RuntimeCondition {
            r#type: name.to_owned(),
            status,
            reason: "NoCni".to_owned(),
            message: "cni plugin not initialized".to_owned(),
        }
    }

    #[test]
    fn a_runtime_without_a_network_is_not_ready_and_says_why() {
        let problem = problem_of(&[
            condition("RuntimeReady", true),
            condition("NetworkReady", false),
        ]);
        let problem = problem.expect("a problem");
        assert!(
            problem.starts_with(
                "container runtime network not ready: NetworkReady=false reason:NoCni"
            )
        );
        assert_eq!(
            problem_of(&[
                condition("RuntimeReady", true),
                condition("NetworkReady", true)
            ]),
            None
        );
    }

    #[tokio::test]
    async fn a_socket_that_nobody_listens_on_is_named() {
        let cri = Cri::new("unix:///nowhere/cri.sock");
        let error = cri.state().await.expect_err("nobody is there");
        assert!(
            matches!(error, CriError::Call { .. } | CriError::Connect { .. }),
            "{error}"
        );
        assert!(
            RuntimeState::unavailable(&error)
                .problem()
                .expect("a problem")
                .contains("container runtime is down")
        );
    }
}
