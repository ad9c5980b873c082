//! The audit log: which requests are told of, how much, and where to. A policy decides, events are JSON lines with
//! kube-apiserver's fields.
//!
//! Refuses to know: how requests are served. The pipeline tells a `Trail` what happens to one.

mod log;
mod policy;
mod trail;

use std::sync::Arc;

use serde_json::{Map, Value};

pub use log::AuditLog;
pub use policy::{AuditPolicy, Level, PolicyError, Scope, Stage};
pub(crate) use trail::{Arrival, Trail};

use crate::{notes::Notes, request::UserInfo, system::AuditMetrics};
use log::LogWriter;

/// What the audit log is made from.
#[derive(Clone, Debug)]
pub struct AuditConfig {
    /// What is written down about which requests.
    pub policy: AuditPolicy,
    /// Where to.
    pub log: AuditLog,
}

/// The policy and the open log.
pub(crate) struct Auditor {
    policy: AuditPolicy,
    log: LogWriter,
    metrics: Arc<AuditMetrics>,
}

impl Auditor {
    /// Opens the log.
    pub(crate) fn open(
        config: &AuditConfig,
        metrics: &Arc<AuditMetrics>,
    ) -> Result<Self, std::io::Error> {
        Ok(Self {
            policy: config.policy.clone(),
            log: LogWriter::open(&config.log, Arc::clone(metrics))?,
            metrics: Arc::clone(metrics),
        })
    }

    /// Begins the trail of a request, if the policy wants to know of it.
    pub(crate) fn begin(
        self: &Arc<Self>,
        arrival: Arrival<'_>,
        user: Option<&UserInfo>,
        notes: &Arc<Notes>,
    ) -> Option<Arc<Trail>> {
        let scope = self.policy.scope(user, arrival.info);
        self.metrics.level(scope.level.as_str());
        if scope.level == Level::None {
            return None;
        }
        let (auditor, notes) = (Arc::clone(self), Arc::clone(notes));
        Some(Trail::begin(auditor, scope, notes, arrival, user))
    }

    fn write(&self, event: &Map<String, Value>) {
        let Ok(mut line) = serde_json::to_vec(event) else {
            return self.metrics.error("log");
        };
        line.push(b'\n');
        self.log.write(line);
    }

    /// Writes what is left. Blocks for a few seconds at most.
    pub(crate) fn close(&self) {
        self.log.close();
    }
}
