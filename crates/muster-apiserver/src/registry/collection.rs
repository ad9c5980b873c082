//! Deleting many objects at once.
//!
//! Refuses to know: how one of them ends.

use std::sync::Arc;

use futures::stream::{FuturesUnordered, TryStreamExt};

use super::{Call, DeleteOptions, ListOptions, ObjectList, Refusal, Registry};
use crate::{request::ResourceRequest, watch::StoredObject};

/// How many deletions are under way at the same time: they share the disk's time.
const AT_ONCE: usize = 32;

impl Registry {
    /// Deletes every selected object; those that are gone meanwhile do not matter. Answers what was found, as
    /// upstream does.
    pub(crate) async fn delete_collection(
        &self,
        call: &Call<'_>,
        selected: &ListOptions,
        options: &DeleteOptions,
    ) -> Result<ObjectList, Refusal> {
        let found = self.list(call, selected).await?;
        let mut running = FuturesUnordered::new();
        for object in &found.objects {
            if running.len() == AT_ONCE {
                running.try_next().await?;
            }
            running.push(self.delete_one(call, Arc::clone(object), options));
        }
        running.try_collect::<()>().await?;
        Ok(found)
    }

    async fn delete_one(
        &self,
        call: &Call<'_>,
        object: Arc<StoredObject>,
        options: &DeleteOptions,
    ) -> Result<(), Refusal> {
        let request = ResourceRequest {
            name: Some(object.name().to_owned()),
            namespace: object.namespace().map(str::to_owned),
            ..call.request.clone()
        };
        let one = Call {
            request: &request,
            ..*call
        };
        match self.delete_stored(&one, object, options).await {
            Err(refusal) if refusal.code() != 404 => Err(refusal),
            _ => Ok(()),
        }
    }
}
