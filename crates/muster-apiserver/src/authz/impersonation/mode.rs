//! The ways of acting as somebody else (`k8s.io/apiserver` `endpoints/filters/impersonation`): as the node one runs on,
//! as any node, as a service account, as any other user, or as anybody by the plain right.
//!
//! Refuses to know: who has which right.

use muster_identity::{
    NodeName,
    name::{NODE_USER_PREFIX, NODES_GROUP},
};

use crate::{
    authn::{
        ANONYMOUS, AUTHENTICATED_GROUP, UNAUTHENTICATED_GROUP,
        service_account::{self, of_user_name},
    },
    authz::MASTERS,
    request::{RequestInfo, ResourceRequest, UserInfo, Verb},
};

const AUTHENTICATION: &str = "authentication.k8s.io";
/// The attribute of a service account's token that names the node of its pod.
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
/// What stands for the other attributes in questions about one's own node.
const NODE_KEYS: &str = "authentication.kubernetes.io/associated-node-keys";

/// A way of acting as somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    AssociatedNode,
    ArbitraryNode,
    ServiceAccount,
    UserInfo,
    Plain,
}

impl Mode {
    /// All of them, in the order in which they are tried.
    pub(super) const ALL: [Self; 5] = [
        Self::AssociatedNode,
        Self::ArbitraryNode,
        Self::ServiceAccount,
        Self::UserInfo,
        Self::Plain,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::AssociatedNode => "associated-node",
            Self::ArbitraryNode => "arbitrary-node",
            Self::ServiceAccount => "serviceaccount",
            Self::UserInfo => "user-info",
            Self::Plain => "",
        }
    }

    pub(super) fn is_constrained(self) -> bool {
        self != Self::Plain
    }

    /// Whether the mode is about such a user at all.
    pub(super) fn fits(self, wanted: &UserInfo, requestor: &UserInfo) -> bool {
        let only_name =
            wanted.uid.is_empty() && wanted.groups.is_empty() && wanted.extra.is_empty();
        let node = node_name(&wanted.name);
        let account = of_user_name(&wanted.name);
        match self {
            Self::AssociatedNode => {
                let own = requestor.extra.get(NODE_NAME).map(Vec::as_slice);
                let is_own = matches!((own, node), (Some([own]), Some(node)) if own == node);
                only_name && is_own && of_user_name(&requestor.name).is_some()
            }
            Self::ArbitraryNode => only_name && node.is_some(),
            Self::ServiceAccount => only_name && account.is_some(),
            Self::UserInfo => node.is_none() && account.is_none(),
            Self::Plain => true,
        }
    }

    /// The verb that one must have on the users, groups and so on.
    pub(super) fn verb(self) -> String {
        match self {
            Self::Plain => "impersonate".to_owned(),
            _ => format!("impersonate:{}", self.name()),
        }
    }

    /// The verb that one must have on what the request is about.
    pub(super) fn verb_on(self, verb: &Verb) -> Option<Verb> {
        let constrained = format!("impersonate-on:{}:{}", self.name(), verb.as_str());
        self.is_constrained().then_some(Verb::Other(constrained))
    }

    /// As whom the questions are asked. For one's own node the attributes that differ from node to node are left out.
    pub(super) fn requestor(self, user: &UserInfo) -> UserInfo {
        let mut user = user.clone();
        if self == Self::AssociatedNode {
            let keys: Vec<String> = user.extra.keys().cloned().collect();
            user.extra = [(NODE_KEYS.to_owned(), keys)].into();
        }
        user
    }

    /// What nobody may do in this mode whatever their rights.
    pub(super) fn forbids(self, wanted: &UserInfo, info: &RequestInfo) -> Option<&'static str> {
        let asked = info.resource.as_ref().filter(|_| self.is_constrained())?;
        match asked.resource.as_str() {
            "groups" if wanted.is_in("") => {
                Some("impersonating the empty string group is not allowed")
            }
            "groups" if wanted.is_in(MASTERS) => {
                Some("impersonating the system:masters group is not allowed")
            }
            "userextras" if !wanted.extra.iter().all(is_plausible) => {
                Some("impersonating an invalid key or an empty value in extra is not allowed")
            }
            _ => None,
        }
    }

    /// What one must be allowed to impersonate: user, uid, groups, extras.
    pub(super) fn rights(self, wanted: &UserInfo) -> Vec<ResourceRequest> {
        // The plain right on users and groups is one on the core group, as it has always been.
        let group = if self.is_constrained() {
            AUTHENTICATION
        } else {
            ""
        };
        let right = |group: &str, resource: &str, name: &str| ResourceRequest {
            group: group.to_owned(),
            version: "v1".to_owned(),
            resource: resource.to_owned(),
            name: Some(name.to_owned()),
            ..ResourceRequest::default()
        };
        let node = node_name(&wanted.name).filter(|_| self.is_constrained());
        let mut rights = vec![match (of_user_name(&wanted.name), node) {
            (Some((namespace, name)), _) => ResourceRequest {
                namespace: Some(namespace.to_owned()),
                ..right(group, "serviceaccounts", name)
            },
            // The right on one's own node is one on all of them.
            (None, Some(_)) if self == Self::AssociatedNode => right(group, "nodes", "*"),
            (None, Some(node)) => right(group, "nodes", node),
            (None, None) => right(group, "users", &wanted.name),
        }];
        if !wanted.uid.is_empty() {
            rights.push(right(AUTHENTICATION, "uids", &wanted.uid));
        }
        rights.extend(
            wanted
                .groups
                .iter()
                .map(|name| right(group, "groups", name)),
        );
        for (key, values) in &wanted.extra {
            rights.extend(values.iter().map(|value| ResourceRequest {
                subresource: Some(key.clone()),
                ..right(AUTHENTICATION, "userextras", value)
            }));
        }
        rights
    }

    /// Adds the groups that such a user always has.
    pub(super) fn completed(self, mut user: UserInfo) -> UserInfo {
        if self.is_constrained() && node_name(&user.name).is_some() {
            user.groups = vec![NODES_GROUP.to_owned()];
        }
        if let Some((namespace, _)) = of_user_name(&user.name)
            && user.groups.is_empty()
        {
            let all = service_account::GROUP;
            user.groups = vec![all.to_owned(), format!("{all}:{namespace}")];
        }
        let always = if user.name == ANONYMOUS {
            UNAUTHENTICATED_GROUP
        } else {
            AUTHENTICATED_GROUP
        };
        // Somebody who is unauthenticated by the headers is not authenticated by us.
        if !user.is_in(always) && !user.is_in(UNAUTHENTICATED_GROUP) {
            user.groups.push(always.to_owned());
        }
        user
    }
}

/// The node that a user name is, if it can be one.
fn node_name(user: &str) -> Option<&str> {
    let name = user.strip_prefix(NODE_USER_PREFIX)?;
    let is_one = NodeName::parse(name).is_ok_and(|parsed| parsed.as_str() == name);
    is_one.then_some(name)
}

/// A key is a domain with a path, in lower case; no value is empty.
fn is_plausible((key, values): (&String, &Vec<String>)) -> bool {
    let in_order = |(domain, path): (&str, &str)| !domain.is_empty() && !path.is_empty();
    key.split_once('/').is_some_and(in_order)
        && !key
            .chars()
            .any(|c| c.is_ascii_uppercase() || c.is_whitespace())
        && !values.is_empty()
        && !values.iter().any(String::is_empty)
}
