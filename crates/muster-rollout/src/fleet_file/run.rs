//! How a run goes about it: policy, caps, time-outs, tokens, readiness.
//!
//! Percentages are counted out; it refuses to know how they were written.

use super::host::SecretSource;
use std::time::Duration;

/// What becomes of a run in which hosts fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Which hosts stay joined at the end.
    pub keep: Keep,
    /// With how many failed hosts nothing more is started; `None`: failures do not stop the others. At least 1.
    pub max_failures: Option<u32>,
    /// How many hosts each wave has, in the order of the hosts; the sum is the number of hosts. A wave starts when every
    /// host of the one before has ended. One wave: a sliding window over all.
    pub waves: Vec<u32>,
    /// How many hosts of a wave may fail before no further wave starts.
    pub wave_failures: u32,
}

/// Which hosts stay joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// All, or none.
    #[default]
    AllOrNothing,
    /// Those that succeeded.
    Successes,
    /// Those that succeeded if they are at least so many, else none. Between 1 and the number of hosts.
    AtLeast(u32),
}

/// How many hosts are worked on at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// Over all.
    pub limit: Limit,
    /// Undoing; at least 1.
    pub undo: u32,
    /// Per way through jump hosts; `None`: no cap. At least 1.
    pub per_jump_host: Option<u32>,
}

/// A cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// So many: at least 1, at most the number of hosts.
    Fixed(u32),
    /// As many as the cluster takes: grows until it says that it is too much.
    Auto,
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Reaching a host, by all its jump hosts.
    pub connect: Duration,
    /// One attempt of one stage of a host.
    pub stage: Duration,
    /// The whole run until it undoes what is not done; `None`: no end.
    pub run: Option<Duration>,
    /// From the join to readiness.
    pub ready: Duration,
    /// One attempt to undo one stage of a host.
    pub undo: Duration,
}

/// How long tokens live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenLife {
    /// From minting to expiry.
    pub ttl: Duration,
    /// A token that has no more than this left is given to no host; less than `ttl`.
    pub margin: Duration,
}

/// When a host counts as joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// What its Node must have come to.
    pub until: Until,
    /// The kubelet's serving certificate must be issued too.
    pub serving_certificate: bool,
    /// A pod of this image must run there too.
    pub probe_pod: Option<String>,
}

/// What a Node must have come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Until {
    /// It exists.
    Registered,
    /// Its condition `Ready` is true.
    #[default]
    Ready,
}

/// Control-plane hosts need the key of the Secret `kubeadm-certs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateKey {
    /// The run uploads the certificates anew, where tokens are minted.
    Upload,
    /// It is known.
    Known(SecretSource),
}
