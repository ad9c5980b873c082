//! The objects that a binding names as its policy's parameters (`CollectParams` upstream).
//!
//! Refuses to know: what the policy makes of them.

use muster_machinery::{gvk::join_api_version, meta, resources};
use serde_json::Value;

use super::{
    configuration::{Binding, ParamRef, Policy},
    text,
};
use crate::{registry::Conversion, request::ObjectReader};

/// A kind of parameters, as it is served.
struct Kind {
    group: String,
    plural: String,
    namespaced: bool,
    built_in: Option<&'static resources::Resource>,
}

/// The parameters, each for a judgement of its own; one that is null where the policy or the binding names none.
pub(super) fn collect(
    reader: &dyn ObjectReader,
    policy: &Policy,
    binding: &Binding,
    namespace: &str,
) -> Result<Vec<Value>, String> {
    let (Some((api_version, kind)), Some(wanted)) = (&policy.param_kind, &binding.params) else {
        return Ok(vec![Value::Null]);
    };
    let Some(found) = find(reader, api_version, kind) else {
        return Err(format!(
            "failed to find resource referenced by paramKind: '{}'",
            shown(api_version, kind)
        ));
    };
    let namespace = match (found.namespaced, wanted.namespace.as_str(), namespace) {
        (false, "", _) => None,
        (false, _, _) => {
            return Err(
                "paramRef.namespace must not be provided for a cluster-scoped `paramKind`".into(),
            );
        }
        (true, "", "") => {
            return Err("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources".into());
        }
        (true, "", own) => Some(own),
        (true, named, _) => Some(named),
    };
    let mut all = objects(reader, &found, wanted, namespace);
    for object in &mut all {
        if let Some(built_in) = found.built_in {
            Conversion::of(built_in).serve(built_in, object);
        }
        meta::set_gvk(object, api_version, kind);
    }
    if all.is_empty() && wanted.denies_without {
        return Err(
            "no params found for policy binding with `Deny` parameterNotFoundAction".into(),
        );
    }
    Ok(all)
}

fn objects(
    reader: &dyn ObjectReader,
    kind: &Kind,
    wanted: &ParamRef,
    namespace: Option<&str>,
) -> Vec<Value> {
    if !wanted.name.is_empty() {
        let found = reader.get(&kind.group, &kind.plural, namespace, &wanted.name);
        return found.map(|one| (*one).clone()).into_iter().collect();
    }
    let all = reader.list(&kind.group, &kind.plural, namespace);
    let meant = all.iter().filter(|one| {
        wanted
            .selector
            .as_ref()
            .is_none_or(|selector| selector.matches(one))
    });
    meant.map(|one| (**one).clone()).collect()
}

fn shown(api_version: &str, kind: &str) -> String {
    match api_version.split_once('/') {
        Some((group, version)) => format!("{group}/{version}, Kind={kind}"),
        None => format!("/{api_version}, Kind={kind}"),
    }
}

/// What is served under a kind's name: built in, or defined by the cluster.
fn find(reader: &dyn ObjectReader, api_version: &str, kind: &str) -> Option<Kind> {
    let mut built_in = resources::all().iter();
    let found = built_in
        .find(|one| one.kind == *kind && join_api_version(&one.group, &one.version) == api_version);
    if let Some(found) = found {
        return Some(Kind {
            group: found.storage_group_version.0.to_string(),
            plural: found.plural.to_string(),
            namespaced: found.namespaced,
            built_in: Some(found),
        });
    }
    let (group, version) = api_version.split_once('/')?;
    let definitions = reader.list("apiextensions.k8s.io", "customresourcedefinitions", None);
    let definition = definitions.iter().find(|one| {
        text(one, &["spec", "group"]) == group
            && text(one, &["spec", "names", "kind"]) == kind
            && meta::items(one, &["spec", "versions"]).iter().any(|own| {
                text(own, &["name"]) == version && own.get("served") == Some(&Value::Bool(true))
            })
    })?;
    Some(Kind {
        group: group.to_owned(),
        plural: text(definition, &["spec", "names", "plural"]).to_owned(),
        namespaced: text(definition, &["spec", "scope"]) == "Namespaced",
        built_in: None,
    })
}
