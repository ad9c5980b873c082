//! What the server fills in when a client leaves it out.
//!
//! [`apply`] sets the values of upstream's versioned defaults, and turns text that is only a way of writing
//! something else (`stringData`) into what it stands for: it is idempotent and runs on create and on update.
//! [`prepare_create`] does what a kind's create strategy does: the first status. Nothing here needs another
//! object, a clock or randomness; addresses, ports and tokens are assigned by the API server.

use serde_json::Value;

use crate::resources::Resource;

mod config;
mod created;
mod fill;
mod network;
mod pod;
mod secret;
mod workload;

pub use created::{pod_qos_class, prepare_create};

/// Sets the defaults of an object of a resource. Unknown kinds and wrongly shaped fields stay as they are.
pub fn apply(resource: &Resource, object: &mut Value) {
    match &*resource.group {
        "" => core(&resource.kind, object),
        "apps" | "batch" | "autoscaling" => workload::apply(&resource.kind, object),
        "networking.k8s.io" | "discovery.k8s.io" => network::apply(&resource.kind, object),
        _ => config::apply(&resource.kind, object),
    }
}

fn core(kind: &str, object: &mut Value) {
    match kind {
        "Pod" => pod::pod(object),
        "PodTemplate" => pod::template(object.get_mut("template")),
        "ReplicationController" => workload::apply(kind, object),
        "Service" | "Endpoints" => network::apply(kind, object),
        "Secret" => {
            secret::merge_string_data(object);
            config::apply(kind, object);
        }
        _ => config::apply(kind, object),
    }
}

#[cfg(test)]
mod tests;
