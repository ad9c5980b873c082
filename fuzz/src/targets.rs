//! What is fuzzed: one function per parser of foreign bytes. A function returns whatever the bytes are; it panics only
//! when the parser does, or when something does not hold that must hold for all bytes.
//!
//! The fuzzer calls these through `fuzz_targets/`, and an ordinary test of `muster-proving` runs every corpus file
//! through them. Refuses to know: who calls.

use http::Method;
use muster_apiserver::RequestInfo;
use muster_identity::{
    BootstrapToken, CaPin, Certificate, CertificateBundle, Csr, Endpoint, GoDuration, K0sToken,
    K3sToken, Kubeconfig, PrivateKey, TokenKind, jws,
};
use muster_machinery::{
    apply::{FieldManager, Typing},
    patch, protobuf,
    quantity::Quantity,
    selector::{FieldSelector, LabelSelector},
};
use muster_rollout::{FleetConfiguration, Inventory, fleet_file::Ambient};
use muster_ssh::known_hosts::{KnownHosts, Verdict, search_name};
use serde_json::Value;

/// A target.
pub type Target = fn(&[u8]);

/// All targets by name; a corpus has the name of its target.
pub const TARGETS: [(&str, Target); 18] = [
    ("request", request),
    ("label_selector", label_selector),
    ("field_selector", field_selector),
    ("json_patch", json_patch),
    ("merge_patch", merge_patch),
    ("strategic_patch", strategic_patch),
    ("apply", apply),
    ("protobuf", protobuf_body),
    ("yaml", yaml),
    ("kubeconfig", kubeconfig),
    ("credentials", credentials),
    ("detached_jws", detached_jws),
    ("certificates", certificates),
    ("k0s_token", k0s_token),
    ("k3s_token", k3s_token),
    ("fleet_file", fleet_file),
    ("inventory", inventory),
    ("known_hosts", known_hosts),
];

/// A method's letter, a path and a query.
pub fn request(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    let method = match first % 6 {
        0 => Method::GET,
        1 => Method::POST,
        2 => Method::PUT,
        3 => Method::PATCH,
        4 => Method::DELETE,
        _ => Method::HEAD,
    };
    let Ok(text) = std::str::from_utf8(rest) else {
        return;
    };
    let (path, query) = match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    };
    let info = RequestInfo::parse(&method, path, query);
    assert_eq!(info.path, path, "the path is as it was asked for");
}

/// What is parsed can be written, and reads the same then.
pub fn label_selector(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(selector) = LabelSelector::parse(text) else {
        return;
    };
    let written = selector.to_string();
    let again = LabelSelector::parse(&written).expect("what is written can be read");
    assert_eq!(again.to_string(), written);
    let labels = serde_json::json!({"a": "b", "app": "web", "n": "5"});
    assert_eq!(
        selector.matches_labels(labels.as_object()),
        again.matches_labels(labels.as_object())
    );
}

/// What is parsed can be written, and reads the same then.
pub fn field_selector(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(selector) = FieldSelector::parse(text) else {
        return;
    };
    let written = selector.to_string();
    let again = FieldSelector::parse(&written).expect("what is written can be read");
    assert_eq!(again.to_string(), written);
    let pod = serde_json::json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n"}});
    let _ = selector.check("", "Pod");
    let _ = selector.matches("", "Pod", &pod);
}

/// A document and a patch, with a NUL in between.
pub fn json_patch(bytes: &[u8]) {
    let Some((object, patch)) = halves(bytes) else {
        return;
    };
    if let Ok(object) = serde_json::from_slice(object) {
        let _ = patch::json::apply(object, patch);
    }
}

/// A document and a patch, with a NUL in between. Patching again changes nothing.
pub fn merge_patch(bytes: &[u8]) {
    let Some((object, patch)) = two_values(bytes) else {
        return;
    };
    if let Ok(once) = patch::merge::apply(object, &patch) {
        let twice = patch::merge::apply(once.clone(), &patch).expect("it could be patched before");
        assert_eq!(once, twice);
    }
}

/// An object that says its kind and a patch, with a NUL in between.
pub fn strategic_patch(bytes: &[u8]) {
    if let Some((object, patch)) = two_values(bytes) {
        let _ = patch::strategic::apply(object, patch);
    }
}

/// A stored object (or `null`) and a configuration, with a NUL in between. What was applied can be applied again, and
/// what was written can be tracked.
pub fn apply(bytes: &[u8]) {
    let Some((live, config)) = two_values(bytes) else {
        return;
    };
    let text = |key: &str| config[key].as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    // A request's kind comes from its path, and is never empty.
    if api_version.is_empty() || kind.is_empty() {
        return;
    }
    let manager = FieldManager {
        typing: Typing::BuiltIn,
        api_version: &api_version,
        kind: &kind,
        manager: "fuzzer",
        subresource: "",
        ignored: None,
        now: jiff::Timestamp::UNIX_EPOCH,
    };
    let live = live.is_object().then_some(&live);
    if let Ok(applied) = manager.apply(live, &config, true) {
        manager
            .apply(Some(&applied), &config, false)
            .expect("who owns a field may apply it again");
        let mut changed = config.clone();
        manager.track(Some(&applied), &mut changed);
    }
}

/// What is decoded can be encoded, and decodes to the same then.
pub fn protobuf_body(bytes: &[u8]) {
    let _ = protobuf::decode_watch_event(bytes);
    let Ok(object) = protobuf::decode(bytes) else {
        return;
    };
    let Ok(encoded) = protobuf::encode(&object) else {
        return;
    };
    let again = protobuf::decode(&encoded).expect("what is encoded can be decoded");
    let once_more = protobuf::encode(&again).expect("it could be encoded before");
    assert_eq!(once_more, encoded);
}

/// A YAML body, as the API server reads one.
pub fn yaml(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let options = serde_saphyr::options! {
        legacy_octal_numbers: true,
    };
    if let Ok(value) = serde_saphyr::from_str_with_options::<Value>(text, options) {
        let _ = serde_saphyr::to_string(&value);
    }
}

/// What is parsed can be written, and reads the same then.
pub fn kubeconfig(bytes: &[u8]) {
    if let Ok(config) = Kubeconfig::parse(bytes) {
        let written = config.to_yaml();
        let again = Kubeconfig::parse(written.expose().as_bytes());
        let again = again.expect("what is written can be read");
        assert_eq!(again.current_context(), config.current_context());
        assert!(again.contexts().eq(config.contexts()));
    }
}

/// Everything short that a person types: tokens, pins, endpoints, durations, quantities.
pub fn credentials(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let _ = BootstrapToken::parse(text);
    let _ = GoDuration::parse(text);
    let _ = Quantity::parse(text);
    if let Ok(pin) = CaPin::parse(text) {
        assert_eq!(CaPin::parse(&pin.to_string()).as_ref(), Ok(&pin));
    }
    if let Ok(endpoint) = Endpoint::parse(text) {
        let again = Endpoint::parse(&endpoint.url()).expect("what is written can be read");
        assert_eq!(again, endpoint);
    }
}

/// A detached JWS and its payload, with a NUL in between. Nothing that was not signed with the token is valid.
pub fn detached_jws(bytes: &[u8]) {
    let token = BootstrapToken::parse("abcdef.0123456789abcdef").expect("a valid token");
    let (jws, payload) = halves(bytes).unwrap_or((bytes, b"payload"));
    let Ok(jws) = std::str::from_utf8(jws) else {
        return;
    };
    let signed = jws::sign_detached(payload, &token);
    assert!(jws::verify_detached(&signed, payload, &token).is_ok());
    if jws::verify_detached(jws, payload, &token).is_ok() {
        assert!(jws::verify_detached(jws, b"another payload entirely", &token).is_err());
    }
}

/// Requests, certificates, bundles and keys, as PEM and DER.
pub fn certificates(bytes: &[u8]) {
    if let Ok(request) = Csr::from_pem(bytes).or_else(|_| Csr::from_der(bytes)) {
        let again = Csr::from_pem(request.to_pem().as_bytes());
        assert_eq!(
            again.expect("what is written can be read").der(),
            request.der()
        );
    }
    if let Ok(certificate) = Certificate::from_pem(bytes).or_else(|_| Certificate::from_der(bytes))
    {
        let _ = certificate.public_key();
        let again = Certificate::from_pem(certificate.to_pem().as_bytes());
        assert_eq!(
            again.expect("what is written can be read").der(),
            certificate.der()
        );
    }
    let _ = CertificateBundle::from_pem(bytes);
    let _ = PrivateKey::from_pem(bytes);
    let _ = PrivateKey::from_pkcs8_der(bytes);
}

/// A join token of k0s, packed and as the kubeconfig inside it. What is read can be written, and reads the same then.
pub fn k0s_token(bytes: &[u8]) {
    let _ = TokenKind::of(bytes);
    for token in [K0sToken::decode(bytes), K0sToken::from_kubeconfig(bytes)]
        .into_iter()
        .flatten()
    {
        let again = K0sToken::decode(token.encode().expose().as_bytes());
        assert_eq!(again.expect("what is written can be read"), token);
    }
}

/// A token of K3s. What is read can be written, and reads the same then.
pub fn k3s_token(bytes: &[u8]) {
    if let Ok(token) = K3sToken::parse(bytes) {
        let again = K3sToken::parse(token.to_text().expose().as_bytes());
        assert_eq!(again.expect("what is written can be read"), token);
    }
}

fn halves(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == 0)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

fn two_values(bytes: &[u8]) -> Option<(Value, Value)> {
    let (first, second) = halves(bytes)?;
    Some((
        serde_json::from_slice(first).ok()?,
        serde_json::from_slice(second).ok()?,
    ))
}

/// What reads becomes a fleet or is refused with a place and a cure.
pub fn fleet_file(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        resolved(FleetConfiguration::parse(text));
    }
}

/// The same for inventories of other tools, of all kinds.
pub fn inventory(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let inventory = Inventory::parse(text);
        resolved(inventory.map(|read| FleetConfiguration::default().with_inventory(read)));
    }
}

fn resolved(read: Result<FleetConfiguration, muster_rollout::FileError>) {
    let ambient = Ambient {
        name: "fleet",
        directory: "/etc",
    };
    match read.and_then(|configuration| configuration.resolve(&ambient)) {
        Ok(fleet) => {
            assert!(!fleet.hosts.is_empty());
            assert_eq!(
                fleet
                    .policy
                    .waves
                    .iter()
                    .map(|size| *size as usize)
                    .sum::<usize>(),
                fleet.hosts.len()
            );
        }
        Err(error) => assert!(error.faults().iter().all(|fault| !fault.cure.is_empty())),
    }
}

/// A name in the first line, a known_hosts file in the others. A revocation beats everything, whatever else is there.
pub fn known_hosts(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (name, file) = text.split_once('\n').unwrap_or((&text, ""));
    let name = search_name(name, 22);
    let mut known = KnownHosts::default();
    known.read(std::path::Path::new("/known_hosts"), file);
    known.read_revoked(std::path::Path::new("/revoked"), file);
    for key in [bytes, b"\0\0\0\x0bssh-ed25519"] {
        let verdict = known.judge(&name, key);
        let revoked = known.revocation(&name, key).is_some();
        assert_eq!(matches!(verdict, Verdict::Revoked(_)), revoked);
        assert!(!known.is_authority(&name, key) || known.has_authority(&name));
    }
    let _ = known.algorithms(&name);
}
