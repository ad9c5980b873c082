//! The cluster half of discovery: what kube-public/cluster-info must hold for a set of tokens.
//!
//! Pure: current data and tokens in, changes out. It knows neither how the ConfigMap is read or
//! written nor when that happens; the controller that does both asks [`SignerPlan::next`].

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use muster_identity::{
    BootstrapTokenSecret, CertificateBundle, Endpoint, Kubeconfig, TokenId, jws,
};
use serde_json::{Value, json};

use super::{KUBECONFIG_KEY, SIGNATURE_PREFIX};

/// Annotation on cluster-info that tells strangers which tokens have expired, so that a joiner can
/// say "expired" instead of "unknown". A comma list of `ID=RFC3339`; ids are public.
pub const EXPIRED_TOKENS_ANNOTATION: &str = "muster.dev/expired-tokens";

/// How long an expired token stays in the annotation.
pub const EXPIRED_TOKENS_KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How many expired tokens the annotation names at most; the latest ones stay.
pub const EXPIRED_TOKENS_LIMIT: usize = 64;

/// The expired tokens that a cluster remembers: id and time of expiry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExpiredTokens(BTreeMap<String, Timestamp>);

impl ExpiredTokens {
    /// Reads the annotation's value. Entries that cannot be read are left out, so that one bad
    /// entry hides no other; at most [`EXPIRED_TOKENS_LIMIT`] entries are read.
    pub fn parse(text: &str) -> Self {
        let entry = |part: &str| {
            let (id, at) = part.trim().split_once('=')?;
            let id = TokenId::parse(id).ok()?;
            Some((id.as_str().to_owned(), at.parse::<Timestamp>().ok()?))
        };
        Self(
            text.split(',')
                .take(EXPIRED_TOKENS_LIMIT)
                .filter_map(entry)
                .collect(),
        )
    }

    /// When token `id` expired, if it is remembered.
    pub fn get(&self, id: &str) -> Option<Timestamp> {
        self.0.get(id).copied()
    }

    /// Remembers that token `id` expired at `at`.
    pub fn record(&mut self, id: &TokenId, at: Timestamp) {
        self.0.insert(id.as_str().to_owned(), at);
    }

    /// Forgets token `id`: it lives (again).
    pub fn forget(&mut self, id: &TokenId) {
        self.0.remove(id.as_str());
    }

    /// Forgets what is older than [`EXPIRED_TOKENS_KEPT`] at `now` and all but the latest
    /// [`EXPIRED_TOKENS_LIMIT`].
    pub fn prune(&mut self, now: Timestamp) {
        self.0
            .retain(|_, at| now.duration_since(*at) < EXPIRED_TOKENS_KEPT);
        let excess = self.0.len().saturating_sub(EXPIRED_TOKENS_LIMIT);
        let mut oldest: Vec<_> = self.0.iter().map(|(id, at)| (*at, id.clone())).collect();
        oldest.sort();
        for (_, id) in oldest.into_iter().take(excess) {
            self.0.remove(&id);
        }
    }

    /// When the oldest entry is to be forgotten.
    fn next(&self) -> Option<Timestamp> {
        self.0
            .values()
            .min()
            .and_then(|at| at.checked_add(EXPIRED_TOKENS_KEPT).ok())
    }

    /// The annotation's value.
    pub fn render(&self) -> String {
        let entries: Vec<_> = self
            .0
            .iter()
            .map(|(id, at)| format!("{id}={at:.0}"))
            .collect();
        entries.join(",")
    }
}

/// The ConfigMap kube-public/cluster-info without signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterInfo {
    /// The kubeconfig text that tokens sign, byte for byte.
    pub kubeconfig: String,
}

impl ClusterInfo {
    /// For a cluster at `endpoint` with these CA certificates: one cluster without a name and
    /// nothing else, as kubeadm makes it.
    pub fn new(endpoint: &Endpoint, ca: &CertificateBundle) -> Self {
        Self {
            kubeconfig: Kubeconfig::for_cluster_info(&endpoint.url(), ca)
                .to_yaml()
                .expose()
                .clone(),
        }
    }

    /// The ConfigMap (`v1`), without signatures.
    pub fn to_object(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "cluster-info", "namespace": "kube-public"},
            "data": {KUBECONFIG_KEY: self.kubeconfig},
        })
    }
}

/// What has to change in cluster-info so that it is signed by exactly the live signing tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignerPlan {
    /// Keys of `data` to set, with their signatures.
    pub set: BTreeMap<String, String>,
    /// Keys of `data` to remove: signatures of tokens that do not sign (any more).
    pub remove: Vec<String>,
    /// The new value of [`EXPIRED_TOKENS_ANNOTATION`], when it changes. It is published even when
    /// it is empty: its presence tells joiners that "unknown" is not "expired".
    pub annotation: Option<String>,
    /// When the plan changes by itself, because a token or a remembered expiry ends.
    pub next: Option<Timestamp>,
}

impl SignerPlan {
    /// Compares cluster-info as it is with the tokens there are.
    ///
    /// `object` is the ConfigMap; `tokens` all readable token Secrets, expired ones included;
    /// `ended` tokens whose Secret is gone and whose expiry had come (the token cleaner may have
    /// been quicker than the signer).
    pub fn compute(
        object: &Value,
        tokens: &[BootstrapTokenSecret],
        ended: &[(TokenId, Timestamp)],
        now: Timestamp,
    ) -> Self {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let Some(kubeconfig) = text("/data/kubeconfig") else {
            return Self::default();
        };
        let current = signatures(object);
        let wanted = wanted_signatures(kubeconfig, tokens, now);
        let annotation = annotation_of(object);
        let expired = expired_tokens(annotation, tokens, ended, now);
        let rendered = expired.render();
        let ends = tokens
            .iter()
            .filter(|token| token.usages.signing && !token.is_expired(now))
            .filter_map(|token| token.expiration.timestamp());
        Self {
            remove: current
                .keys()
                .filter(|key| !wanted.contains_key(*key))
                .cloned()
                .collect(),
            next: ends.chain(expired.next()).min(),
            annotation: (annotation != Some(rendered.as_str())).then_some(rendered),
            set: wanted
                .into_iter()
                .filter(|(key, signature)| current.get(key) != Some(signature))
                .collect(),
        }
    }

    /// Nothing has to change.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty() && self.annotation.is_none()
    }

    /// The change as a JSON merge patch (RFC 7396) of the ConfigMap.
    pub fn to_merge_patch(&self) -> Value {
        let mut data: serde_json::Map<String, Value> = self
            .set
            .iter()
            .map(|(key, value)| (key.clone(), json!(value)))
            .collect();
        data.extend(self.remove.iter().map(|key| (key.clone(), Value::Null)));
        let mut patch = serde_json::Map::new();
        if !data.is_empty() {
            patch.insert("data".to_owned(), Value::Object(data));
        }
        if let Some(annotation) = &self.annotation {
            let metadata = json!({"annotations": {EXPIRED_TOKENS_ANNOTATION: annotation}});
            patch.insert("metadata".to_owned(), metadata);
        }
        Value::Object(patch)
    }

    /// Makes the change in an object in memory.
    pub fn apply(&self, object: &mut Value) {
        for (key, signature) in &self.set {
            object["data"][key] = json!(signature);
        }
        if let Some(data) = object.get_mut("data").and_then(Value::as_object_mut) {
            data.retain(|key, _| !self.remove.contains(key));
        }
        if let Some(annotation) = &self.annotation {
            object["metadata"]["annotations"][EXPIRED_TOKENS_ANNOTATION] = json!(annotation);
        }
    }
}

fn signatures(object: &Value) -> BTreeMap<String, String> {
    let data = object.get("data").and_then(Value::as_object);
    data.into_iter()
        .flatten()
        .filter(|(key, _)| key.starts_with(SIGNATURE_PREFIX))
        .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect()
}

fn wanted_signatures(
    kubeconfig: &str,
    tokens: &[BootstrapTokenSecret],
    now: Timestamp,
) -> BTreeMap<String, String> {
    tokens
        .iter()
        .filter(|token| token.usages.signing && !token.is_expired(now))
        .map(|secret| {
            let signature = jws::sign_detached(kubeconfig.as_bytes(), &secret.token);
            (secret.token.id().signature_key(), signature)
        })
        .collect()
}

fn annotation_of(object: &Value) -> Option<&str> {
    object
        .get("metadata")?
        .get("annotations")?
        .get(EXPIRED_TOKENS_ANNOTATION)?
        .as_str()
}

fn expired_tokens(
    annotation: Option<&str>,
    tokens: &[BootstrapTokenSecret],
    ended: &[(TokenId, Timestamp)],
    now: Timestamp,
) -> ExpiredTokens {
    let mut expired = ExpiredTokens::parse(annotation.unwrap_or_default());
    for (id, at) in ended.iter().filter(|(_, at)| *at <= now) {
        expired.record(id, *at);
    }
    for token in tokens.iter().filter(|token| token.usages.signing) {
        match token.expiration.timestamp() {
            Some(at) if at <= now => expired.record(token.token.id(), at),
            // A readable end in the future, or none: the token lives.
            _ if !token.is_expired(now) => expired.forget(token.token.id()),
            _ => {}
        }
    }
    expired.prune(now);
    expired
}

#[cfg(test)]
mod tests {
    use muster_identity::BootstrapToken;
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn token(text: &str, end: Option<&str>) -> BootstrapTokenSecret {
        let mut secret = BootstrapTokenSecret::new(BootstrapToken::parse(text).unwrap());
        secret.expiration = end.map(at).into();
        secret
    }

    fn object() -> Value {
        ClusterInfo {
            kubeconfig: "kind: Config\n".to_owned(),
        }
        .to_object()
    }

    const NOW: &str = "2026-11-21T10:00:00Z";

    #[test]
    fn exactly_the_live_signing_tokens_sign() {
        let mut mute = token("cccccc.0123456789abcdef", None);
        mute.usages.signing = false;
        let tokens = [
            token("aaaaaa.0123456789abcdef", None),
            token("bbbbbb.0123456789abcdef", Some("2026-11-21T09:00:00Z")),
            mute,
            token("dddddd.0123456789abcdef", Some("2026-11-21T11:00:00Z")),
        ];
        let mut cluster_info = object();
        cluster_info["data"]["jws-kubeconfig-eeeeee"] = json!("stale");
        let plan = SignerPlan::compute(&cluster_info, &tokens, &[], at(NOW));
        let keys: Vec<_> = plan.set.keys().map(String::as_str).collect();
        assert_eq!(keys, ["jws-kubeconfig-aaaaaa", "jws-kubeconfig-dddddd"]);
        assert_eq!(plan.remove, ["jws-kubeconfig-eeeeee"]);
        assert_eq!(
            plan.annotation.as_deref(),
            Some("bbbbbb=2026-11-21T09:00:00Z")
        );
        assert_eq!(plan.next, Some(at("2026-11-21T11:00:00Z")));
    }

    #[test]
    fn a_plan_that_was_applied_leaves_nothing_to_do() {
        let tokens = [
            token("aaaaaa.0123456789abcdef", None),
            token("bbbbbb.0123456789abcdef", Some("2026-11-21T09:00:00Z")),
        ];
        let mut cluster_info = object();
        let plan = SignerPlan::compute(&cluster_info, &tokens, &[], at(NOW));
        assert!(!plan.is_empty());
        plan.apply(&mut cluster_info);
        assert!(SignerPlan::compute(&cluster_info, &tokens, &[], at(NOW)).is_empty());
        let emptied = SignerPlan::compute(&cluster_info, &[], &[], at(NOW));
        assert_eq!(
            emptied.to_merge_patch(),
            json!({"data": {"jws-kubeconfig-aaaaaa": null}}),
            "a deleted token leaves, an expired one stays remembered"
        );
    }

    #[test]
    fn an_empty_annotation_is_published_so_that_unknown_is_not_taken_for_expired() {
        let plan = SignerPlan::compute(&object(), &[], &[], at(NOW));
        assert_eq!(plan.annotation.as_deref(), Some(""));
    }

    #[test]
    fn a_token_that_the_cleaner_took_first_is_remembered_and_forgotten_after_a_week() {
        let id = TokenId::parse("aaaaaa").unwrap();
        let end = at("2026-11-21T09:59:59Z");
        let mut cluster_info = object();
        let plan = SignerPlan::compute(&cluster_info, &[], &[(id, end)], at(NOW));
        assert_eq!(
            plan.annotation.as_deref(),
            Some("aaaaaa=2026-11-21T09:59:59Z")
        );
        plan.apply(&mut cluster_info);
        let later = plan.next.unwrap();
        let plan = SignerPlan::compute(&cluster_info, &[], &[], later);
        assert_eq!(plan.annotation.as_deref(), Some(""));
    }

    #[test]
    fn a_token_that_lives_again_is_no_longer_called_expired() {
        let mut cluster_info = object();
        let old = token("aaaaaa.0123456789abcdef", Some("2026-11-21T09:00:00Z"));
        SignerPlan::compute(&cluster_info, &[old], &[], at(NOW)).apply(&mut cluster_info);
        let new = token("aaaaaa.fedcba9876543210", None);
        let plan = SignerPlan::compute(&cluster_info, &[new], &[], at(NOW));
        assert_eq!(plan.annotation.as_deref(), Some(""));
    }

    #[test]
    fn at_most_64_expired_tokens_are_remembered_and_the_latest_stay() {
        let mut expired = ExpiredTokens::default();
        for n in 0..100_i64 {
            let id = TokenId::parse(&format!("tok{n:03}")).unwrap();
            expired.record(
                &id,
                at("2026-11-21T00:00:00Z") + SignedDuration::from_mins(n),
            );
        }
        expired.prune(at(NOW));
        let kept = ExpiredTokens::parse(&expired.render());
        assert_eq!(kept, expired);
        assert_eq!(kept.0.len(), EXPIRED_TOKENS_LIMIT);
        assert!(kept.get("tok099").is_some());
        assert!(kept.get("tok000").is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn any_annotation_is_read_within_its_bound(text in ".{0,200}|([a-z0-9]{6}=2026-11-21T0[0-9]:00:00Z,){0,99}") {
            let read = ExpiredTokens::parse(&text);
            prop_assert!(read.0.len() <= EXPIRED_TOKENS_LIMIT);
            prop_assert_eq!(ExpiredTokens::parse(&read.render()), read);
        }
    }
}
