//! Deleting many objects at once.
//!
//! Refuses to know: how one of them ends.

use std::sync::Arc;

use super::{Call, DeleteOptions, ListOptions, ObjectList, Refusal, Registry};
use crate::request::ResourceRequest;

impl Registry {
    /// Deletes every selected object; those that are gone meanwhile do not matter. Answers what was deleted.
    pub(crate) async fn delete_collection(
        &self,
        call: &Call<'_>,
        selected: &ListOptions,
        options: &DeleteOptions,
    ) -> Result<ObjectList, Refusal> {
        let found = self.list(call, selected).await?;
        let mut deleted = Vec::with_capacity(found.objects.len());
        let mut revision = found.revision;
        for object in found.objects {
            let request = ResourceRequest {
                name: Some(object.name().to_owned()),
                namespace: object.namespace().map(str::to_owned),
                ..call.request.clone()
            };
            let one = Call {
                request: &request,
                ..*call
            };
            match self.delete_stored(&one, Arc::clone(&object), options).await {
                Ok(outcome) => {
                    let object = outcome.object();
                    revision = revision.max(object.revision());
                    deleted.push(object);
                }
                Err(refusal) if refusal.code() == 404 => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(ObjectList {
            objects: deleted,
            revision,
            continue_token: String::new(),
            remaining: None,
        })
    }
}
