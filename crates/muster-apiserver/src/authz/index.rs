//! RBAC: who is bound to which rules, compiled once per change of the four RBAC resources, so that a
//! decision is a few map look-ups and a walk over the rules that apply to the user.
//!
//! Refuses to know: the other authorizers. Like Kubernetes it only ever adds rights; a role that does not
//! exist grants nothing and is told in the reason.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use muster_machinery::{meta, selector::LabelSelector};
use parking_lot::{Mutex, RwLock};
use serde_json::Value;

use super::{Decision, PolicyRule, UserRules};
use crate::request::{ObjectReader, RequestInfo, UserInfo};

const GROUP: &str = "rbac.authorization.k8s.io";
const RESOURCES: [&str; 4] = [
    "clusterroles",
    "clusterrolebindings",
    "roles",
    "rolebindings",
];

type Rules = Arc<[PolicyRule]>;
type Generations = [u64; RESOURCES.len()];

/// The compiled roles and bindings, renewed when a generation has moved.
pub(super) struct RbacIndex {
    reader: Arc<dyn ObjectReader>,
    compiled: RwLock<Option<(Generations, Arc<Compiled>)>>,
    compiling: Mutex<()>,
}

/// One binding as it looks from a subject: its place in the order of bindings, and the rules behind it.
#[derive(Clone)]
struct Grant {
    order: usize,
    rules: Result<Rules, Arc<str>>,
}

/// Grants by who gets them.
#[derive(Default)]
struct Subjects {
    users: HashMap<String, Vec<Grant>>,
    groups: HashMap<String, Vec<Grant>>,
}

#[derive(Default)]
struct Compiled {
    cluster: Subjects,
    namespaces: HashMap<String, Subjects>,
    cluster_roles: HashMap<String, Rules>,
    roles: HashMap<(String, String), Rules>,
}

impl RbacIndex {
    pub(super) fn new(reader: Arc<dyn ObjectReader>) -> Self {
        Self {
            reader,
            compiled: RwLock::new(None),
            compiling: Mutex::new(()),
        }
    }

    pub(super) fn authorize(&self, user: &UserInfo, info: &RequestInfo) -> Decision {
        let namespace = info.resource.as_ref().and_then(|r| r.namespace.as_deref());
        let compiled = self.current();
        let mut errors: BTreeMap<usize, Arc<str>> = BTreeMap::new();
        for grant in compiled.grants(user, namespace) {
            match &grant.rules {
                Ok(rules) if rules.iter().any(|rule| rule.allows(info)) => return Decision::Allow,
                Ok(_) => {}
                Err(error) => {
                    errors.insert(grant.order, error.clone());
                }
            }
        }
        Decision::Deny {
            reason: aggregate(errors.into_values()),
        }
    }

    pub(super) fn rules_for(&self, user: &UserInfo, namespace: Option<&str>) -> UserRules {
        let compiled = self.current();
        let applying: BTreeMap<usize, &Grant> = compiled
            .grants(user, namespace)
            .map(|grant| (grant.order, grant))
            .collect();
        let mut listed = UserRules::default();
        for grant in applying.into_values() {
            match &grant.rules {
                Ok(rules) => listed.rules.extend(rules.iter().cloned()),
                Err(error) => listed.errors.push(error.to_string()),
            }
        }
        listed
    }

    pub(super) fn rules_of_role(
        &self,
        kind: &str,
        name: &str,
        namespace: Option<&str>,
    ) -> Result<Rules, String> {
        self.current()
            .rules_of(kind, name, namespace)
            .map_err(|error| error.to_string())
    }

    fn current(&self) -> Arc<Compiled> {
        if let Some(compiled) = self.compiled_at(&self.generations()) {
            return compiled;
        }
        let _one_at_a_time = self.compiling.lock();
        // Generations are read before the objects: a change in between only costs another compilation.
        let generations = self.generations();
        if let Some(compiled) = self.compiled_at(&generations) {
            return compiled;
        }
        let compiled = Arc::new(Compiled::read(self.reader.as_ref()));
        *self.compiled.write() = Some((generations, compiled.clone()));
        compiled
    }

    fn compiled_at(&self, generations: &Generations) -> Option<Arc<Compiled>> {
        let compiled = self.compiled.read();
        let (at, compiled) = compiled.as_ref()?;
        (at == generations).then(|| compiled.clone())
    }

    fn generations(&self) -> Generations {
        RESOURCES.map(|resource| self.reader.generation(GROUP, resource))
    }
}

/// Errors as Kubernetes' authorizer reports them: one bare, several in brackets, repeats once.
fn aggregate(errors: impl Iterator<Item = Arc<str>>) -> String {
    let mut texts: Vec<Arc<str>> = Vec::new();
    for error in errors {
        if !texts.contains(&error) {
            texts.push(error);
        }
    }
    match texts.as_slice() {
        [] => String::new(),
        [one] => format!("RBAC: {one}"),
        many => format!("RBAC: [{}]", many.join(", ")),
    }
}

impl Compiled {
    fn read(reader: &dyn ObjectReader) -> Self {
        let mut compiled = Self::default();
        compiled.read_roles(reader);
        let mut order = 0;
        for binding in reader.list(GROUP, "clusterrolebindings", None) {
            compiled.bind(&binding, None, order);
            order += 1;
        }
        for binding in reader.list(GROUP, "rolebindings", None) {
            compiled.bind(&binding, Some(meta::namespace(&binding)), order);
            order += 1;
        }
        compiled
    }

    fn read_roles(&mut self, reader: &dyn ObjectReader) {
        let cluster_roles = reader.list(GROUP, "clusterroles", None);
        for role in &cluster_roles {
            let rules = aggregated(role, &cluster_roles);
            self.cluster_roles
                .insert(meta::name(role).to_owned(), rules.into());
        }
        for role in reader.list(GROUP, "roles", None) {
            let key = (
                meta::namespace(&role).to_owned(),
                meta::name(&role).to_owned(),
            );
            self.roles.insert(key, PolicyRule::all_of(&role).into());
        }
    }

    fn bind(&mut self, binding: &Value, namespace: Option<&str>, order: usize) {
        let reference = |field| meta::str_at(binding, &["roleRef", field]).unwrap_or_default();
        let grant = Grant {
            order,
            rules: self.rules_of(reference("kind"), reference("name"), namespace),
        };
        let subjects = match namespace {
            None => &mut self.cluster,
            Some(namespace) => self.namespaces.entry(namespace.to_owned()).or_default(),
        };
        for subject in meta::items(binding, &["subjects"]) {
            subjects.add(subject, namespace, &grant);
        }
    }

    fn rules_of(&self, kind: &str, name: &str, namespace: Option<&str>) -> Result<Rules, Arc<str>> {
        let found = match kind {
            "ClusterRole" => self.cluster_roles.get(name),
            "Role" => {
                let key = (namespace.unwrap_or_default().to_owned(), name.to_owned());
                self.roles.get(&key)
            }
            _ => return Err(format!("unsupported role reference kind: {kind:?}").into()),
        };
        found.cloned().ok_or_else(|| {
            let resource = kind.to_lowercase();
            format!("{resource}.{GROUP} {name:?} not found").into()
        })
    }

    /// Every grant that applies; one that applies through several subjects comes several times.
    fn grants<'a>(
        &'a self,
        user: &'a UserInfo,
        namespace: Option<&str>,
    ) -> impl Iterator<Item = &'a Grant> {
        let local = namespace.and_then(|namespace| self.namespaces.get(namespace));
        std::iter::once(&self.cluster)
            .chain(local)
            .flat_map(|subjects| subjects.grants(user))
    }
}

impl Subjects {
    fn add(&mut self, subject: &Value, namespace: Option<&str>, grant: &Grant) {
        let text = |field| meta::str_at(subject, &[field]).filter(|text| !text.is_empty());
        let Some(name) = text("name") else { return };
        let (by, key) = match text("kind") {
            Some("User") => (&mut self.users, name.to_owned()),
            Some("Group") => (&mut self.groups, name.to_owned()),
            Some("ServiceAccount") => {
                let Some(namespace) = text("namespace").or(namespace) else {
                    return;
                };
                (
                    &mut self.users,
                    format!("system:serviceaccount:{namespace}:{name}"),
                )
            }
            _ => return,
        };
        by.entry(key).or_default().push(grant.clone());
    }

    fn grants<'a>(&'a self, user: &'a UserInfo) -> impl Iterator<Item = &'a Grant> {
        let groups = user
            .groups
            .iter()
            .filter_map(|group| self.groups.get(group));
        self.users
            .get(&user.name)
            .into_iter()
            .chain(groups)
            .flatten()
    }
}

/// The rules of a ClusterRole. For one with an `aggregationRule` they are those of the roles it selects,
/// through any number of aggregations, resolved here so that they never lag behind a controller.
fn aggregated(role: &Arc<Value>, all: &[Arc<Value>]) -> Vec<PolicyRule> {
    let mut rules = Vec::new();
    let mut seen: Vec<*const Value> = Vec::new();
    let mut open = vec![role];
    while let Some(role) = open.pop() {
        if seen.contains(&Arc::as_ptr(role)) {
            continue;
        }
        seen.push(Arc::as_ptr(role));
        let Some(aggregation) = role.get("aggregationRule").filter(|rule| !rule.is_null()) else {
            for rule in PolicyRule::all_of(role) {
                if !rules.contains(&rule) {
                    rules.push(rule);
                }
            }
            continue;
        };
        // A selector that cannot be read selects nothing: that grants less.
        let selectors: Vec<LabelSelector> = meta::items(aggregation, &["clusterRoleSelectors"])
            .iter()
            .filter_map(|selector| LabelSelector::from_object(Some(selector)).ok())
            .collect();
        let selected =
            |candidate: &&Arc<Value>| selectors.iter().any(|selector| selector.matches(candidate));
        open.extend(all.iter().filter(selected));
    }
    rules
}
