//! Which resources the cluster serves, asked of its discovery. It caches nothing.

use kube::Client;
use kube::core::ApiResource;
use kube::discovery::{Discovery, Scope};

/// A resource that can be listed, watched and deleted.
#[derive(Clone, Debug)]
pub(crate) struct Deletable {
    /// Group, version, kind and plural.
    pub(crate) resource: ApiResource,
    /// Whether its objects live in namespaces.
    pub(crate) namespaced: bool,
}

/// Every resource that supports all of `verbs`, in its preferred version.
///
/// # Errors
/// When discovery fails.
pub(crate) async fn supporting(
    client: &Client,
    verbs: &[&str],
) -> Result<Vec<Deletable>, kube::Error> {
    let discovery = Discovery::new(client.clone()).run().await?;
    let mut found = Vec::new();
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            if verbs
                .iter()
                .all(|verb| capabilities.supports_operation(verb))
            {
                let namespaced = capabilities.scope == Scope::Namespaced;
                found.push(Deletable {
                    resource,
                    namespaced,
                });
            }
        }
    }
    Ok(found)
}
