//! What a fleet file says about the run, as it is written.
//!
//! It refuses to know hosts and what follows from it.

use super::run::Until;
use super::words::{Amount, Cap, OnFailure, Positive, Span};
use crate::document::At;
use serde::Deserialize;

/// What becomes of a run in which hosts fail.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyEntry {
    /// Which hosts stay.
    pub on_failure: Option<At<OnFailure>>,
    /// How many there must be for any to stay.
    pub keep_at_least: Option<At<Amount>>,
    /// With how many failed hosts nothing more is started.
    pub max_failures: Option<Amount>,
    /// How many go first.
    pub canary: Option<Amount>,
    /// How many go next, and next; the last one is repeated.
    pub waves: Option<At<Vec<Amount>>>,
    /// How many of a wave may fail before no further wave starts; 0 if nothing is said.
    pub wave_failures: Option<u32>,
}

/// How many at once.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConcurrencyEntry {
    /// Over all.
    pub limit: Option<At<Cap>>,
    /// Undoing.
    pub undo: Option<Positive>,
    /// Per way through jump hosts.
    pub per_jump_host: Option<Positive>,
    /// Per group that says nothing itself.
    pub per_group: Option<Positive>,
}

/// How long things may take.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TimeoutsEntry {
    /// Reaching a host.
    pub connect: Option<At<Span>>,
    /// One attempt of a stage.
    pub stage: Option<At<Span>>,
    /// The run; 0: no end.
    pub run: Option<Span>,
    /// Until readiness.
    pub ready: Option<At<Span>>,
    /// One attempt to undo a stage.
    pub undo: Option<At<Span>>,
}

/// How long tokens live.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenEntry {
    /// From minting to expiry.
    pub ttl: Option<At<Span>>,
    /// What it must have left.
    pub margin: Option<At<Span>>,
}

/// When a host counts as joined.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReadinessEntry {
    /// What its Node must have come to.
    pub until: Option<Until>,
    /// Its kubelet's serving certificate too.
    pub serving_certificate: Option<bool>,
    /// A pod too.
    pub probe_pod: Option<ProbePod>,
}

/// A pod that must run.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProbePod {
    /// Its image.
    pub image: String,
}

/// `k8s.kubeadm.join_parallelism`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct K8s {
    /// `kubeadm.join_parallelism`.
    #[serde(default)]
    pub kubeadm: K8sKubeadm,
}

/// `join_parallelism`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct K8sKubeadm {
    /// Another name of `concurrency.limit`.
    pub join_parallelism: Option<At<Cap>>,
}
