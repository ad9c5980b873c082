//! Bodies as kubelets and kube-apiserver send them, made-up objects of every kind, and hostile bytes.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::schema::{Field, Form, Kind, KindName, Message, Shape, table};

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../../fixtures/", $name)).as_slice()
    };
}

fn parse(json: &[u8]) -> Value {
    serde_json::from_slice(json).expect("fixture is JSON")
}

#[rstest::rstest]
#[case::csr(fixture!("csr.pb"), fixture!("csr.json"))]
#[case::event(fixture!("event.pb"), fixture!("event.json"))]
#[case::node(fixture!("node.pb"), fixture!("node.json"))]
#[case::csinode(fixture!("csinode.pb"), fixture!("csinode.json"))]
#[case::token_request(fixture!("token-request.pb"), fixture!("token-request.json"))]
#[case::lease(fixture!("lease.pb"), fixture!("lease.json"))]
#[case::lease_renewal(fixture!("lease-renewal.pb"), fixture!("lease-renewal.json"))]
fn a_kubelet_body_decodes_to_the_json_of_the_audit_log(#[case] body: &[u8], #[case] json: &[u8]) {
    let decoded = decode(body).expect("decodes");
    assert_eq!(decoded, parse(json));
    assert_eq!(
        decode(&encode(&decoded).expect("encodes")).expect("decodes again"),
        decoded
    );
}

#[rstest::rstest]
#[case::pods(fixture!("pod-list.pb"), "PodList", 1)]
#[case::services(fixture!("service-list.pb"), "ServiceList", 1)]
#[case::csidrivers(fixture!("empty-list.pb"), "CSIDriverList", 0)]
fn a_served_list_survives_the_round_trip(
    #[case] body: &[u8],
    #[case] kind: &str,
    #[case] items: usize,
) {
    let list = decode(body).expect("decodes");
    assert_eq!(list["kind"], kind);
    assert_eq!(list["items"].as_array().expect("items").len(), items);
    assert_eq!(
        decode(&encode(&list).expect("encodes")).expect("decodes again"),
        list
    );
}

#[test]
fn a_served_pod_reads_as_kubectl_shows_it() {
    let list = decode(fixture!("pod-list.pb")).expect("decodes");
    let pod = &list["items"][0];
    assert_eq!(
        pod["metadata"]["creationTimestamp"].as_str().map(str::len),
        Some(20)
    );
    assert_eq!(pod["metadata"]["ownerReferences"][0]["controller"], true);
    assert!(pod["metadata"]["managedFields"][0]["fieldsV1"]["f:metadata"].is_object());
    assert_eq!(
        pod["spec"]["volumes"][1]["hostPath"]["type"], "FileOrCreate",
        "inlined volume sources are flattened"
    );
    assert_eq!(pod["spec"]["hostNetwork"], true);
    assert_eq!(
        pod["status"]["containerStatuses"][0]["restartCount"], 0,
        "not omitted: upstream always prints it"
    );
    assert!(pod["spec"].get("activeDeadlineSeconds").is_none());
}

#[test]
fn delete_options_of_a_group_and_a_status_decode() {
    let options = decode(fixture!("delete-options.pb")).expect("decodes");
    assert_eq!(
        options,
        json!({"apiVersion": "resource.k8s.io/v1", "kind": "DeleteOptions"})
    );
    let status = decode(fixture!("status.pb")).expect("decodes");
    assert_eq!(
        status,
        json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "reason": "NotFound",
            "message": "nodes \"nosuch\" not found", "details": {"name": "nosuch", "kind": "nodes"}, "code": 404})
    );
}

#[test]
fn watch_frames_decode_to_the_same_events_as_json() {
    let mut stream = fixture!("node-watch.bin");
    let lines = fixture!("node-watch.jsonl")
        .split(|b| *b == b'\n')
        .filter(|line| !line.is_empty());
    for (line, index) in lines.zip(0..) {
        let (length, rest) = stream.split_at(4);
        let length = u32::from_be_bytes(length.try_into().expect("4 bytes")) as usize;
        let (kind, object) = decode_watch_event(&rest[..length]).expect("decodes");
        stream = &rest[length..];
        let mut expected = parse(line);
        assert_eq!(kind, expected["type"]);
        if index == 0 {
            assert_eq!(object, expected["object"].take());
        } else {
            assert_eq!(
                object["metadata"]["annotations"],
                expected["object"]["metadata"]["annotations"].take()
            );
        }
    }
}

#[test]
fn a_watch_event_carries_its_object() {
    let lease = decode(fixture!("lease.pb")).expect("decodes");
    let frame = encode_watch_event("MODIFIED", &encode(&lease).expect("encodes"));
    assert_eq!(
        decode_watch_event(&frame).expect("decodes"),
        ("MODIFIED".to_owned(), lease)
    );
    let custom = json!({"apiVersion": "example.com/v1", "kind": "Lamp", "spec": {"lit": true}});
    let frame = encode_watch_event("ADDED", custom.to_string().as_bytes());
    assert_eq!(
        decode_watch_event(&frame).expect("decodes"),
        ("ADDED".to_owned(), custom)
    );
}

#[test]
fn an_envelope_without_a_kind_takes_the_one_of_the_request() {
    let spec = encode_message(
        "k8s.io.api.coordination.v1.Lease",
        &json!({"spec": {"holderIdentity": "a"}}),
    )
    .expect("ok");
    let mut body = MAGIC.to_vec();
    body.push(0x12);
    body.push(spec.len() as u8);
    body.extend(spec);
    assert!(matches!(
        decode(&body),
        Err(DecodeError::UnknownKind { .. })
    ));
    let lease = decode_with_default(&body, "coordination.k8s.io/v1", "Lease").expect("decodes");
    assert_eq!(lease["spec"]["holderIdentity"], "a");
    assert_eq!(lease["kind"], "Lease");
}

#[test]
fn zero_is_told_from_unset_where_the_type_has_a_pointer() {
    let scaled = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {},
        "spec": {"replicas": 0, "selector": {}}});
    assert_eq!(
        decode(&encode(&scaled).expect("encodes")).expect("decodes"),
        scaled
    );
    let plain =
        json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "spec": {"minReadySeconds": 0}});
    let decoded = decode(&encode(&plain).expect("encodes")).expect("decodes");
    assert_eq!(decoded["spec"], json!({"selector": null}));
}

#[rstest::rstest]
#[case("2026-11-21T05:50:05Z", "2026-11-21T05:50:05Z")]
#[case("2026-11-21T06:50:05.9+01:00", "2026-11-21T05:50:05Z")]
#[case("1969-12-31T23:59:58.5Z", "1969-12-31T23:59:58Z")]
fn times_keep_whole_seconds_in_utc(#[case] given: &str, #[case] expected: &str) {
    let meta = "k8s.io.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    let bytes = encode_message(meta, &json!({"creationTimestamp": given})).expect("encodes");
    assert_eq!(
        decode_message(meta, &bytes).expect("decodes"),
        json!({"creationTimestamp": expected})
    );
}

#[test]
fn micro_times_keep_six_digits_and_null_stays_where_go_prints_it() {
    let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {},
        "eventTime": "2026-11-21T05:50:05.123456789Z"});
    let decoded = decode(&encode(&event).expect("encodes")).expect("decodes");
    assert_eq!(decoded["eventTime"], "2026-11-21T05:50:05.123456Z");
    let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {}, "eventTime": null});
    assert_eq!(
        decode(&encode(&event).expect("encodes")).expect("decodes"),
        event
    );
}

#[test]
fn numbers_and_strings_keep_their_sort() {
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {}, "spec": {"ports": [
        {"port": 80, "targetPort": 8080}, {"port": 81, "targetPort": "http"}]}});
    assert_eq!(
        decode(&encode(&service).expect("encodes")).expect("decodes"),
        service
    );
    let node = json!({"apiVersion": "v1", "kind": "Node", "status": {"capacity": {"cpu": 2, "memory": "1Gi"}}});
    let decoded = decode(&encode(&node).expect("encodes")).expect("decodes");
    assert_eq!(
        decoded["status"]["capacity"],
        json!({"cpu": "2", "memory": "1Gi"})
    );
}

#[test]
fn a_crd_keeps_the_odd_forms_of_its_schema() {
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "lamps.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "lamps", "kind": "Lamp"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "$ref": "#/x", "x-kubernetes-preserve-unknown-fields": true,
                "default": {"a": [1, null]}, "enum": ["a", 1, null], "maximum": 1.5, "minLength": 0,
                "additionalProperties": false,
                "properties": {"a": {"items": {"type": "string"}}, "b": {"items": [{"type": "string"}]},
                    "c": {"additionalProperties": {"type": "integer"}}},
                "dependencies": {"a": ["b"], "b": {"type": "object"}}}}}]}});
    assert_eq!(
        decode(&encode(&crd).expect("encodes")).expect("decodes"),
        crd
    );
}

#[test]
fn secrets_and_certificates_are_base64() {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {}, "data": {"a": "AAEC", "empty": ""}});
    assert_eq!(
        decode(&encode(&secret).expect("encodes")).expect("decodes"),
        secret
    );
}

#[rstest::rstest]
#[case(json!({"spec": {"containers": [{"name": 1}]}}), ".spec.containers[0].name", "a string")]
#[case(json!({"metadata": {"labels": {"a": 1}}}), ".metadata.labels[\"a\"]", "a string")]
#[case(json!({"metadata": []}), ".metadata", "an object")]
#[case(json!({"spec": {"priority": 3_000_000_000_u32}}), ".spec.priority", "a 32-bit number")]
#[case(json!({"metadata": {"creationTimestamp": "today"}}), ".metadata.creationTimestamp", "a time as in RFC 3339")]
fn a_wrong_type_is_refused_with_its_path(
    #[case] pod: Value,
    #[case] path: &str,
    #[case] expected: &'static str,
) {
    let refused = encode_message("k8s.io.api.core.v1.Pod", &pod).expect_err("refused");
    assert_eq!(
        refused,
        EncodeError::Mismatch {
            path: path.to_owned(),
            expected
        }
    );
}

#[test]
fn limits_hold() {
    let mut large = MAGIC.to_vec();
    large.resize(MAX_BYTES + 1, 0);
    assert!(matches!(decode(&large), Err(DecodeError::TooLarge { .. })));
    assert!(matches!(decode(b"{}"), Err(DecodeError::NoMagic)));
    let schema = "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
    let mut deep = Vec::new();
    for _ in 0..MAX_DEPTH {
        let mut outer = Vec::new();
        super::wire::put_bytes(&mut outer, 28, &deep); // `not`, a schema in a schema
        deep = outer;
    }
    let not = table()
        .message(schema)
        .and_then(|m| table().field(m, "not"))
        .expect("not");
    assert_eq!(not.number(), 28);
    assert!(matches!(
        decode_message(schema, &deep),
        Err(DecodeError::TooDeep)
    ));
    let many = [0x0a, 0x00].repeat(MAX_VALUES + 1);
    let named = decode_message("k8s.io.apimachinery.pkg.apis.meta.v1.ObjectMeta", &many);
    assert!(matches!(named, Err(DecodeError::TooMany)));
}

/// Draws an object of a message from a tape of choices; the same tape gives the same object.
struct Draw<'a> {
    tape: std::slice::Iter<'a, u8>,
}

impl Draw<'_> {
    fn byte(&mut self) -> u8 {
        self.tape.next().copied().unwrap_or(0)
    }

    fn coin(&mut self) -> bool {
        self.byte() & 1 == 0
    }

    fn word(&mut self) -> String {
        (0..=self.byte() % 4)
            .map(|_| char::from(b'a' + self.byte() % 26))
            .collect()
    }

    fn time(&mut self, fraction: &str) -> Value {
        json!(format!(
            "20{:02}-01-02T03:04:05{fraction}Z",
            self.byte() % 100
        ))
    }

    fn message(&mut self, message: &Message, depth: usize) -> Value {
        let of = |name: &str| {
            message
                .fields()
                .iter()
                .find(|f| f.name() == name)
                .expect("field")
        };
        match message.form() {
            Form::Object => {
                let mut members = Map::new();
                self.members(message, depth, &mut members);
                for field in table()
                    .json_fields(message)
                    .filter(|f| f.is_always_printed_nil())
                {
                    let of_list = field.name() == "items" && message.short_name().ends_with("List");
                    let empty = if of_list { json!([]) } else { Value::Null };
                    members.entry(field.name()).or_insert(empty);
                }
                Value::Object(members)
            }
            Form::Time => self.time(""),
            Form::MicroTime => self.time(".012345"),
            Form::Quantity => json!(format!("{}m", self.byte())),
            Form::IntOrString if self.coin() => json!(i32::from(self.byte()) - 128),
            Form::IntOrString => json!(self.word()),
            Form::Raw => json!({self.word(): [null, self.byte(), {}]}),
            Form::Items => json!([self.word(), self.word()]),
            Form::SchemaOrBool if self.coin() || depth > 5 => json!(self.coin()),
            Form::SchemaOrArray if self.coin() => {
                json!([self.value(of("jSONSchemas"), depth)])
            }
            Form::SchemaOrStrings if self.coin() => json!([self.word()]),
            Form::SchemaOrBool | Form::SchemaOrArray | Form::SchemaOrStrings => {
                self.value(of("schema"), depth)
            }
        }
    }

    fn members(&mut self, message: &Message, depth: usize, members: &mut Map<String, Value>) {
        for field in message.fields() {
            if let (true, Kind::Message(id)) = (field.is_inline(), field.kind()) {
                self.members(table().get(id), depth + 1, members);
            } else if self.byte() % 4 == 1
                && (depth < 6 || !matches!(field.kind(), Kind::Message(_)))
                && let Some(value) = self.shaped(field, depth)
            {
                members.insert(field.name().to_owned(), value);
            }
        }
    }

    fn shaped(&mut self, field: &Field, depth: usize) -> Option<Value> {
        let value = self.value(field, depth + 1);
        let plain = field.omits_empty() && !field.is_pointer();
        Some(match field.shape() {
            Shape::List => json!([value, self.value(field, depth + 1)]),
            Shape::Map => json!({self.word(): value, "other": self.value(field, depth + 1)}),
            Shape::One
                if plain && (value == json!(0) || value == json!(false) || value == json!("")) =>
            {
                return None;
            }
            Shape::One if plain && value == json!({}) => return None,
            Shape::One => value,
        })
    }

    fn value(&mut self, field: &Field, depth: usize) -> Value {
        match field.kind() {
            Kind::String => json!(self.word()),
            Kind::Bytes => json!(["", "AA==", "/+8="][usize::from(self.byte() % 3)]),
            Kind::Bool => json!(self.coin()),
            Kind::Int32 => json!((i32::from(self.byte()) - 100) * 10_000_019),
            Kind::Int64 => json!((i64::from(self.byte()) - 100) * 50_000_000_000_000_019),
            Kind::Double => json!(f64::from(self.byte()) / 8.0 - 4.5),
            Kind::Message(id) => self.message(table().get(id), depth),
        }
    }
}

fn any_kind() -> impl Strategy<Value = KindName> {
    let kinds: Vec<KindName> = table().kinds().map(|(kind, _)| kind).collect();
    proptest::sample::select(kinds)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn objects_of_every_kind_come_back_as_they_were(kind in any_kind(), tape in prop::collection::vec(any::<u8>(), 0..2000)) {
        let message = table().by_kind(kind.group, kind.version, kind.kind).expect("kind");
        let mut object = Draw { tape: tape.iter() }.message(message, 0);
        let slash = if kind.group.is_empty() { "" } else { "/" };
        object["apiVersion"] = format!("{}{slash}{}", kind.group, kind.version).into();
        object["kind"] = kind.kind.into();
        let body = encode(&object).expect("encodes");
        prop_assert_eq!(decode(&body).expect("decodes"), object);
    }

    #[test]
    fn no_bytes_panic(kind in any_kind(), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let message = table().by_kind(kind.group, kind.version, kind.kind).expect("kind");
        let _ = decode_message(message.name(), &bytes);
        let _ = decode(&[MAGIC.as_slice(), &bytes].concat());
        let _ = decode_watch_event(&bytes);
    }

    #[test]
    fn damaged_bodies_are_refused_or_read_but_never_panic(
        body in proptest::sample::select(vec![fixture!("pod-list.pb"), fixture!("node.pb"), fixture!("csr.pb")]),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut body = body.to_vec();
        for (at, byte) in damage {
            let at = at.index(body.len());
            body[at] = byte;
        }
        body.truncate(cut.index(body.len()) + 1);
        if let Ok(object) = decode(&body) {
            let _ = encode(&object);
        }
    }
}
