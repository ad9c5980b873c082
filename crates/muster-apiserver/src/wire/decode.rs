//! Reading request bodies: JSON, YAML and protobuf become one object of the expected kind, checked field by
//! field where the client wants that.
//!
//! Refuses to know: what is done with the object. Bodies are bounded before they come here.

use bytes::Bytes;
use http::{HeaderMap, header::CONTENT_TYPE};
use muster_machinery::{
    field_validation::{self, FieldValidation, Findings},
    meta, protobuf,
    schema::{self, Message},
    status::Status,
};
use serde_json::Value;
use serde_saphyr::options::DuplicateKeyPolicy;

use super::Refusal;

/// Media types that bodies are read in.
const READABLE: [&str; 3] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];

/// The kind that a path implies.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    /// Its `apiVersion`.
    pub(crate) api_version: String,
    /// Its kind.
    pub(crate) kind: String,
    /// Whether the body may name another `apiVersion`, as options do.
    pub(crate) any_version: bool,
}

/// A body that was read.
#[derive(Debug)]
pub(crate) struct Decoded {
    /// The object, with `apiVersion` and `kind`.
    pub(crate) object: Value,
    /// What to tell the client in `Warning` headers.
    pub(crate) warnings: Vec<String>,
}

/// The media type of a body, without parameters, in lower case; JSON if none is given.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let text = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    match text
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
    {
        none if none.is_empty() => "application/json".to_owned(),
        some => some,
    }
}

/// Reads a body.
pub(crate) fn decode(
    headers: &HeaderMap,
    body: &Bytes,
    expected: &Expected,
    validation: FieldValidation,
) -> Result<Decoded, Refusal> {
    let message = schema::table().by_api_version(&expected.api_version, &expected.kind);
    let (object, findings) = match media_type(headers).as_str() {
        "application/json" => decode_json(body, message, validation)?,
        "application/yaml" | "application/x-yaml" | "text/yaml" => {
            let (object, repeated) = decode_yaml(body).map_err(|error| unreadable(&error))?;
            let findings = message.map(|message| field_validation::check_value(&object, message));
            let mut findings = findings.unwrap_or_default();
            findings.strict.splice(0..0, repeated);
            (object, findings)
        }
        protobuf::CONTENT_TYPE => {
            let object = protobuf::decode_with_default(body, &expected.api_version, &expected.kind)
                .map_err(|error| unreadable(&error))?;
            (object, Findings::default())
        }
        _ => return Err(Status::unsupported_media_type(&READABLE).into()),
    };
    let object = of_kind(object, expected)?;
    let warnings = judge(findings, validation)?;
    Ok(Decoded { object, warnings })
}

fn decode_json(
    body: &Bytes,
    message: Option<&'static Message>,
    validation: FieldValidation,
) -> Result<(Value, Findings), Refusal> {
    let object = serde_json::from_slice(body).map_err(|error| unreadable(&error))?;
    let findings = match (validation, message) {
        (FieldValidation::Ignore, Some(message)) => field_validation::check_value(&object, message),
        (_, message) => {
            field_validation::check(body, message).map_err(|error| unreadable(&error))?
        }
    };
    Ok((object, findings))
}

/// Reads YAML. Of members that are there twice the last one counts; the first of them is told of too, in the words
/// that clients know.
fn decode_yaml(body: &Bytes) -> Result<(Value, Option<String>), YamlError> {
    let text = std::str::from_utf8(body)?;
    let strict = match read_yaml(text, DuplicateKeyPolicy::Error) {
        Ok(object) => return Ok((object, None)),
        Err(strict) => strict,
    };
    let object = read_yaml(text, DuplicateKeyPolicy::LastWins)?;
    let strict = match strict {
        serde_saphyr::Error::WithSnippet { error, .. } => *error,
        other => other,
    };
    let told = match &strict {
        serde_saphyr::Error::DuplicateMappingKey { key, location } => format!(
            "yaml: unmarshal errors:\n  line {}: key {:?} already set in map",
            location.line(),
            key.as_deref().unwrap_or_default()
        ),
        other => other.to_string(),
    };
    Ok((object, Some(told)))
}

/// Why text is no YAML.
#[derive(Debug, thiserror::Error)]
enum YamlError {
    /// It is not text at all.
    #[error(transparent)]
    Text(#[from] std::str::Utf8Error),
    /// It is text that does not parse.
    #[error(transparent)]
    Syntax(#[from] serde_saphyr::Error),
}

fn read_yaml(text: &str, duplicate_keys: DuplicateKeyPolicy) -> Result<Value, serde_saphyr::Error> {
    // As the YAML 1.1 readers of other tools: `0644` is an octal number.
    let options = serde_saphyr::options! {
        legacy_octal_numbers: true,
        duplicate_keys: duplicate_keys,
    };
    serde_saphyr::from_str_with_options(text, options)
}

/// Reads the configuration of an apply, YAML or JSON, as it is: what its type has no field for is refused where it is
/// merged, so only repeated members are looked for here.
pub(crate) fn decode_config(body: &Bytes, validation: FieldValidation) -> Result<Decoded, Refusal> {
    let undecodable = |error: &dyn std::fmt::Display| {
        Status::bad_request(format!("error decoding YAML: {error}"))
    };
    if let Ok(object) = serde_json::from_slice(body) {
        let findings = field_validation::check(body, None).map_err(|error| undecodable(&error))?;
        let warnings = judge(findings, validation)?;
        return Ok(Decoded { object, warnings });
    }
    let (object, repeated) = decode_yaml(body).map_err(|error| undecodable(&error))?;
    let findings = Findings {
        strict: repeated.into_iter().collect(),
        ..Findings::default()
    };
    let warnings = judge(findings, validation)?;
    Ok(Decoded { object, warnings })
}

fn unreadable(error: &dyn std::fmt::Display) -> Refusal {
    Status::bad_request(format!("the body of the request cannot be read: {error}")).into()
}

/// Fills in the kind that the path implies, and refuses another one.
fn of_kind(mut object: Value, expected: &Expected) -> Result<Value, Refusal> {
    if !object.is_object() {
        return Err(Status::bad_request("the body of the request is not an object").into());
    }
    let kind = meta::kind(&object);
    let api_version = meta::api_version(&object);
    if !api_version.is_empty() && api_version != expected.api_version && !expected.any_version {
        return Err(Status::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({})",
            expected.api_version
        ))
        .into());
    }
    if !kind.is_empty() && kind != expected.kind {
        return Err(Status::bad_request(format!(
            "the kind in the data ({kind}) does not match the expected kind ({})",
            expected.kind
        ))
        .into());
    }
    meta::set_gvk(&mut object, &expected.api_version, &expected.kind);
    Ok(object)
}

fn judge(findings: Findings, validation: FieldValidation) -> Result<Vec<String>, Refusal> {
    if let Some(mismatch) = findings.mismatch {
        return Err(Status::bad_request(mismatch).into());
    }
    match validation {
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Warn => Ok(findings.strict),
        FieldValidation::Strict => match findings.strict_error() {
            Some(error) => Err(Status::bad_request(error).into()),
            None => Ok(Vec::new()),
        },
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn decoded(media: &'static str, body: &'static [u8]) -> Result<Decoded, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
        let expected = Expected {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            any_version: false,
        };
        decode(
            &headers,
            &Bytes::from_static(body),
            &expected,
            FieldValidation::Warn,
        )
    }

    #[test]
    fn the_path_names_the_kind_where_the_body_does_not() {
        let read = decoded("application/json", br#"{"data":{"a":"b"}}"#).unwrap();
        assert_eq!(
            (meta::api_version(&read.object), meta::kind(&read.object)),
            ("v1", "ConfigMap")
        );
    }

    #[test]
    fn another_kind_or_an_unknown_format_is_refused() {
        let other = decoded("application/json", br#"{"kind":"Secret"}"#).unwrap_err();
        assert_eq!(other.code(), 400);
        assert_eq!(decoded("text/csv", b"a,b").unwrap_err().code(), 415);
        assert_eq!(decoded("application/json", b"[1]").unwrap_err().code(), 400);
        assert_eq!(decoded("application/json", b"{").unwrap_err().code(), 400);
    }

    #[test]
    fn yaml_reads_old_octal_numbers() {
        let read = decoded(
            "application/yaml",
            b"data:\n  a: b\nmetadata:\n  generation: 0644\n",
        );
        assert_eq!(read.unwrap().object["metadata"]["generation"], 420);
    }

    #[test]
    fn members_that_are_there_twice_are_told_of_with_their_line() {
        let told = "line 3: key \"a\" already set in map";
        let body = b"data:\n  a: b\n  a: c\n";
        let read = decoded("application/yaml", body).unwrap();
        assert_eq!(read.object["data"]["a"], "c");
        assert!(read.warnings[0].contains(told), "{:?}", read.warnings);
        let config = Bytes::from_static(body);
        let refused = decode_config(&config, FieldValidation::Strict).unwrap_err();
        assert_eq!(refused.code(), 400);
        assert!(format!("{refused:?}").contains("already set in map"));
        let ignored = decode_config(&config, FieldValidation::Ignore).unwrap();
        assert!(ignored.warnings.is_empty());
    }

    #[test]
    fn unknown_fields_become_warnings() {
        let read = decoded("application/json", br#"{"dataa":{}}"#).unwrap();
        assert_eq!(read.warnings, [r#"unknown field "dataa""#]);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(128))]
        #[test]
        fn no_body_makes_it_panic(body in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            for media in READABLE {
                let mut headers = HeaderMap::new();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
                let expected = Expected { api_version: "v1".into(), kind: "Pod".into(), any_version: false };
                let _ = decode(&headers, &Bytes::from(body.clone()), &expected, FieldValidation::Strict);
            }
            let _ = decode_config(&Bytes::from(body), FieldValidation::Strict);
        }
    }
}
