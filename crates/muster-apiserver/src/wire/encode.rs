//! Writing answers: one object or a list, as they are, as a table or as metadata, in JSON, YAML or protobuf.
//!
//! Refuses to know: how the objects were found.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use muster_machinery::{
    protobuf,
    resources::Resource,
    status::Status,
    table::{
        IncludeObject, ListMeta, Table, partial_object_metadata, partial_object_metadata_list,
    },
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Format, Negotiated, Refusal, Response, ResponseBody, Transform, body::JsonList,
    negotiate::OFFERED,
};
use crate::{
    registry::{Conversion, ObjectList},
    watch::StoredObject,
};

/// Writes objects of one resource for one client.
#[derive(Clone, Debug)]
pub(crate) struct Encoder {
    pub(super) negotiated: Negotiated,
    pub(super) resource: Arc<Resource>,
    pub(super) include: IncludeObject,
    pub(super) now: Timestamp,
}

impl Encoder {
    /// An encoder for objects of `resource`. `now` is what ages in tables are counted from.
    pub(crate) fn new(
        negotiated: Negotiated,
        resource: Arc<Resource>,
        include: IncludeObject,
        now: Timestamp,
    ) -> Self {
        Self {
            negotiated,
            resource,
            include,
            now,
        }
    }

    /// An answer with one stored object.
    pub(crate) fn object(
        &self,
        code: StatusCode,
        object: &StoredObject,
    ) -> Result<Response, Refusal> {
        let n = self.negotiated;
        if n.format == Format::Json
            && n.transform == Transform::None
            && !n.pretty
            && !self.converts()
        {
            return Ok(response(code, "application/json", object.json().clone()));
        }
        let value = self.served(object)?;
        match n.transform {
            Transform::None => self.write(code, &value),
            Transform::Metadata => self.write(code, &partial_object_metadata(&value)),
            Transform::Table => {
                let (group, kind) = (&self.resource.group, &self.resource.kind);
                self.write(
                    code,
                    &Table::of_one(group, kind, &value, self.include, self.now),
                )
            }
        }
    }

    /// An answer with an object that is not stored: a review, a status.
    pub(crate) fn value(&self, code: StatusCode, value: &Value) -> Result<Response, Refusal> {
        self.write(code, value)
    }

    /// An answer with a scale, which has a table of its own, whatever it is the scale of.
    pub(crate) fn scale(&self, scale: &Value) -> Result<Response, Refusal> {
        if self.negotiated.transform != Transform::Table {
            return self.write(StatusCode::OK, scale);
        }
        let (group, kind) = ("autoscaling", "Scale");
        self.write(
            StatusCode::OK,
            &Table::of_one(group, kind, scale, self.include, self.now),
        )
    }

    /// An answer with many objects.
    pub(crate) fn list(&self, list: ObjectList) -> Result<Response, Refusal> {
        let n = self.negotiated;
        let metadata = ListMeta {
            resource_version: list.revision.to_string(),
            continue_token: list.continue_token,
            remaining_item_count: list.remaining.map(|count| count as u64),
        };
        if n.format == Format::Json
            && n.transform == Transform::None
            && !n.pretty
            && !self.converts()
        {
            let head = self.list_head(&metadata)?;
            let mut response = Response::new(ResponseBody::List(JsonList::new(head, list.objects)));
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
            return Ok(response);
        }
        let values = list
            .objects
            .iter()
            .map(|object| self.served(object))
            .collect::<Result<Vec<_>, _>>()?;
        match n.transform {
            Transform::Table => {
                let (group, kind) = (&self.resource.group, &self.resource.kind);
                let table = Table::new(group, kind, &values, metadata, self.include, self.now);
                self.write(StatusCode::OK, &table)
            }
            Transform::Metadata => self.write(
                StatusCode::OK,
                &partial_object_metadata_list(&values, &metadata),
            ),
            Transform::None => self.write(
                StatusCode::OK,
                &json!({
                    "kind": self.resource.list_kind,
                    "apiVersion": self.resource.api_version(),
                    "metadata": metadata,
                    "items": values,
                }),
            ),
        }
    }

    fn list_head(&self, metadata: &ListMeta) -> Result<Bytes, Refusal> {
        let metadata = serde_json::to_string(metadata).map_err(Status::internal)?;
        let head = format!(
            "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{metadata},\"items\":[",
            self.resource.list_kind,
            self.resource.api_version()
        );
        Ok(head.into())
    }

    /// Whether stored objects have to be converted before they are served.
    pub(super) fn converts(&self) -> bool {
        Conversion::of(&self.resource) != Conversion::None
    }

    /// A stored object in its served form.
    pub(super) fn served(&self, object: &StoredObject) -> Result<Value, Refusal> {
        let mut value = object.value().map_err(Status::internal)?;
        Conversion::of(&self.resource).serve(&self.resource, &mut value);
        Ok(value)
    }

    fn write(&self, code: StatusCode, value: &impl Serialize) -> Result<Response, Refusal> {
        write(self.negotiated, code, value)
    }
}

/// An answer with a document that is no object of a resource.
pub(crate) fn document(
    negotiated: Negotiated,
    value: &impl Serialize,
) -> Result<Response, Refusal> {
    write(negotiated, StatusCode::OK, value)
}

fn write(
    negotiated: Negotiated,
    code: StatusCode,
    value: &impl Serialize,
) -> Result<Response, Refusal> {
    match negotiated.format {
        Format::Json => write_json(negotiated, code, value),
        Format::Yaml => {
            let text = serde_saphyr::to_string(value).map_err(Status::internal)?;
            Ok(response(code, "application/yaml", text))
        }
        Format::Protobuf => {
            let object = serde_json::to_value(value).map_err(Status::internal)?;
            match protobuf::encode(&object) {
                Ok(body) => Ok(response(code, protobuf::CONTENT_TYPE, body)),
                Err(_) if negotiated.json_will_do => write_json(negotiated, code, value),
                Err(error) => {
                    tracing::debug!(%error, "an answer cannot be written as protobuf");
                    Err(Status::not_acceptable(&OFFERED[..2]).into())
                }
            }
        }
    }
}

fn write_json(
    negotiated: Negotiated,
    code: StatusCode,
    value: &impl Serialize,
) -> Result<Response, Refusal> {
    let mut body = if negotiated.pretty {
        serde_json::to_vec_pretty(value)
    } else {
        serde_json::to_vec(value)
    }
    .map_err(Status::internal)?;
    body.push(b'\n');
    Ok(response(code, "application/json", body))
}

fn response(code: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(ResponseBody::full(body));
    *response.status_mut() = code;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
