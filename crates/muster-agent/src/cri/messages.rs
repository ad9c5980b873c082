//! The few messages of the Container Runtime Interface (`runtime.v1`, k8s.io/cri-api) that are
//! spoken today: which runtime it is and whether it is ready. Field numbers are those of the API.

/// `runtime.v1.VersionRequest`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct VersionRequest {
    /// Version of the kubelet's runtime API.
    #[prost(string, tag = "1")]
    pub(super) version: String,
}

/// `runtime.v1.VersionResponse`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct VersionResponse {
    /// Name of the runtime: `containerd`.
    #[prost(string, tag = "2")]
    pub(super) runtime_name: String,
    /// Its version: `1.6.20`.
    #[prost(string, tag = "3")]
    pub(super) runtime_version: String,
}

/// `runtime.v1.StatusRequest`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct StatusRequest {
    /// Asks for free-form details.
    #[prost(bool, tag = "1")]
    pub(super) verbose: bool,
}

/// `runtime.v1.StatusResponse`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct StatusResponse {
    /// The conditions.
    #[prost(message, optional, tag = "1")]
    pub(super) status: Option<RuntimeStatus>,
}

/// `runtime.v1.RuntimeStatus`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct RuntimeStatus {
    /// `RuntimeReady`, `NetworkReady` and others.
    #[prost(message, repeated, tag = "1")]
    pub(super) conditions: Vec<RuntimeCondition>,
}

/// `runtime.v1.RuntimeCondition`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct RuntimeCondition {
    /// Its name.
    #[prost(string, tag = "1")]
    pub(super) r#type: String,
    /// Whether it holds.
    #[prost(bool, tag = "2")]
    pub(super) status: bool,
    /// One word.
    #[prost(string, tag = "3")]
    pub(super) reason: String,
    /// For people.
    #[prost(string, tag = "4")]
    pub(super) message: String,
}
