//! Service-account tokens for kubelets: only bound to a pod that runs on the node, and only for audiences
//! which that pod asks for.
//!
//! Refuses to know: how a token is made.

use muster_machinery::{
    gvk::GroupResource,
    meta::{self, items, str_at},
    status::Status,
};
use serde_json::Value;

use super::super::{Admitted, Judged, Operation};
use crate::{
    authz::Authorizer,
    request::{ObjectReader, ResourceRequest},
};

pub(super) fn admit(
    reader: &dyn ObjectReader,
    authorizer: &Authorizer,
    node: &str,
    request: &Judged<'_>,
) -> Admitted {
    let (Operation::Create, "token", Some(wanted)) =
        (request.operation, request.subresource(), request.object)
    else {
        return Ok(());
    };
    let text = |field| str_at(wanted, &["spec", "boundObjectRef", field]).unwrap_or_default();
    let (name, uid) = (text("name"), text("uid"));
    if (text("apiVersion"), text("kind")) != ("v1", "Pod") || name.is_empty() {
        return Err(request.forbidden("node requested token not bound to a pod"));
    }
    if uid.is_empty() {
        return Err(request.forbidden("node requested token with a pod binding without a uid"));
    }
    let Some(pod) = reader.get("", "pods", request.info.namespace.as_deref(), name) else {
        return Err(Box::new(Status::not_found(
            GroupResource::new("", "pods"),
            name,
        )));
    };
    if uid != meta::uid(&pod) {
        return Err(request.forbidden(&format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The \
             object might have been deleted and then recreated"
        )));
    }
    if str_at(&pod, &["spec", "nodeName"]) != Some(node) {
        return Err(
            request.forbidden("node requested token bound to a pod scheduled on a different node")
        );
    }
    audience(reader, authorizer, request, wanted, &pod)
}

fn audience(
    reader: &dyn ObjectReader,
    authorizer: &Authorizer,
    request: &Judged<'_>,
    wanted: &Value,
    pod: &Value,
) -> Admitted {
    let audience = match items(wanted, &["spec", "audiences"]) {
        [] => "",
        [one] => one.as_str().unwrap_or_default(),
        _ => return Err(request.forbidden("node may only request 0 or 1 audiences")),
    };
    if asks_for(pod, audience) || driver_asks_for(reader, pod, audience) {
        return Ok(());
    }
    let right = ResourceRequest {
        version: "v1".to_owned(),
        resource: audience.to_owned(),
        namespace: request.info.namespace.clone(),
        name: request.info.name.clone(),
        ..ResourceRequest::default()
    };
    if request
        .also_may(authorizer, "request-serviceaccounts-token-audience", right)
        .is_allowed()
    {
        return Ok(());
    }
    Err(request.forbidden(&format!(
        "audience {audience:?} not found in pod spec volume"
    )))
}

/// Whether a projected volume of the pod has a token for the audience; none means the API server.
fn asks_for(pod: &Value, audience: &str) -> bool {
    let projects = |source: &Value| {
        source.get("serviceAccountToken").is_some_and(|token| {
            !token.is_null() && str_at(token, &["audience"]).unwrap_or_default() == audience
        })
    };
    items(pod, &["spec", "volumes"]).iter().any(|volume| {
        items(volume, &["projected", "sources"])
            .iter()
            .any(projects)
    })
}

/// Whether the driver of a volume of the pod wants tokens for the audience.
fn driver_asks_for(reader: &dyn ObjectReader, pod: &Value, audience: &str) -> bool {
    let namespace = meta::namespace(pod);
    let driver_of_claim = |volume: &Value| -> Option<String> {
        let named = str_at(volume, &["persistentVolumeClaim", "claimName"]).map(str::to_owned);
        let ephemeral = volume.get("ephemeral").filter(|source| !source.is_null());
        let name = named.or_else(|| {
            let volume = str_at(volume, &["name"])?;
            ephemeral.map(|_| format!("{}-{volume}", meta::name(pod)))
        })?;
        let claim = reader.get("", "persistentvolumeclaims", Some(namespace), &name)?;
        let volume = str_at(&claim, &["spec", "volumeName"])?;
        let volume = reader.get("", "persistentvolumes", None, volume)?;
        str_at(&volume, &["spec", "csi", "driver"]).map(str::to_owned)
    };
    let driver_of = |volume: &Value| {
        let inline = str_at(volume, &["csi", "driver"]).map(str::to_owned);
        inline.or_else(|| driver_of_claim(volume))
    };
    items(pod, &["spec", "volumes"])
        .iter()
        .filter_map(driver_of)
        .any(|driver| {
            reader
                .get("storage.k8s.io", "csidrivers", None, &driver)
                .is_some_and(|driver| {
                    items(&driver, &["spec", "tokenRequests"])
                        .iter()
                        .any(|wanted| str_at(wanted, &["audience"]).unwrap_or_default() == audience)
                })
        })
}
