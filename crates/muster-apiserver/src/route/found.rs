//! A request on a resource: the table's entries it is about, its body, its options.
//!
//! Refuses to know: what is done with it.

use std::sync::Arc;

use http::header::USER_AGENT;
use muster_machinery::{
    field_validation::FieldValidation,
    gvk::join_api_version,
    protobuf::CONTENT_TYPE as PROTOBUF,
    resources::{Resource, Subresource},
    status::Status,
    table::IncludeObject,
};

use super::Authorised;
use crate::{
    custom::{CustomVersion, judge},
    registry::{
        APPLY_PATCH, Call, Conversion, DeleteOptions, PatchKind, Refusal, WriteKind, WriteOptions,
    },
    request::{ResourceRequest, Verb, query_value},
    reviews::is_review,
    wire::{Decoded, Encoder, Expected, decode, decode_config, media_type},
};

/// A request with its resource found.
pub(super) struct Found {
    pub(super) request: Authorised,
    pub(super) asked: ResourceRequest,
    /// The resource that was asked for.
    pub(super) resource: Arc<Resource>,
    /// The resource as which it is kept.
    pub(super) stored: Arc<Resource>,
    pub(super) sub: Option<Subresource>,
    /// The version of a custom resource.
    pub(super) custom: Option<CustomVersion>,
}

impl Found {
    pub(super) fn call(&self) -> Call<'_> {
        Call {
            user: &self.request.user,
            request: &self.asked,
            resource: &self.stored,
            served: &self.resource,
            custom: self.custom.as_ref(),
            sub: self.sub.as_ref(),
            now: self.request.now,
            notes: &self.request.notes,
        }
    }

    pub(super) fn sub_name(&self) -> &str {
        self.sub.as_ref().map_or("", |sub| &sub.name)
    }

    pub(super) fn encoder(&self) -> Result<Encoder, Refusal> {
        let include = query_value(self.request.query(), "includeObject").unwrap_or_default();
        let include = IncludeObject::parse(&include).ok_or_else(|| {
            Status::bad_request(format!("unrecognized includeObject value: {include:?}"))
        })?;
        // A review is stored nowhere and has no columns: upstream serves no table of it.
        let is_review = is_review(&self.resource.group, &self.resource.plural);
        let mut negotiated = self.request.negotiated(!is_review)?;
        if self.custom.is_some() {
            negotiated = negotiated.without_protobuf()?;
        }
        let encoder = Encoder::new(
            negotiated,
            Arc::clone(&self.resource),
            include,
            self.request.now,
        );
        Ok(encoder.with_custom(self.custom.clone()))
    }

    /// The kind that a body must have.
    fn expected(&self) -> Expected {
        let own = || self.resource.api_version();
        let (api_version, kind) = match &self.sub {
            Some(sub) => {
                let version = sub.group_version.as_ref();
                (
                    version.map_or_else(own, |(g, v)| join_api_version(g, v)),
                    sub.kind.to_string(),
                )
            }
            None => (own(), self.resource.kind.to_string()),
        };
        Expected {
            api_version,
            kind,
            any_version: self.sub_name() == "eviction",
        }
    }

    pub(super) fn is_apply(&self) -> bool {
        media_type(&self.request.headers) == APPLY_PATCH
    }

    pub(super) fn patch_kind(&self) -> Result<PatchKind, Refusal> {
        PatchKind::of_media_type(&media_type(&self.request.headers))
    }

    pub(super) fn write_options(&self) -> Result<WriteOptions, Refusal> {
        let kind = match self.request.info.verb {
            Verb::Update => WriteKind::Update,
            Verb::Patch if self.is_apply() => WriteKind::Apply,
            Verb::Patch => WriteKind::Patch,
            _ => WriteKind::Create,
        };
        let agent = self.request.headers.get(USER_AGENT);
        let agent = agent.and_then(|agent| agent.to_str().ok());
        WriteOptions::parse(self.request.query(), agent.unwrap_or_default(), kind)
    }

    pub(super) async fn read_object(&mut self, options: &WriteOptions) -> Result<Decoded, Refusal> {
        let body = self.request.read_body().await?;
        let expected = self.expected();
        let is_own = expected.kind == self.resource.kind;
        if self.custom.is_some() && is_own && media_type(&self.request.headers) == PROTOBUF {
            let read = ["application/json", "application/yaml"];
            return Err(Status::unsupported_media_type(&read).into());
        }
        let mut decoded = decode(
            &self.request.headers,
            &body,
            &expected,
            options.field_validation,
        )?;
        if let Some(custom) = self.custom.as_ref().filter(|_| is_own) {
            let coerced = custom.coerce(&mut decoded.object);
            let unknown = judge(coerced, &self.resource, options.field_validation)?;
            decoded.warnings.extend(unknown);
        }
        self.request.notes.saw_object(&decoded.object);
        Ok(decoded)
    }

    /// Reads the configuration of an apply.
    pub(super) async fn read_config(&mut self, options: &WriteOptions) -> Result<Decoded, Refusal> {
        let body = self.request.read_body().await?;
        decode_config(&body, options.field_validation)
    }

    /// Reads the body into the form in which objects are stored.
    pub(super) async fn read_stored(&mut self, options: &WriteOptions) -> Result<Decoded, Refusal> {
        let mut decoded = self.read_object(options).await?;
        Conversion::of(&self.resource).store(&self.resource, &mut decoded.object);
        Ok(decoded)
    }

    pub(super) async fn delete_options(&mut self) -> Result<DeleteOptions, Refusal> {
        let body = self.request.read_body().await?;
        if body.is_empty() {
            return DeleteOptions::parse(self.request.query(), None);
        }
        let expected = Expected {
            api_version: "v1".to_owned(),
            kind: "DeleteOptions".to_owned(),
            any_version: true,
        };
        let headers = &self.request.headers;
        let decoded = decode(headers, &body, &expected, FieldValidation::Ignore)?;
        DeleteOptions::parse(self.request.query(), Some(&decoded.object))
    }
}
