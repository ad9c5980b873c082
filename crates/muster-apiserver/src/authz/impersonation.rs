//! Acting as somebody else (`kubectl --as`): the `Impersonate-*` headers, each of which takes the right
//! `impersonate` on what it names.
//!
//! Refuses to know: how the real user proved who they are. Headers that cannot be honoured are refused; never
//! is a request served in the name of the real user instead.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use muster_machinery::status::{AccessAttributes, Status};

use super::{Authorizer, Decision};
use crate::{
    authn::{
        ANONYMOUS, AUTHENTICATED_GROUP, UNAUTHENTICATED_GROUP,
        service_account::{self, of_user_name},
    },
    request::{RequestInfo, ResourceRequest, UserInfo, Verb, decode_percent},
};

const USER: HeaderName = HeaderName::from_static("impersonate-user");
const GROUP: HeaderName = HeaderName::from_static("impersonate-group");
const UID: HeaderName = HeaderName::from_static("impersonate-uid");
const EXTRA_PREFIX: &str = "impersonate-extra-";
const AUTHENTICATION: &str = "authentication.k8s.io";

impl Authorizer {
    /// The user in whose name a request is to be served: `user`, or whom the headers name.
    ///
    /// # Errors
    /// 403 when `user` may not act as them, 400 when the headers cannot be read or name no user.
    pub fn acting_user(
        &self,
        user: UserInfo,
        headers: &HeaderMap,
    ) -> Result<UserInfo, Box<Status>> {
        let Some(wanted) = wanted(headers)? else {
            return Ok(user);
        };
        for right in rights(&wanted) {
            self.confirm(&user, right)?;
        }
        Ok(completed(wanted))
    }

    fn confirm(&self, user: &UserInfo, right: ResourceRequest) -> Result<(), Box<Status>> {
        let info = RequestInfo {
            verb: Verb::from("impersonate"),
            path: String::new(),
            resource: Some(right.clone()),
        };
        let Decision::Deny { reason } = self.authorize(user, &info) else {
            return Ok(());
        };
        let attributes = AccessAttributes {
            user: &user.name,
            verb: "impersonate",
            group: &right.group,
            resource: &right.resource,
            subresource: right.subresource.as_deref().unwrap_or_default(),
            namespace: right.namespace.as_deref().unwrap_or_default(),
            name: right.name.as_deref().unwrap_or_default(),
            path: "",
        };
        Err(Box::new(Status::forbidden(&attributes, &reason)))
    }
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

/// What one must be allowed to impersonate, in Kubernetes' order: user, groups, extras, uid.
fn rights(wanted: &UserInfo) -> Vec<ResourceRequest> {
    let right = |group: &str, resource: &str, name: &str| ResourceRequest {
        group: group.to_owned(),
        version: "v1".to_owned(),
        resource: resource.to_owned(),
        name: Some(name.to_owned()),
        ..ResourceRequest::default()
    };
    let mut rights = vec![match of_user_name(&wanted.name) {
        Some((namespace, name)) => ResourceRequest {
            namespace: Some(namespace.to_owned()),
            ..right("", "serviceaccounts", name)
        },
        None => right("", "users", &wanted.name),
    }];
    rights.extend(wanted.groups.iter().map(|group| right("", "groups", group)));
    for (key, values) in &wanted.extra {
        rights.extend(values.iter().map(|value| ResourceRequest {
            subresource: Some(key.clone()),
            ..right(AUTHENTICATION, "userextras", value)
        }));
    }
    if !wanted.uid.is_empty() {
        rights.push(right(AUTHENTICATION, "uids", &wanted.uid));
    }
    rights
}

/// Adds the groups that such a user always has.
fn completed(mut user: UserInfo) -> UserInfo {
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
    if !user.is_in(always) {
        user.groups.push(always.to_owned());
    }
    user
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::authz::{
        MASTERS,
        sample::{Objects, grant_everywhere},
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
        Authorizer::new(reader).acting_user(UserInfo::new("u", ["g"]), &headers(pairs))
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
            "users \"x\" is forbidden: User \"u\" cannot impersonate resource \"users\" in API group \"\" at \
             the cluster scope"
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
        let refused = act(json!([rule]), &asked).expect_err("refused");
        assert!(
            refused
                .message()
                .starts_with("groups \"system:masters\" is forbidden"),
            "{refused}"
        );
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
