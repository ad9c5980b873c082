//! Acting as somebody else (`kubectl --as`): the `Impersonate-*` headers, each of which takes a right on what it
//! names. First the constrained modes are tried, each of which also takes the right to do *this* while acting as such a
//! user (`impersonate-on:MODE:VERB`), then the plain right `impersonate`, in upstream's order.
//!
//! Refuses to know: how the real user proved who they are. Headers that cannot be honoured are refused; never
//! is a request served in the name of the real user instead.

mod mode;

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use muster_machinery::status::{AccessAttributes, Status};

use self::mode::Mode;
use super::{Authorizer, Decision};
use crate::request::{RequestInfo, ResourceRequest, UserInfo, Verb, decode_percent};

const USER: HeaderName = HeaderName::from_static("impersonate-user");
const GROUP: HeaderName = HeaderName::from_static("impersonate-group");
const UID: HeaderName = HeaderName::from_static("impersonate-uid");
const EXTRA_PREFIX: &str = "impersonate-extra-";

/// In whose name a request is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acting {
    /// The user.
    pub user: UserInfo,
    /// The verb that allowed it, where a constrained mode did.
    pub constraint: Option<String>,
}

impl Authorizer {
    /// The user in whose name a request is to be served, if the headers name one; else it is `user` themself.
    ///
    /// # Errors
    /// 403 when `user` may not act as them, 400 when the headers cannot be read or name no user.
    pub fn acting_user(
        &self,
        user: &UserInfo,
        info: &RequestInfo,
        headers: &HeaderMap,
    ) -> Result<Option<Acting>, Box<Status>> {
        let Some(wanted) = wanted(headers)? else {
            return Ok(None);
        };
        let mut first_refusal = None;
        for mode in Mode::ALL {
            if !mode.fits(&wanted, user) {
                continue;
            }
            match self.act_in(mode, user, info, &wanted) {
                Ok(acting) => return Ok(Some(acting)),
                Err(refusal) => {
                    first_refusal.get_or_insert(refusal);
                }
            }
        }
        Err(first_refusal.unwrap_or_else(|| Box::new(Status::internal("no impersonation mode"))))
    }

    fn act_in(
        &self,
        mode: Mode,
        user: &UserInfo,
        info: &RequestInfo,
        wanted: &UserInfo,
    ) -> Result<Acting, Box<Status>> {
        let requestor = mode.requestor(user);
        if let Some(verb) = mode.verb_on(&info.verb) {
            let info = RequestInfo {
                verb,
                ..info.clone()
            };
            self.confirm(&requestor, &info)?;
        }
        for right in mode.rights(wanted) {
            let info = RequestInfo {
                verb: Verb::from(mode.verb().as_str()),
                path: String::new(),
                resource: Some(right),
            };
            if let Some(why) = mode.forbids(wanted, &info) {
                return Err(forbidden(&requestor, &info, why));
            }
            self.confirm(&requestor, &info)?;
        }
        Ok(Acting {
            user: mode.completed(wanted.clone()),
            constraint: mode.is_constrained().then(|| mode.verb()),
        })
    }

    fn confirm(&self, user: &UserInfo, info: &RequestInfo) -> Result<(), Box<Status>> {
        match self.authorize(user, info) {
            Decision::Allow => Ok(()),
            Decision::Deny { reason } => Err(forbidden(user, info, &reason)),
        }
    }
}

fn forbidden(user: &UserInfo, info: &RequestInfo, reason: &str) -> Box<Status> {
    let none = ResourceRequest::default();
    let asked = info.resource.as_ref().unwrap_or(&none);
    let attributes = AccessAttributes {
        user: &user.name,
        verb: info.verb.as_str(),
        group: &asked.group,
        resource: &asked.resource,
        subresource: asked.subresource.as_deref().unwrap_or_default(),
        namespace: asked.namespace.as_deref().unwrap_or_default(),
        name: asked.name.as_deref().unwrap_or_default(),
        path: &info.path,
    };
    Box::new(Status::forbidden(&attributes, reason))
}

/// Whom the headers name, as they say it; `None` when there are none.
fn wanted(headers: &HeaderMap) -> Result<Option<UserInfo>, Box<Status>> {
    let first =
        |name| -> Result<String, Box<Status>> { headers.get(name).map_or(Ok(String::new()), text) };
    let groups = headers.get_all(GROUP).iter().map(text);
    let wanted = UserInfo {
        name: first(USER)?,
        uid: first(UID)?,
        groups: groups.collect::<Result<_, _>>()?,
        extra: extra(headers)?,
    };
    let names_more =
        !wanted.groups.is_empty() || !wanted.uid.is_empty() || !wanted.extra.is_empty();
    match (wanted.name.is_empty(), names_more) {
        (false, _) => Ok(Some(wanted)),
        (true, false) => Ok(None),
        (true, true) => Err(Box::new(Status::bad_request(
            "requested groups, uid or extra without impersonating a user",
        ))),
    }
}

fn text(value: &HeaderValue) -> Result<String, Box<Status>> {
    value.to_str().map(str::to_owned).map_err(|_| {
        Box::new(Status::bad_request(
            "an impersonation header is not plain text",
        ))
    })
}

fn extra(headers: &HeaderMap) -> Result<BTreeMap<String, Vec<String>>, Box<Status>> {
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let Some(key) = name.as_str().strip_prefix(EXTRA_PREFIX) else {
            continue;
        };
        let key = decode_percent(key, false).unwrap_or_else(|| key.to_owned());
        extra
            .entry(key.to_lowercase())
            .or_default()
            .push(text(value)?);
    }
    Ok(extra)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        authn::ANONYMOUS,
        authz::{
            MASTERS,
            sample::{Objects, ask, grant_everywhere},
        },
    };

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name: HeaderName = name.parse().expect("a name");
            headers.append(name, value.parse().expect("a value"));
        }
        headers
    }

    fn act(rules: Value, pairs: &[(&str, &str)]) -> Result<UserInfo, Box<Status>> {
        let reader = Objects::of(grant_everywhere("User", "u", rules));
        let user = UserInfo::new("u", ["g"]);
        let acting = Authorizer::new(reader).acting_user(
            &user,
            &ask("get", "default/pods/p"),
            &headers(pairs),
        );
        acting.map(|acting| acting.map_or(user, |acting| acting.user))
    }

    fn may(group: &str, resource: &str, name: &str) -> Value {
        json!({
            "verbs": ["impersonate"], "apiGroups": [group], "resources": [resource], "resourceNames": [name],
        })
    }

    #[test]
    fn without_headers_one_is_oneself() {
        assert_eq!(act(json!([]), &[]), Ok(UserInfo::new("u", ["g"])));
    }

    #[test]
    fn one_becomes_somebody_else_with_the_right_to() {
        let user = act(json!([may("", "users", "x")]), &[("Impersonate-User", "x")]);
        assert_eq!(user, Ok(UserInfo::new("x", ["system:authenticated"])));
        let refused = act(json!([]), &[("Impersonate-User", "x")]).expect_err("refused");
        assert_eq!(
            refused.message(),
            "pods \"p\" is forbidden: User \"u\" cannot impersonate-on:user-info:get resource \"pods\" in API \
             group \"\" in the namespace \"default\""
        );
    }

    #[rstest]
    #[case(may("", "groups", "a"), ("Impersonate-Group", "a"))]
    #[case(may("authentication.k8s.io", "uids", "1"), ("Impersonate-Uid", "1"))]
    #[case(may("authentication.k8s.io", "userextras/scopes", "view"), ("Impersonate-Extra-Scopes", "view"))]
    fn every_header_takes_its_own_right(#[case] rule: Value, #[case] header: (&str, &str)) {
        let asked = [("Impersonate-User", "x"), header];
        let user = may("", "users", "x");
        assert!(act(json!([user, rule]), &asked).is_ok());
        assert_eq!(act(json!([user]), &asked).expect_err("refused").code(), 403);
        assert_eq!(act(json!([rule]), &asked).expect_err("refused").code(), 403);
    }

    #[test]
    fn nobody_becomes_a_master_by_a_right_on_users_alone() {
        let rule = json!({"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"]});
        let asked = [("Impersonate-User", "x"), ("Impersonate-Group", MASTERS)];
        assert_eq!(act(json!([rule]), &asked).expect_err("refused").code(), 403);
        // A constrained mode never gives that group, whatever one's rights in it.
        let constrained = json!([
            {"verbs": ["impersonate:user-info"], "apiGroups": ["*"], "resources": ["*"]},
            {"verbs": ["impersonate-on:user-info:get"], "apiGroups": ["*"], "resources": ["*"]},
        ]);
        let refused = act(constrained, &asked).expect_err("refused");
        assert_eq!(
            refused.message(),
            "groups.authentication.k8s.io \"system:masters\" is forbidden: User \"u\" cannot \
             impersonate:user-info resource \"groups\" in API group \"authentication.k8s.io\" at the cluster \
             scope: impersonating the system:masters group is not allowed"
        );
    }

    fn rule(verb: &str, group: &str, resource: &str) -> Value {
        json!({"verbs": [verb], "apiGroups": [group], "resources": [resource]})
    }

    #[rstest]
    #[case("user-info", "users", "x", "system:authenticated")]
    #[case("arbitrary-node", "nodes", "system:node:n1", "system:nodes")]
    #[case(
        "serviceaccount",
        "serviceaccounts",
        "system:serviceaccount:ns:r",
        "system:serviceaccounts:ns"
    )]
    fn a_constrained_right_is_one_to_do_this_as_such_a_user(
        #[case] mode: &str,
        #[case] resource: &str,
        #[case] name: &str,
        #[case] group: &str,
    ) {
        let whom = rule(
            &format!("impersonate:{mode}"),
            "authentication.k8s.io",
            resource,
        );
        let this = rule(&format!("impersonate-on:{mode}:get"), "", "pods");
        let other = rule(&format!("impersonate-on:{mode}:list"), "", "pods");
        let asked = [("Impersonate-User", name)];
        let user = act(json!([whom, this]), &asked).expect("allowed");
        assert!(user.name == name && user.is_in(group), "{user:?}");
        for too_little in [json!([whom]), json!([this]), json!([whom, other])] {
            assert_eq!(act(too_little, &asked).expect_err("refused").code(), 403);
        }
    }

    #[test]
    fn a_pods_account_may_act_as_its_own_node_and_no_other() {
        let robot = "system:serviceaccount:ns:robot";
        let rules = json!([
            rule(
                "impersonate:associated-node",
                "authentication.k8s.io",
                "nodes"
            ),
            rule("impersonate-on:associated-node:get", "", "pods"),
        ]);
        let reader = Objects::of(grant_everywhere("User", robot, rules));
        let mut user = UserInfo::new(robot, []);
        let key = "authentication.kubernetes.io/node-name".to_owned();
        user.extra.insert(key, vec!["n1".to_owned()]);
        let authorizer = Authorizer::new(reader);
        let act_as = |name| {
            let headers = headers(&[("Impersonate-User", name)]);
            authorizer.acting_user(&user, &ask("get", "default/pods/p"), &headers)
        };
        let acting = act_as("system:node:n1")
            .expect("allowed")
            .expect("somebody");
        assert_eq!(
            acting.constraint.as_deref(),
            Some("impersonate:associated-node")
        );
        assert_eq!(acting.user.groups, ["system:nodes", "system:authenticated"]);
        assert!(act_as("system:node:n2").is_err());
    }

    #[test]
    fn a_service_account_comes_with_its_groups() {
        let rule = may("", "serviceaccounts", "robot");
        let user = act(
            json!([rule]),
            &[("Impersonate-User", "system:serviceaccount:ns:robot")],
        );
        let groups = [
            "system:serviceaccounts",
            "system:serviceaccounts:ns",
            "system:authenticated",
        ];
        assert_eq!(
            user,
            Ok(UserInfo::new("system:serviceaccount:ns:robot", groups))
        );
    }

    #[test]
    fn the_anonymous_user_is_not_authenticated() {
        let rule = may("", "users", ANONYMOUS);
        let user = act(json!([rule]), &[("Impersonate-User", ANONYMOUS)]);
        assert_eq!(
            user,
            Ok(UserInfo::new(ANONYMOUS, ["system:unauthenticated"]))
        );
    }

    #[test]
    fn groups_without_a_user_are_refused_and_not_ignored() {
        for header in [
            ("Impersonate-Group", "a"),
            ("Impersonate-Uid", "1"),
            ("Impersonate-Extra-a", "b"),
        ] {
            assert_eq!(act(json!([]), &[header]).expect_err("refused").code(), 400);
        }
    }

    #[test]
    fn extra_keys_are_decoded_and_gather_their_values() {
        let rule = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]});
        let asked = [
            ("Impersonate-User", "x"),
            ("Impersonate-Extra-Example.com%2Fkey", "1"),
            ("Impersonate-Extra-example.com%2fkey", "2"),
        ];
        let user = act(json!([rule]), &asked).expect("allowed");
        assert_eq!(user.extra["example.com/key"], ["1", "2"]);
    }
}
