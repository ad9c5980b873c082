//! Which representation a client gets: the `Accept` header as kube-apiserver reads it, with the
//! `as=Table` and `as=PartialObjectMetadata` transformations.
//!
//! Refuses to know: how a representation is written.

use muster_machinery::status::Status;

use super::Refusal;

/// The media types that answers are written in, in order of preference.
pub(crate) const OFFERED: [&str; 3] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];

/// How bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// `application/json`.
    Json,
    /// `application/yaml`.
    Yaml,
    /// `application/vnd.kubernetes.protobuf`.
    Protobuf,
}

/// What is written instead of the objects themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transform {
    /// The objects as they are.
    None,
    /// A `meta.k8s.io/v1` `Table`.
    Table,
    /// `meta.k8s.io/v1` `PartialObjectMetadata`, or its list.
    Metadata,
}

/// The outcome of a negotiation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Negotiated {
    /// How bytes are written.
    pub(crate) format: Format,
    /// What is written.
    pub(crate) transform: Transform,
    /// Whether JSON is indented for people.
    pub(crate) pretty: bool,
    /// Whether JSON may stand in where the format cannot express an object.
    pub(crate) json_will_do: bool,
}

impl Negotiated {
    /// Plain JSON.
    pub(crate) const JSON: Self = Self {
        format: Format::Json,
        transform: Transform::None,
        pretty: false,
        json_will_do: true,
    };

    /// The representation for objects that have no protobuf form: JSON, if the client takes it.
    pub(crate) fn without_protobuf(mut self) -> Result<Self, Refusal> {
        if self.format == Format::Protobuf && self.transform == Transform::None {
            if !self.json_will_do {
                return Err(Status::not_acceptable(&OFFERED[..2]).into());
            }
            self.format = Format::Json;
        }
        Ok(self)
    }
}

/// One clause of an `Accept` header.
struct Clause<'a> {
    kind: &'a str,
    subtype: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

/// Chooses the representation. `transformable` is false for answers that are no objects of a resource.
pub(crate) fn negotiate(
    accept: Option<&str>,
    transformable: bool,
    pretty: bool,
) -> Result<Negotiated, Refusal> {
    let accept = accept.map(str::trim).filter(|accept| !accept.is_empty());
    let Some(accept) = accept else {
        return Ok(Negotiated {
            pretty,
            ..Negotiated::JSON
        });
    };
    let mut clauses: Vec<Clause<'_>> = accept
        .split(',')
        .take(32)
        .filter_map(Clause::parse)
        .filter(|c| c.quality > 0.0)
        .collect();
    clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    let json_will_do = clauses.iter().any(|clause| {
        clause.formats().any(|format| format == Format::Json)
            && clause.transform(transformable).is_some()
    });
    clauses
        .iter()
        .find_map(|clause| {
            let format = clause.formats().next()?;
            let transform = clause.transform(transformable)?;
            Some(Negotiated {
                format,
                transform,
                pretty: clause.pretty(pretty),
                json_will_do,
            })
        })
        .ok_or_else(|| Status::not_acceptable(&OFFERED).into())
}

impl<'a> Clause<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let mut quality = 1.0;
        let mut parameters = Vec::new();
        for part in parts.take(16) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let (key, value) = (key.trim(), value.trim().trim_matches('"'));
            if key == "q" {
                quality = value
                    .parse()
                    .ok()
                    .filter(|q: &f32| q.is_finite())
                    .unwrap_or(1.0);
            } else {
                parameters.push((key, value));
            }
        }
        Some(Self {
            kind: kind.trim(),
            subtype: subtype.trim(),
            parameters,
            quality,
        })
    }

    fn formats(&self) -> impl Iterator<Item = Format> + '_ {
        let offers = [
            ("application", "json", Format::Json),
            ("application", "yaml", Format::Yaml),
            ("application", "vnd.kubernetes.protobuf", Format::Protobuf),
        ];
        offers
            .into_iter()
            .filter_map(move |(kind, subtype, format)| {
                let kind_fits = self.kind == "*" || self.kind.eq_ignore_ascii_case(kind);
                let subtype_fits =
                    self.subtype == "*" || self.subtype.eq_ignore_ascii_case(subtype);
                (kind_fits && subtype_fits).then_some(format)
            })
    }

    fn parameter(&self, key: &str) -> Option<&'a str> {
        self.parameters
            .iter()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| *value)
    }

    fn pretty(&self, default: bool) -> bool {
        self.parameter("pretty")
            .map_or(default, |value| value == "1" || value == "true")
    }

    /// The transformation this clause asks for; `None` if it asks for one that there is not.
    fn transform(&self, transformable: bool) -> Option<Transform> {
        let Some(wanted) = self.parameter("as") else {
            return Some(Transform::None);
        };
        let group_fits = self.parameter("g") == Some("meta.k8s.io");
        let version_fits = self.parameter("v") == Some("v1");
        match wanted {
            _ if !transformable || !group_fits || !version_fits => None,
            "Table" => Some(Transform::Table),
            "PartialObjectMetadata" | "PartialObjectMetadataList" => Some(Transform::Metadata),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(accept: &str) -> Option<(Format, Transform)> {
        negotiate(Some(accept), true, false)
            .ok()
            .map(|n| (n.format, n.transform))
    }

    #[test]
    fn the_first_clause_that_can_be_served_wins() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,\
            application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(chosen(kubectl), Some((Format::Json, Transform::Table)));
        let unknown = "application/json;as=Picture;v=v1;g=meta.k8s.io,application/json";
        assert_eq!(chosen(unknown), Some((Format::Json, Transform::None)));
        let kubelet = "application/vnd.kubernetes.protobuf,application/json";
        assert_eq!(chosen(kubelet), Some((Format::Protobuf, Transform::None)));
        assert!(negotiate(Some(kubelet), true, false).is_ok_and(|n| n.json_will_do));
    }

    #[test]
    fn quality_orders_clauses_and_zero_forbids() {
        assert_eq!(
            chosen("application/yaml;q=0.5, application/json;q=0.9"),
            Some((Format::Json, Transform::None))
        );
        assert_eq!(chosen("application/json;q=0"), None);
        assert_eq!(chosen("*/*"), Some((Format::Json, Transform::None)));
        assert_eq!(
            chosen("application/*"),
            Some((Format::Json, Transform::None))
        );
    }

    #[test]
    fn what_cannot_be_written_is_refused_with_406() {
        let status = negotiate(Some("image/png"), true, false).unwrap_err();
        assert_eq!(status.code(), 406);
        assert!(
            negotiate(
                Some("application/json;as=Table;g=meta.k8s.io;v=v1"),
                false,
                false
            )
            .is_err()
        );
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(256))]
        #[test]
        fn no_header_makes_it_panic(accept in ".{0,200}") {
            let _ = negotiate(Some(&accept), true, false);
        }
    }
}
