//! The worker profile of a k0s cluster: which ConfigMap it is in, and what it says to a machine that joins.
//!
//! Sources: `pkg/component/controller/workerconfig` and `pkg/component/worker/config` of k0s. Each value of the
//! ConfigMap is a JSON text. Knows neither socket nor clock, and not what becomes of the configuration.

use std::collections::VecDeque;

use http::StatusCode;
use jiff::Timestamp;
use serde_json::Value;

use super::{Call, Effect, Event};
use crate::error::HandshakeError;
use crate::progress::Progress;
use crate::wire::{Answer, Request};

/// The profile of who asks for none.
const DEFAULT: &str = "default";
/// The longest name; with prefix and version it still is the name of an object.
const LONGEST_NAME: usize = 200;
const PURPOSE: &str = "read the worker profile of kube-system";
/// No ConfigMap is larger.
const MAX_BYTES: usize = 1 << 20;
/// Where k0s starts containerd; on any other machine this is the cgroup of another service, which the kubelet would
/// move itself into.
const CGROUP_OF_K0S: &str = "/system.slice/containerd.service";

/// Which worker profile is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileWish {
    name: String,
    required: bool,
}

/// Not the name of a profile: letters, digits, `-` and `.` in lower case, as in names of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a worker profile is named with a-z, 0-9, - and ., and begins and ends with a letter or digit"
)]
pub struct ProfileNameError;

impl Default for ProfileWish {
    /// The default profile, and none where the cluster has none.
    fn default() -> Self {
        Self {
            name: DEFAULT.to_owned(),
            required: false,
        }
    }
}

impl ProfileWish {
    /// A profile that was asked for by name: without it there is no join.
    ///
    /// # Errors
    /// [`ProfileNameError`] when no object can have that name.
    pub fn named(name: &str) -> Result<Self, ProfileNameError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = name.as_bytes();
        let ends = bytes.first().zip(bytes.last());
        let fits = bytes.len() <= LONGEST_NAME
            && ends.is_some_and(|(&first, &last)| plain(first) && plain(last))
            && bytes
                .iter()
                .all(|&byte| plain(byte) || byte == b'-' || byte == b'.')
            && !name.contains("..");
        fits.then(|| Self {
            name: name.to_owned(),
            required: true,
        })
        .ok_or(ProfileNameError)
    }

    /// The name of the profile.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// What a worker profile says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerProfile {
    /// The ConfigMap in kube-system that it stands in.
    pub config_map: String,
    /// `kubeletConfiguration`: a KubeletConfiguration, JSON. The cgroup of the containerd that k0s starts is left out.
    pub kubelet_configuration: Option<String>,
}

/// The state machine that looks for a worker profile: that of the cluster's own minor version, then of the
/// neighbouring ones, as control planes are upgraded one by one. One read at a time.
#[derive(Debug)]
pub struct ProfileSearch {
    wish: ProfileWish,
    asked: String,
    left: VecDeque<String>,
    tried: Vec<String>,
    deadline: Timestamp,
}

type Found = Option<WorkerProfile>;
type Effects = Vec<Effect<Found>>;

impl ProfileSearch {
    /// Begins with the ConfigMap for `version`, the API server's `gitVersion`; all reads have to be done by `deadline`.
    pub fn start(wish: ProfileWish, version: Option<&str>, deadline: Timestamp) -> (Self, Effects) {
        let left = version.and_then(minor_of).map_or_else(VecDeque::new, |at| {
            let (major, minor) = at;
            [Some(minor), minor.checked_sub(1), minor.checked_add(1)]
                .into_iter()
                .flatten()
                .map(|minor| format!("worker-config-{}-{major}.{minor}", wish.name))
                .collect()
        });
        let mut machine = Self {
            wish,
            asked: String::new(),
            left,
            tried: Vec::new(),
            deadline,
        };
        let effects = machine.ask_next();
        (machine, effects)
    }

    /// When [`Event::Tick`] is wanted, if nothing else happens before.
    pub const fn deadline(&self) -> Option<Timestamp> {
        Some(self.deadline)
    }

    /// Takes in what happened. An event that is not waited for changes nothing.
    pub fn on(&mut self, event: Event, now: Timestamp) -> Effects {
        match event {
            Event::Answered(Call::WorkerProfile, answer) => self.answered(answer),
            Event::Tick if now >= self.deadline => {
                vec![Effect::Finished(Err(super::survey::too_late()))]
            }
            _ => Vec::new(),
        }
    }

    fn answered(&mut self, answer: Answer) -> Effects {
        let response = match answer {
            Ok(response) => response,
            Err(error) => return vec![Effect::Finished(Err(error))],
        };
        match response.status {
            // Rights are given by name, so what is not there is forbidden as a rule.
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => self.ask_next(),
            status if status.is_success() => {
                let data = response.json().unwrap_or_default();
                self.found(data.get("data").unwrap_or(&Value::Null))
            }
            _ => vec![Effect::Finished(Err(response.into_error(PURPOSE)))],
        }
    }

    fn ask_next(&mut self) -> Effects {
        if let Some(next) = self.left.pop_front() {
            let path = format!("/api/v1/namespaces/kube-system/configmaps/{next}");
            self.tried.push(next.clone());
            self.asked = next;
            return vec![Effect::Send(
                Call::WorkerProfile,
                Request::get(path, PURPOSE),
            )];
        }
        let profile = self.wish.name.clone();
        let tried = std::mem::take(&mut self.tried);
        if self.wish.required {
            let error = HandshakeError::WorkerProfileMissing { profile, tried };
            return vec![Effect::Finished(Err(error))];
        }
        let mut effects = Vec::new();
        // A server that does not even tell its version says elsewhere why.
        if !tried.is_empty() {
            effects.push(Effect::Tell(Progress::WorkerProfileMissing {
                profile,
                tried,
            }));
        }
        effects.push(Effect::Finished(Ok(None)));
        effects
    }

    fn found(&mut self, data: &Value) -> Effects {
        let mut effects = vec![Effect::Tell(Progress::WorkerProfileRead {
            profile: self.wish.name.clone(),
            config_map: self.asked.clone(),
            of_neighbour: self.tried.len() > 1,
        })];
        let says = |key: &str| part(data, key);
        let is_on = |part: &Value| part["enabled"] == true;
        if let Some(balancing) = says("nodeLocalLoadBalancing").filter(is_on) {
            let kind = balancing["type"].as_str().unwrap_or("EnvoyProxy");
            effects.push(Effect::Tell(Progress::NodeLocalLoadBalancing {
                kind: kind.chars().take(64).collect(),
            }));
        }
        if let Some(konnectivity) = says("konnectivity").filter(is_on) {
            let port = konnectivity["agentPort"].as_u64();
            effects.push(Effect::Tell(Progress::Konnectivity {
                port: port.and_then(|port| u16::try_from(port).ok()),
            }));
        }
        effects.push(Effect::Finished(Ok(Some(WorkerProfile {
            config_map: self.asked.clone(),
            kubelet_configuration: text(data, "kubeletConfiguration").map(for_any_machine),
        }))));
        effects
    }
}

fn text<'a>(data: &'a Value, key: &str) -> Option<&'a str> {
    data.get(key)
        .and_then(Value::as_str)
        .filter(|text| text.len() <= MAX_BYTES)
}

fn part(data: &Value, key: &str) -> Option<Value> {
    serde_json::from_str(text(data, key)?).ok()
}

/// What cannot be read is handed on as it is: whoever writes the configuration says what is wrong with it.
fn for_any_machine(text: &str) -> String {
    let Ok(Value::Object(mut config)) = serde_json::from_str(text) else {
        return text.to_owned();
    };
    if config.get("kubeletCgroups").and_then(Value::as_str) == Some(CGROUP_OF_K0S) {
        config.remove("kubeletCgroups");
    }
    Value::Object(config).to_string()
}

/// Major and minor of a version such as `v1.36.2+k0s.0`.
fn minor_of(version: &str) -> Option<(u16, u16)> {
    let (major, rest) = version.strip_prefix('v')?.split_once('.')?;
    let digits = rest.find(|c: char| !c.is_ascii_digit());
    let minor = &rest[..digits.unwrap_or(rest.len())];
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::wire::Response;

    fn response(status: u16, body: &Value) -> Event {
        let status = StatusCode::from_u16(status).unwrap();
        Event::Answered(
            Call::WorkerProfile,
            Ok(Response {
                status,
                date: None,
                body: body.to_string().into_bytes(),
            }),
        )
    }

    fn asked(effects: &[Effect<Found>]) -> String {
        let [Effect::Send(Call::WorkerProfile, request)] = effects else {
            panic!("{effects:?}")
        };
        let (_, name) = request.path.rsplit_once('/').unwrap();
        name.to_owned()
    }

    fn search(wish: ProfileWish) -> (ProfileSearch, Effects) {
        ProfileSearch::start(wish, Some("v1.36.2+k0s.0"), Timestamp::MAX)
    }

    fn on(machine: &mut ProfileSearch, status: u16, body: &Value) -> Effects {
        machine.on(response(status, body), Timestamp::UNIX_EPOCH)
    }

    /// As k0s 1.36 writes it, shortened.
    fn config_map() -> Value {
        json!({"data": {
            "apiServerAddresses": "[\"10.0.0.1:6443\"]",
            "kubeletConfiguration": "{\"kind\":\"KubeletConfiguration\",\"apiVersion\":\"kubelet.config.k8s.io/v1beta1\",\
                \"clusterDNS\":[\"10.96.0.10\"],\"kubeletCgroups\":\"/system.slice/containerd.service\"}",
            "nodeLocalLoadBalancing": "{\"enabled\":true,\"type\":\"EnvoyProxy\"}",
            "konnectivity": "{\"enabled\":true,\"agentPort\":8132}",
        }})
    }

    #[test]
    fn the_profile_of_the_clusters_own_minor_version_is_read_first() {
        let (mut machine, effects) = search(ProfileWish::default());
        assert_eq!(asked(&effects), "worker-config-default-1.36");
        let effects = on(&mut machine, 200, &config_map());
        let told: Vec<_> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Tell(progress) => Some(progress.clone()),
                _ => None,
            })
            .collect();
        assert_eq!(
            told,
            [
                Progress::WorkerProfileRead {
                    profile: "default".into(),
                    config_map: "worker-config-default-1.36".into(),
                    of_neighbour: false,
                },
                Progress::NodeLocalLoadBalancing {
                    kind: "EnvoyProxy".into()
                },
                Progress::Konnectivity { port: Some(8132) },
            ]
        );
        let Some(Effect::Finished(Ok(Some(profile)))) = effects.last() else {
            panic!("{effects:?}")
        };
        let config = profile.kubelet_configuration.as_deref().unwrap();
        assert!(config.contains("10.96.0.10"), "{config}");
        assert!(!config.contains("kubeletCgroups"), "{config}");
    }

    #[test]
    fn the_neighbouring_versions_are_tried_in_turn_and_the_end_is_told() {
        let (mut machine, _) = search(ProfileWish::default());
        let effects = on(&mut machine, 403, &json!({}));
        assert_eq!(asked(&effects), "worker-config-default-1.35");
        let effects = on(&mut machine, 404, &json!({}));
        assert_eq!(asked(&effects), "worker-config-default-1.37");
        let effects = on(&mut machine, 404, &json!({}));
        let [Effect::Tell(told), Effect::Finished(Ok(None))] = effects.as_slice() else {
            panic!("{effects:?}")
        };
        assert!(
            matches!(told, Progress::WorkerProfileMissing { tried, .. } if tried.len() == 3),
            "{told:?}"
        );
    }

    #[test]
    fn a_profile_that_was_asked_for_by_name_must_be_there() {
        let (mut machine, effects) = search(ProfileWish::named("gpu").unwrap());
        assert_eq!(asked(&effects), "worker-config-gpu-1.36");
        for _ in 0..2 {
            on(&mut machine, 404, &json!({}));
        }
        let effects = on(&mut machine, 404, &json!({}));
        let [Effect::Finished(Err(error))] = effects.as_slice() else {
            panic!("{effects:?}")
        };
        assert_eq!(error.id(), "worker-profile-missing");
        assert!(
            error.to_string().contains("worker-config-gpu-1.37"),
            "{error}"
        );
        // Without a version there is nothing to ask for.
        let wish = ProfileWish::named("gpu").unwrap();
        let (_, effects) = ProfileSearch::start(wish, None, Timestamp::MAX);
        assert!(matches!(effects.as_slice(), [Effect::Finished(Err(_))]));
        let (_, effects) = ProfileSearch::start(ProfileWish::default(), None, Timestamp::MAX);
        assert!(matches!(effects.as_slice(), [Effect::Finished(Ok(None))]));
    }

    #[test]
    fn a_refusal_or_the_deadline_ends_the_search() {
        let (mut machine, _) = search(ProfileWish::default());
        let effects = on(&mut machine, 401, &json!({}));
        let [Effect::Finished(Err(error))] = effects.as_slice() else {
            panic!("{effects:?}")
        };
        assert_eq!(error.id(), "unauthorized");
        let (mut machine, _) = ProfileSearch::start(
            ProfileWish::default(),
            Some("v1.36.0"),
            Timestamp::UNIX_EPOCH,
        );
        let effects = machine.on(Event::Tick, Timestamp::UNIX_EPOCH);
        assert!(matches!(effects.as_slice(), [Effect::Finished(Err(_))]));
    }

    #[test]
    fn names_of_objects_are_names_of_profiles_and_others_are_not() {
        for name in ["default", "gpu-2.a"] {
            assert_eq!(ProfileWish::named(name).unwrap().name(), name);
        }
        for name in ["", "-a", "a/../../secrets/x", "a..b", "A", "a?b"] {
            assert_eq!(ProfileWish::named(name), Err(ProfileNameError), "{name}");
        }
    }

    #[test]
    fn versions_are_read_as_far_as_the_minor() {
        assert_eq!(minor_of("v1.36.2+k0s.0"), Some((1, 36)));
        assert_eq!(minor_of("v1.37"), Some((1, 37)));
        assert_eq!(minor_of("1.36"), None);
        assert_eq!(minor_of("v1"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn any_answer_is_taken(body in ".{0,80}", key in "(kubeletConfiguration|konnectivity|nodeLocalLoadBalancing)", status in 200_u16..500) {
            let (mut machine, _) = search(ProfileWish::default());
            let event = response(status, &json!({"data": {key: body}}));
            prop_assert!(!machine.on(event, Timestamp::UNIX_EPOCH).is_empty());
        }

        #[test]
        fn any_version_is_read(version in ".{0,20}") {
            let _ = minor_of(&version);
        }
    }
}
