//! The small words of a fleet file: amounts, spans, caps, taints, labels, where a secret comes from.
//!
//! Each is read once, here, and says how it is written. It refuses to know the blocks they stand in.

use super::host::{ForeignMethod, JumpHost, KubeadmMethod, MusterMethod};
use super::host::{HostMethod, Kubelet, Role, Runtime, SecretSource, Sudo, Taint, TaintEffect};
use super::run::{CertificateKey, Until};
use crate::document::{listed, nearest, with_cure};
use muster_identity::GoDuration;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Unexpected, Visitor};
use std::fmt;
use std::time::Duration;

/// A number of hosts, or a share of all: `5`, `80%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So many; at least 1.
    Count(u32),
    /// So many of a hundred; 1 to 100.
    Percent(u32),
}

impl Amount {
    /// So many of `all`: shares are rounded up, and never more than all.
    pub fn of(self, all: u32) -> u32 {
        match self {
            Self::Count(count) => count.min(all),
            Self::Percent(percent) => {
                let share = (u64::from(all) * u64::from(percent)).div_ceil(100);
                u32::try_from(share).unwrap_or(all).clamp(1, all.max(1))
            }
        }
    }

    fn percent(text: &str) -> Option<Self> {
        let number: u32 = text.strip_suffix('%')?.trim().parse().ok()?;
        (1..=100).contains(&number).then_some(Self::Percent(number))
    }
}

/// How many at once: `3`, `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cap {
    /// So many; at least 1.
    Count(u32),
    /// As many as the cluster takes.
    Auto,
}

/// A whole number of at least 1, or a word.
struct CountOr<T> {
    expected: &'static str,
    count: fn(u32) -> T,
    word: fn(&str) -> Option<T>,
}

impl<T> CountOr<T> {
    fn number<E: Error>(&self, number: i128) -> Result<T, E> {
        match u32::try_from(number) {
            Ok(count) if count > 0 => Ok((self.count)(count)),
            _ => Err(E::custom(with_cure(
                format_args!("{number} is not between 1 and {}", u32::MAX),
                format_args!("write {}", self.expected),
            ))),
        }
    }
}

impl<'de, T> Visitor<'de> for CountOr<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        self.number(number.into())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        self.number(number.into())
    }

    fn visit_i128<E: Error>(self, number: i128) -> Result<T, E> {
        self.number(number)
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<T, E> {
        (self.word)(word).ok_or_else(|| E::invalid_value(Unexpected::Str(word), &self))
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CountOr {
            expected: "a number of hosts from 1, or a share from 1% to 100%",
            count: Self::Count,
            word: Self::percent,
        })
    }
}

impl<'de> Deserialize<'de> for Cap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CountOr {
            expected: "a number from 1, or auto",
            count: Self::Count,
            word: |word| (word == "auto").then_some(Self::Auto),
        })
    }
}

/// A number of at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Positive(pub u32);

impl<'de> Deserialize<'de> for Positive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CountOr {
            expected: "a number from 1",
            count: Self,
            word: |_| None,
        })
    }
}

/// A span of time: `30s`, `1h30m`; not negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Words {
            expected: "a span such as 30s, 5m or 1h30m",
            read: |text| {
                let nanos = GoDuration::parse(text).ok()?.as_nanos();
                u64::try_from(nanos)
                    .ok()
                    .map(|nanos| Self(Duration::from_nanos(nanos)))
            },
        })
    }
}

/// A value that is one text, read by a function. What is wrong is not repeated: the list of expectations is the cure.
struct Words<T> {
    expected: &'static str,
    read: fn(&str) -> Option<T>,
}

impl<'de, T> Visitor<'de> for Words<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.read)(text).ok_or_else(|| {
            let shown: String = text.chars().take(64).collect();
            E::custom(with_cure(
                format_args!("{shown:?} will not do"),
                format_args!("write {}", self.expected),
            ))
        })
    }
}

impl Taint {
    /// Reads `key=value:Effect`, `key:Effect` or `key=:Effect`, as kubectl does.
    pub fn parse(text: &str) -> Option<Self> {
        let (rest, effect) = text.rsplit_once(':')?;
        let effect = match effect {
            "NoSchedule" => TaintEffect::NoSchedule,
            "PreferNoSchedule" => TaintEffect::PreferNoSchedule,
            "NoExecute" => TaintEffect::NoExecute,
            _ => return None,
        };
        let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
        (is_label_key(key) && is_label_value(value)).then(|| Self {
            key: key.to_owned(),
            value: value.to_owned(),
            effect,
        })
    }
}

impl<'de> Deserialize<'de> for Taint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Words {
            expected: "key=value:NoSchedule, key=value:PreferNoSchedule or key=value:NoExecute",
            read: Self::parse,
        })
    }
}

/// Whether a text is a label key: a name, before it maybe a DNS prefix and `/` (Kubernetes' `IsQualifiedName`).
pub(crate) fn is_label_key(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    let prefix_fits = prefix.is_none_or(|prefix| {
        prefix.len() <= 253
            && muster_identity::NodeName::parse(prefix).is_ok_and(|name| name.as_str() == prefix)
    });
    prefix_fits && !name.is_empty() && is_label_value(name)
}

/// Whether a text is a label value (Kubernetes' `IsValidLabelValue`).
pub(crate) fn is_label_value(text: &str) -> bool {
    let ends = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && ends(bytes.first())
        && ends(bytes.last())
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// One of a few words.
fn choice<'de, D: Deserializer<'de>, T: Copy + 'static>(
    deserializer: D,
    choices: &'static [(&'static str, T)],
) -> Result<T, D::Error> {
    deserializer.deserialize_any(Choice(choices))
}

struct Choice<T: 'static>(&'static [(&'static str, T)]);

impl<'de, T: Copy> Visitor<'de> for Choice<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().join(" or "))
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<T, E> {
        let found = self.0.iter().find(|(known, _)| *known == word);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let shown: String = word.chars().take(64).collect();
            let words = self.words();
            let cure = match nearest(word, &words) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("write one of {}", listed(&words)),
            };
            E::custom(with_cure(format_args!("there is no choice {shown}"), cure))
        })
    }
}

impl<T> Choice<T> {
    fn words(&self) -> Vec<&'static str> {
        self.0.iter().map(|(word, _)| *word).collect()
    }
}

/// A field whose value is one of a few words.
macro_rules! choices {
    ($($kind:ty: $($word:literal => $value:expr),+;)+) => {$(
        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                choice(deserializer, &[$(($word, $value)),+])
            }
        }
    )+};
}

/// Which of a run's hosts stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// All or none.
    AllOrNothing,
    /// Those that succeeded.
    KeepSuccesses,
    /// Those that succeeded, if they are enough.
    KeepAtLeast,
}

/// What joins a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodName {
    /// Our own binary.
    Muster,
    /// kubeadm.
    Kubeadm,
    /// k3s.
    K3s,
    /// k0s.
    K0s,
}

impl MethodName {
    /// The method with nothing said about it.
    pub(super) fn plain(self) -> HostMethod {
        match self {
            Self::Muster => HostMethod::Muster(MusterMethod::default()),
            Self::Kubeadm => HostMethod::Kubeadm(KubeadmMethod::default()),
            Self::K3s => HostMethod::K3s(ForeignMethod::default()),
            Self::K0s => HostMethod::K0s(ForeignMethod::default()),
        }
    }
}

choices! {
    OnFailure: "allOrNothing" => Self::AllOrNothing, "keepSuccesses" => Self::KeepSuccesses,
        "keepAtLeast" => Self::KeepAtLeast;
    MethodName: "muster" => Self::Muster, "kubeadm" => Self::Kubeadm, "k3s" => Self::K3s, "k0s" => Self::K0s;
    Role: "worker" => Self::Worker, "control-plane" => Self::ControlPlane;
    Kubelet: "auto" => Self::Auto, "system" => Self::System, "builtin" => Self::Builtin;
    Runtime: "cri" => Self::Cri, "hollow" => Self::Hollow;
    Until: "Registered" => Self::Registered, "Ready" => Self::Ready;
}

/// `prompt`, `{env: NAME}` or `{file: PATH}`. A text is never repeated: it could be the secret.
struct SecretVisitor;

const SECRET: &str = "prompt, {env: NAME} or {file: PATH}";

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = SecretSource;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SECRET)
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<SecretSource, E> {
        match word {
            "prompt" => Ok(SecretSource::Prompt),
            _ => Err(E::custom(with_cure(
                "a secret does not stand in this file",
                format_args!("write {SECRET}, and change the secret if others read the file"),
            ))),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<SecretSource, A::Error> {
        let Some(key) = fields.next_key::<String>()? else {
            return Err(A::Error::custom(with_cure(
                "nothing says where the secret comes from",
                format_args!("write {SECRET}"),
            )));
        };
        let source = match key.as_str() {
            "env" => SecretSource::Env(fields.next_value()?),
            "file" => SecretSource::File(fields.next_value()?),
            other => return Err(A::Error::unknown_field(other, &["env", "file"])),
        };
        match fields.next_key::<String>()? {
            None => Ok(source),
            Some(_) => Err(A::Error::custom(with_cure(
                "a secret comes from one place",
                format_args!("write {SECRET}"),
            ))),
        }
    }
}

impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

impl<'de> Deserialize<'de> for Sudo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SudoVisitor)
    }
}

struct SudoVisitor;

impl<'de> Visitor<'de> for SudoVisitor {
    type Value = Sudo;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("auto, none, passwordless, or {password: prompt}")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Sudo, E> {
        match word {
            "auto" => Ok(Sudo::Auto),
            "none" => Ok(Sudo::Never),
            "passwordless" => Ok(Sudo::Passwordless),
            // Not repeated: somebody may have written the password.
            _ => Err(E::invalid_value(Unexpected::Str(""), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Sudo, A::Error> {
        match fields.next_key::<String>()?.as_deref() {
            Some("password") => {}
            Some(other) => return Err(A::Error::unknown_field(other, &["password"])),
            None => return Err(A::Error::missing_field("password")),
        }
        let source = fields.next_value()?;
        match fields.next_key::<String>()? {
            None => Ok(Sudo::Password(source)),
            Some(other) => Err(A::Error::unknown_field(&other, &["password"])),
        }
    }
}

impl<'de> Deserialize<'de> for CertificateKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CertificateKeyVisitor)
    }
}

struct CertificateKeyVisitor;

impl<'de> Visitor<'de> for CertificateKeyVisitor {
    type Value = CertificateKey;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("upload, prompt, {env: NAME} or {file: PATH}")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<CertificateKey, E> {
        match word {
            "upload" => Ok(CertificateKey::Upload),
            other => SecretVisitor.visit_str(other).map(CertificateKey::Known),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<CertificateKey, A::Error> {
        SecretVisitor.visit_map(fields).map(CertificateKey::Known)
    }
}

impl JumpHost {
    /// Reads `[USER@]ADDRESS[:PORT]`, IPv6 with a port in brackets, as `ssh -J` does.
    pub fn parse(text: &str) -> Option<Self> {
        let (user, rest) = match text.rsplit_once('@') {
            Some((user, rest)) if !user.is_empty() => (Some(user.to_owned()), rest),
            Some(_) => return None,
            None => (None, text),
        };
        let (address, port) = split_port(rest)?;
        let fits = !address.is_empty()
            && !address.starts_with('-')
            && !address.contains(|c: char| c.is_whitespace() || c.is_control() || c == ',');
        fits.then(|| Self {
            address: address.to_owned(),
            user,
            port,
            identity_files: Vec::new(),
        })
    }
}

/// An address and maybe a port; several colons without brackets are IPv6 without a port.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    if let Some(inner) = text.strip_prefix('[') {
        let (address, after) = inner.split_once(']')?;
        return match after.strip_prefix(':') {
            Some(digits) => Some((address, Some(port(digits)?))),
            None => after.is_empty().then_some((address, None)),
        };
    }
    match text.split_once(':') {
        Some((address, digits)) if !digits.contains(':') => Some((address, Some(port(digits)?))),
        _ => Some((text, None)),
    }
}
