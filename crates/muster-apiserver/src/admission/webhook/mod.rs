//! Admission webhooks: programs of the cluster's own that are asked about writes.
//!
//! Refuses to know: the built-in plugins.

use std::sync::Arc;

use muster_machinery::status::Status;
use serde_json::Value;

use super::{AdmissionRequest, Admitted};
use crate::{request::ObjectReader, system::AdmissionMetrics};

#[derive(Debug, Default)]
pub(super) struct Reinvocation {}

pub(super) struct Webhooks {}

impl Webhooks {
    pub(super) fn new(_reader: Arc<dyn ObjectReader>, _metrics: Arc<AdmissionMetrics>) -> Self {
        Self {}
    }

    pub(super) async fn change(
        &self,
        _request: &AdmissionRequest<'_>,
        _object: Option<&mut Value>,
        _old: Option<&Value>,
        _again: &mut Reinvocation,
    ) -> Result<bool, Box<Status>> {
        Ok(false)
    }

    pub(super) async fn judge(
        &self,
        _request: &AdmissionRequest<'_>,
        _object: Option<&Value>,
        _old: Option<&Value>,
    ) -> Admitted {
        Ok(())
    }
}
