//! The Container Runtime Interface: pods (list, stop, remove), images (pull), and what a runtime says of itself.
//!
//! The messages are the few that are needed, with the field numbers of `runtime.v1` (k8s.io/cri-api).

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use hyper_util::rt::TokioIo;
use muster_plan::RuntimeFact;
use tokio::net::UnixStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic_prost::ProstCodec;

use crate::pods::Pods;

/// A runtime has this long to kill a pod's containers and to take its network down.
const CALL_LIMIT: Duration = Duration::from_secs(60);
/// An image may be large and its registry far.
const PULL_LIMIT: Duration = Duration::from_secs(600);
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

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct VersionRequest {
    #[prost(string, tag = "1")]
    version: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct VersionResponse {
    #[prost(string, tag = "2")]
    runtime_name: String,
    #[prost(string, tag = "3")]
    runtime_version: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct StatusRequest {
    #[prost(bool, tag = "1")]
    verbose: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<RuntimeStatus>,
    #[prost(map = "string, string", tag = "2")]
    info: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct RuntimeStatus {
    #[prost(message, repeated, tag = "1")]
    conditions: Vec<RuntimeCondition>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct RuntimeCondition {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(bool, tag = "2")]
    status: bool,
    #[prost(string, tag = "3")]
    reason: String,
    #[prost(string, tag = "4")]
    message: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct RuntimeConfigResponse {
    #[prost(message, optional, tag = "1")]
    linux: Option<LinuxRuntimeConfig>,
}

/// `cgroup_driver` is an enumeration: 0 SYSTEMD, 1 CGROUPFS.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct LinuxRuntimeConfig {
    #[prost(int32, tag = "1")]
    cgroup_driver: i32,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct ImageSpec {
    #[prost(string, tag = "1")]
    image: String,
}

/// `ImageStatusRequest` and `PullImageRequest`, as far as they are alike.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct ImageRequest {
    #[prost(message, optional, tag = "1")]
    image: Option<ImageSpec>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct ImageStatusResponse {
    #[prost(message, optional, tag = "1")]
    image: Option<Nothing>,
}

/// Pods over a real CRI socket.
pub(crate) struct Cri;

fn channel(endpoint: &str) -> Channel {
    connect(endpoint, CALL_LIMIT)
}

fn connect(endpoint: &str, limit: Duration) -> Channel {
    let socket = endpoint
        .strip_prefix("unix://")
        .unwrap_or(endpoint)
        .to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://localhost")
        .timeout(limit)
        .connect_timeout(CONNECT_LIMIT)
        .connect_with_connector_lazy(connector)
}

/// A channel for what may take long: images.
fn patient_channel(endpoint: &str) -> Channel {
    connect(endpoint, PULL_LIMIT)
}

/// What is asked to go is gone; what is asked for and not there is empty.
async fn call<Q, A>(channel: &Channel, method: &'static str, request: Q) -> Result<A, String>
where
    Q: prost::Message + Send + Sync + 'static,
    A: prost::Message + Default + Send + Sync + 'static,
{
    let answer = call_found(channel, method, request).await?;
    Ok(answer.unwrap_or_default())
}

/// `None` for what is not there.
async fn call_found<Q, A>(
    channel: &Channel,
    method: &'static str,
    request: Q,
) -> Result<Option<A>, String>
where
    Q: prost::Message + Send + Sync + 'static,
    A: prost::Message + Default + Send + Sync + 'static,
{
    match send(channel, method, request).await? {
        Ok(answer) => Ok(Some(answer)),
        Err(status) if status.code() == tonic::Code::NotFound => Ok(None),
        Err(status) => Err(refused(&status)),
    }
}

/// `None` when the runtime does not know the method.
async fn call_known<Q, A>(
    channel: &Channel,
    method: &'static str,
    request: Q,
) -> Result<Option<A>, String>
where
    Q: prost::Message + Send + Sync + 'static,
    A: prost::Message + Default + Send + Sync + 'static,
{
    match send(channel, method, request).await? {
        Ok(answer) => Ok(Some(answer)),
        Err(status) if status.code() == tonic::Code::Unimplemented => Ok(None),
        Err(status) => Err(refused(&status)),
    }
}

fn refused(status: &tonic::Status) -> String {
    format!("the container runtime says: {}", status.message())
}

async fn send<Q, A>(
    channel: &Channel,
    method: &'static str,
    request: Q,
) -> Result<Result<A, tonic::Status>, String>
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
    Ok(answer.map(tonic::Response::into_inner))
}

/// What a runtime says of itself. Every question has `limit`; one that hangs makes it silent.
pub(crate) async fn describe(socket: &str, limit: Duration) -> RuntimeFact {
    let channel = channel(socket);
    let ask = async {
        let version: VersionResponse = call(
            &channel,
            "/runtime.v1.RuntimeService/Version",
            VersionRequest {
                version: "v1".into(),
            },
        )
        .await?;
        let status: StatusResponse = call(
            &channel,
            "/runtime.v1.RuntimeService/Status",
            StatusRequest { verbose: true },
        )
        .await?;
        let config: Result<Option<RuntimeConfigResponse>, String> = call_known(
            &channel,
            "/runtime.v1.RuntimeService/RuntimeConfig",
            Nothing {},
        )
        .await;
        Ok::<_, String>((version, status, config))
    };
    match tokio::time::timeout(limit, ask).await {
        Ok(Ok((version, status, config))) => told(&version, &status, config.as_ref().ok()),
        Ok(Err(why)) => silent(why),
        Err(_) => silent(format!("no answer within {} ms", limit.as_millis())),
    }
}

fn silent(why: String) -> RuntimeFact {
    RuntimeFact {
        silent: Some(why),
        ..RuntimeFact::default()
    }
}

fn told(
    version: &VersionResponse,
    status: &StatusResponse,
    config: Option<&Option<RuntimeConfigResponse>>,
) -> RuntimeFact {
    let conditions = status.status.iter().flat_map(|status| &status.conditions);
    let not_ready = conditions
        .filter(|condition| condition.kind == "RuntimeReady" && !condition.status)
        .map(|condition| {
            format!(
                "reason: {}, message: {}",
                condition.reason, condition.message
            )
        })
        .next();
    let said = config.and_then(|config| config.as_ref()?.linux.as_ref());
    let said = said.map(|linux| {
        if linux.cgroup_driver == 0 {
            "systemd"
        } else {
            "cgroupfs"
        }
    });
    let info = status
        .info
        .get("config")
        .and_then(|text| serde_json::from_str(text).ok());
    let info: serde_json::Value = info.unwrap_or_default();
    let configured = systemd_cgroup(&info).map(|yes| if yes { "systemd" } else { "cgroupfs" });
    let sandbox = info.get("sandboxImage").and_then(serde_json::Value::as_str);
    RuntimeFact {
        version: Some(format!(
            "{} {}",
            version.runtime_name, version.runtime_version
        )),
        silent: None,
        not_ready,
        tells_config: config.map(Option::is_some),
        cgroup_driver: said.or(configured).map(str::to_owned),
        sandbox_image: sandbox.filter(|image| !image.is_empty()).map(str::to_owned),
    }
}

/// `SystemdCgroup` of the default runtime in what containerd tells of its configuration.
fn systemd_cgroup(info: &serde_json::Value) -> Option<bool> {
    let containerd = info.get("containerd")?;
    let name = containerd.get("defaultRuntimeName")?.as_str()?;
    let options = containerd.get("runtimes")?.get(name)?.get("options")?;
    options.get("SystemdCgroup")?.as_bool()
}

/// Pulls an image, unless it is there already and that is enough.
pub(crate) async fn pull(endpoint: &str, image: &str, if_not_present: bool) -> Result<(), String> {
    let channel = patient_channel(endpoint);
    let request = ImageRequest {
        image: Some(ImageSpec {
            image: image.to_owned(),
        }),
    };
    if if_not_present {
        let status: ImageStatusResponse = call(
            &channel,
            "/runtime.v1.ImageService/ImageStatus",
            request.clone(),
        )
        .await?;
        if status.image.is_some() {
            return Ok(());
        }
    }
    let pulled: Option<Nothing> =
        call_found(&channel, "/runtime.v1.ImageService/PullImage", request).await?;
    pulled
        .map(drop)
        .ok_or_else(|| "there is no such image".to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_runtime_says_is_preferred_to_what_its_configuration_says() {
        let version = VersionResponse {
            runtime_name: "containerd".into(),
            runtime_version: "v1.7.24".into(),
        };
        let mut status = StatusResponse::default();
        let info = r#"{"containerd":{"defaultRuntimeName":"runc","runtimes":{"runc":{"options":{"SystemdCgroup":false}}}},"sandboxImage":"pause:3.8"}"#;
        status.info.insert("config".into(), info.into());
        let old = told(&version, &status, Some(&None));
        assert_eq!(old.cgroup_driver.as_deref(), Some("cgroupfs"));
        assert_eq!(old.tells_config, Some(false));
        assert_eq!(old.sandbox_image.as_deref(), Some("pause:3.8"));
        assert_eq!(old.version.as_deref(), Some("containerd v1.7.24"));
        let answer = RuntimeConfigResponse {
            linux: Some(LinuxRuntimeConfig { cgroup_driver: 0 }),
        };
        let new = told(&version, &status, Some(&Some(answer)));
        assert_eq!(new.cgroup_driver.as_deref(), Some("systemd"));
        let failed = told(&version, &StatusResponse::default(), None);
        assert_eq!((failed.tells_config, failed.cgroup_driver), (None, None));
    }

    #[test]
    fn a_runtime_that_is_not_ready_says_why() {
        let condition = |kind: &str, status| RuntimeCondition {
            kind: kind.into(),
            status,
            reason: "R".into(),
            message: "M".into(),
        };
        let status = |conditions| StatusResponse {
            status: Some(RuntimeStatus { conditions }),
            info: HashMap::new(),
        };
        let version = VersionResponse::default();
        let bad = status(vec![condition("RuntimeReady", false)]);
        assert_eq!(
            told(&version, &bad, None).not_ready.as_deref(),
            Some("reason: R, message: M")
        );
        // The network comes with the first pods.
        let good = status(vec![
            condition("RuntimeReady", true),
            condition("NetworkReady", false),
        ]);
        assert_eq!(told(&version, &good, None).not_ready, None);
    }

    #[tokio::test]
    async fn a_socket_that_accepts_and_says_nothing_is_silent_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let fact = describe(path.to_str().unwrap(), Duration::from_millis(50)).await;
        assert!(fact.silent.unwrap().contains("no answer within 50 ms"));
    }
}
