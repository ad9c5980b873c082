//! Subresources that are not just a part of their object: binding, service-account tokens.
//!
//! Refuses to know: streams to kubelets (`exec`, `log`, `proxy`); the router refuses those.

use muster_machinery::{meta, status::Status};
use serde_json::Value;

use super::{Call, Refusal, Registry, WriteOptions, strategy, value_of};

impl Registry {
    /// Puts a pod on a node.
    pub(crate) async fn bind(
        &self,
        call: &Call<'_>,
        mut binding: Value,
        options: &WriteOptions,
    ) -> Result<Status, Refusal> {
        self.admit_action(call, &mut binding, options).await?;
        let mut stored = self.current(call).await?;
        for _ in 0..super::CONFLICT_RETRIES {
            let old = value_of(&stored)?;
            let uid = meta::uid(&binding);
            if !uid.is_empty() && uid != meta::uid(&old) {
                return Err(call.conflict());
            }
            let bound = strategy::bind(call, &old, &binding)?;
            if options.dry_run {
                return Ok(Status::success(201));
            }
            match self.replace(call, &stored, &bound).await? {
                Ok(_) => return Ok(Status::success(201)),
                Err(newer) => stored = newer.ok_or_else(|| call.not_found())?,
            }
        }
        Err(call.conflict())
    }

    /// Issues a token for a service account: answers the `TokenRequest` with its status.
    pub(crate) async fn issue_token(
        &self,
        call: &Call<'_>,
        mut request: Value,
        options: &WriteOptions,
    ) -> Result<Value, Refusal> {
        self.current(call).await?;
        self.admit_action(call, &mut request, options).await?;
        let namespace = call.namespace().unwrap_or_default();
        let issuer = self.authenticator.issuer();
        issuer.answer(
            self.cache.as_ref(),
            namespace,
            call.name(),
            &request,
            call.now,
        )
    }
}
