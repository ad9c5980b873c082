//! Pods over the Container Runtime Interface: list, stop, remove.
//!
//! The messages are the few that are needed, with the field numbers of `runtime.v1` (k8s.io/cri-api).

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic_prost::ProstCodec;

use crate::pods::Pods;

/// A runtime has this long to kill a pod's containers and to take its network down.
const CALL_LIMIT: Duration = Duration::from_secs(60);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// The kubelet puts this label on every sandbox of its own.
const UID_LABEL: &str = "io.kubernetes.pod.uid";

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct ListPodSandboxRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct ListPodSandboxResponse {
    #[prost(message, repeated, tag = "1")]
    items: Vec<PodSandbox>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PodSandbox {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(map = "string, string", tag = "5")]
    labels: HashMap<String, String>,
}

/// `StopPodSandboxRequest` and `RemovePodSandboxRequest`, which are alike.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct PodSandboxId {
    #[prost(string, tag = "1")]
    pod_sandbox_id: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Nothing {}

/// Pods over a real CRI socket.
pub(crate) struct Cri;

fn channel(endpoint: &str) -> Channel {
    let socket = endpoint
        .strip_prefix("unix://")
        .unwrap_or(endpoint)
        .to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://localhost")
        .timeout(CALL_LIMIT)
        .connect_timeout(CONNECT_LIMIT)
        .connect_with_connector_lazy(connector)
}

async fn call<Q, A>(channel: &Channel, method: &'static str, request: Q) -> Result<A, String>
where
    Q: prost::Message + Send + Sync + 'static,
    A: prost::Message + Default + Send + Sync + 'static,
{
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready()
        .await
        .map_err(|error| format!("the container runtime does not answer: {error}"))?;
    let path = PathAndQuery::from_static(method);
    let codec = ProstCodec::<Q, A>::default();
    let answer = grpc.unary(tonic::Request::new(request), path, codec).await;
    match answer {
        Ok(answer) => Ok(answer.into_inner()),
        // What is asked to go is gone.
        Err(status) if status.code() == tonic::Code::NotFound => Ok(A::default()),
        Err(status) => Err(format!("the container runtime says: {}", status.message())),
    }
}

#[async_trait]
impl Pods for Cri {
    async fn list(&self, endpoint: &str) -> Result<Vec<String>, String> {
        let answer: ListPodSandboxResponse = call(
            &channel(endpoint),
            "/runtime.v1.RuntimeService/ListPodSandbox",
            ListPodSandboxRequest {},
        )
        .await?;
        let of_kubelet = |pod: &PodSandbox| pod.labels.contains_key(UID_LABEL);
        let pods = answer.items.into_iter().filter(of_kubelet);
        Ok(pods.map(|pod| pod.id).collect())
    }

    async fn remove(&self, endpoint: &str, id: &str) -> Result<(), String> {
        let channel = channel(endpoint);
        let pod = PodSandboxId {
            pod_sandbox_id: id.to_owned(),
        };
        let stop = "/runtime.v1.RuntimeService/StopPodSandbox";
        call::<_, Nothing>(&channel, stop, pod.clone()).await?;
        let remove = "/runtime.v1.RuntimeService/RemovePodSandbox";
        call::<_, Nothing>(&channel, remove, pod).await.map(drop)
    }
}
