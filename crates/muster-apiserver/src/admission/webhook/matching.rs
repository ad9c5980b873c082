//! Which webhooks are asked about a request (`webhook/predicates` and `ShouldCallHook` upstream).
//!
//! Refuses to know: how they are asked.

use muster_machinery::{
    gvk::GroupResource, meta, resources, selector::LabelSelector, status::Status,
};
use serde_json::Value;

use super::{
    super::{AdmissionRequest, Judged, Operation},
    configuration::{GROUP, Rule, Scope},
};
use crate::request::ObjectReader;

/// The form in which a webhook gets the objects: the one that was asked for, or another one that its rules name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::admission) struct Form {
    pub(in crate::admission) group: String,
    pub(in crate::admission) version: String,
    pub(in crate::admission) resource: String,
    pub(in crate::admission) kind: (String, String, String),
}

/// The requests that are meant.
#[derive(Debug, Default)]
pub(in crate::admission) struct Criteria {
    pub(in crate::admission) rules: Vec<Rule>,
    /// Rules for what is not meant after all.
    pub(in crate::admission) excluded: Vec<Rule>,
    /// Whether everything is meant where there are no rules.
    pub(in crate::admission) is_open: bool,
    pub(in crate::admission) namespaces: Option<LabelSelector>,
    pub(in crate::admission) objects: Option<LabelSelector>,
    /// Whether rules also stand for the same objects in other versions.
    pub(in crate::admission) equivalent: bool,
}

/// A request with what matching looks at.
pub(in crate::admission) struct Matched<'a> {
    pub(in crate::admission) request: &'a AdmissionRequest<'a>,
    pub(in crate::admission) object: Option<&'a Value>,
    pub(in crate::admission) old: Option<&'a Value>,
}

/// Whether requests on this resource are nobody's business: configurations of admission itself, so that no webhook can
/// keep itself from being removed.
pub(in crate::admission) fn is_exempt(request: &AdmissionRequest<'_>) -> bool {
    request.info.group == GROUP
        && matches!(
            request.info.resource.as_str(),
            "validatingwebhookconfigurations"
                | "mutatingwebhookconfigurations"
                | "validatingadmissionpolicies"
                | "validatingadmissionpolicybindings"
                | "mutatingadmissionpolicies"
                | "mutatingadmissionpolicybindings"
        )
}

impl Matched<'_> {
    /// The form in which the request is meant, `None` if it is not.
    pub(in crate::admission) fn form(
        &self,
        meant: &Criteria,
        reader: &dyn ObjectReader,
    ) -> Result<Option<Form>, Box<Status>> {
        let namespace = match &meant.namespaces {
            Some(selector) => self.namespace_matches(selector, reader),
            None => Ok(true),
        };
        let matches_object = meant.objects.as_ref().is_none_or(|selector| {
            let matches = |object: Option<&Value>| object.is_some_and(|one| selector.matches(one));
            matches(self.object) || matches(self.old)
        });
        if matches!(namespace, Ok(false)) || !matches_object {
            return Ok(None);
        }
        if self
            .form_by_rules(&meant.excluded, meant.equivalent, reader)
            .is_some()
        {
            return Ok(None);
        }
        let form = if meant.is_open && meant.rules.is_empty() {
            Some(Form::asked(self.request))
        } else {
            self.form_by_rules(&meant.rules, meant.equivalent, reader)
        };
        // A namespace that is not there matters only where the request is meant at all.
        if form.is_some() {
            namespace?;
        }
        Ok(form)
    }

    fn form_by_rules(
        &self,
        rules: &[Rule],
        equivalent: bool,
        reader: &dyn ObjectReader,
    ) -> Option<Form> {
        if rules.is_empty() {
            return None;
        }
        let asked = Form::asked(self.request);
        if rules.iter().any(|rule| self.rule_matches(rule, &asked)) {
            return Some(asked);
        }
        if !equivalent {
            return None;
        }
        let others = equivalents(self.request, reader);
        rules.iter().find_map(|rule| {
            let mut others = others.iter();
            others.find(|other| self.rule_matches(rule, other)).cloned()
        })
    }

    fn rule_matches(&self, rule: &Rule, form: &Form) -> bool {
        let info = self.request.info;
        let is_namespace = (form.group.as_str(), form.resource.as_str()) == ("", "namespaces")
            && form.version == "v1";
        let has_namespace = info
            .namespace
            .as_deref()
            .is_some_and(|name| !name.is_empty());
        let in_scope = match rule.scope {
            Scope::All => true,
            Scope::Namespaced => !is_namespace && has_namespace,
            Scope::Cluster => is_namespace || !has_namespace,
        };
        let sub = info.subresource.as_deref().unwrap_or_default();
        let resource = rule.resources.iter().any(|one| {
            let (resource, of_rule) = one.split_once('/').unwrap_or((one, ""));
            (resource == "*" || resource == form.resource) && (of_rule == "*" || of_rule == sub)
        });
        let judged = Judged::of(self.request, self.object, self.old);
        let is_named = rule.names.is_empty() || rule.names.iter().any(|own| own == judged.name());
        in_scope
            && resource
            && is_named
            && names(&rule.operations, self.request.operation.as_str())
            && names(&rule.groups, &form.group)
            && names(&rule.versions, &form.version)
    }

    fn namespace_matches(
        &self,
        selector: &LabelSelector,
        reader: &dyn ObjectReader,
    ) -> Result<bool, Box<Status>> {
        let info = self.request.info;
        let is_namespace = info.resource == "namespaces";
        let name = info.namespace.as_deref().unwrap_or_default();
        if name.is_empty() && !is_namespace {
            return Ok(true);
        }
        let writes = matches!(
            self.request.operation,
            Operation::Create | Operation::Update
        );
        if is_namespace && info.subresource.is_none() && writes {
            // The newest labels are those of the object itself.
            return Ok(self.object.is_some_and(|own| selector.matches(own)));
        }
        let name = if name.is_empty() {
            info.name.as_deref().unwrap_or_default()
        } else {
            name
        };
        match reader.get("", "namespaces", None, name) {
            Some(namespace) => Ok(selector.matches(&namespace)),
            None => Err(Status::not_found(GroupResource::new("", "namespaces"), name).into()),
        }
    }
}

fn names(items: &[String], asked: &str) -> bool {
    items.iter().any(|item| item == "*" || item == asked)
}

impl Form {
    /// The form that the client asked for.
    pub(in crate::admission) fn asked(request: &AdmissionRequest<'_>) -> Self {
        let served = request.served;
        let own = || (served.group.to_string(), served.version.to_string());
        let (group, version, kind) = match request.sub {
            Some(sub) => {
                let version = sub.group_version.as_ref();
                let (group, version) =
                    version.map_or_else(own, |(g, v)| (g.to_string(), v.to_string()));
                (group, version, sub.kind.to_string())
            }
            None => {
                let (group, version) = own();
                (group, version, served.kind.to_string())
            }
        };
        Self {
            group: request.info.group.clone(),
            version: request.info.version.clone(),
            resource: request.info.resource.clone(),
            kind: (group, version, kind),
        }
    }
}

/// Other names under which the same objects are served. What is sent to a subresource with a type of its own is of
/// that type under each of them.
fn equivalents(request: &AdmissionRequest<'_>, reader: &dyn ObjectReader) -> Vec<Form> {
    let asked = Form::asked(request);
    let is_own_type = request
        .sub
        .is_none_or(|sub| sub.kind == request.served.kind);
    let form = |group: &str, version: &str, resource: &str, kind: &str| Form {
        group: group.to_owned(),
        version: version.to_owned(),
        resource: resource.to_owned(),
        kind: if is_own_type {
            (group.to_owned(), version.to_owned(), kind.to_owned())
        } else {
            asked.kind.clone()
        },
    };
    let stored = &request.stored.storage_group_version;
    let built_in = resources::all()
        .iter()
        .filter(|one| one.storage_group_version == *stored && one.plural == request.stored.plural)
        .map(|one| form(&one.group, &one.version, &one.plural, &one.kind));
    let mut all: Vec<Form> = built_in.collect();
    let (group, plural) = (&request.info.group, &request.info.resource);
    let definition = format!("{plural}.{group}");
    let definitions = ("apiextensions.k8s.io", "customresourcedefinitions");
    if all.is_empty()
        && let Some(found) = reader.get(definitions.0, definitions.1, None, &definition)
    {
        let versions = meta::items(&found, &["spec", "versions"]).iter();
        let served = versions.filter(|version| version.get("served") == Some(&Value::Bool(true)));
        all.extend(served.filter_map(|version| {
            let version = meta::str_at(version, &["name"])?;
            Some(form(group, version, plural, &request.served.kind))
        }));
    }
    all.retain(|form| {
        (&form.group, &form.version, &form.resource)
            != (&asked.group, &asked.version, &asked.resource)
    });
    all
}
