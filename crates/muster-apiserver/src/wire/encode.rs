//! Writing answers: one object or a list, as they are, as a table or as metadata, in JSON, YAML or protobuf.
//!
//! Refuses to know: how the objects were found.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use muster_machinery::{
    meta,
    protobuf::{self, ListFrame},
    resources::Resource,
    status::Status,
    table::{
        IncludeObject, ListMeta, Table, partial_object_metadata, partial_object_metadata_list,
    },
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Format, ListBody, Negotiated, Refusal, Response, ResponseBody, Transform, negotiate::OFFERED,
};
use crate::{
    custom::CustomVersion,
    registry::{Conversion, ObjectList},
    watch::StoredObject,
};

/// From how many objects on writing is left to a thread of its own.
const MANY: usize = 256;

/// Writes objects of one resource for one client.
#[derive(Clone, Debug)]
pub(crate) struct Encoder {
    pub(super) negotiated: Negotiated,
    pub(super) resource: Arc<Resource>,
    pub(super) include: IncludeObject,
    pub(super) now: Timestamp,
    custom: Option<CustomVersion>,
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
            custom: None,
        }
    }

    /// Writes objects of a custom resource.
    pub(crate) fn with_custom(mut self, custom: Option<CustomVersion>) -> Self {
        self.custom = custom;
        self
    }

    /// A table of objects as they are served.
    pub(super) fn table<'a>(
        &self,
        objects: impl IntoIterator<Item = &'a Value>,
        metadata: ListMeta,
        now: Timestamp,
    ) -> Table {
        let (group, kind) = (&self.resource.group, &self.resource.kind);
        match &self.custom {
            Some(custom) => Table::custom(custom.columns(), objects, metadata, self.include, now),
            None => Table::new(group, kind, objects, metadata, self.include, now),
        }
    }

    /// A table of one object, at the revision of the object.
    pub(super) fn table_of_one(&self, object: &Value, now: Timestamp) -> Table {
        let metadata = ListMeta {
            resource_version: meta::resource_version(object).to_owned(),
            ..ListMeta::default()
        };
        self.table([object], metadata, now)
    }

    /// An answer with one stored object.
    pub(crate) fn object(
        &self,
        code: StatusCode,
        object: &StoredObject,
    ) -> Result<Response, Refusal> {
        let n = self.negotiated;
        if self.shares_json() {
            return Ok(response(code, "application/json", object.json().clone()));
        }
        if n.format == Format::Protobuf
            && n.transform == Transform::None
            && let Some(body) = self.enveloped(object)?
        {
            return Ok(response(code, protobuf::CONTENT_TYPE, body));
        }
        let value = self.served(object)?;
        match n.transform {
            Transform::None => self.write(code, &value),
            Transform::Metadata => self.write(code, &partial_object_metadata(&value)),
            Transform::Table => self.write(code, &self.table_of_one(&value, self.now)),
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

    /// An answer with many objects. What takes long keeps nobody else waiting.
    pub(crate) async fn list(self, list: ObjectList) -> Result<Response, Refusal> {
        if self.shares_json() || list.objects.len() < MANY {
            return self.list_now(list);
        }
        let written = tokio::task::spawn_blocking(move || self.list_now(list));
        written.await.map_err(Status::internal)?
    }

    fn list_now(&self, list: ObjectList) -> Result<Response, Refusal> {
        let n = self.negotiated;
        let metadata = ListMeta {
            resource_version: list.revision.to_string(),
            continue_token: list.continue_token,
            remaining_item_count: list.remaining.map(|count| count as u64),
        };
        if self.shares_json() {
            let head = self.list_head(&metadata)?;
            let body = ResponseBody::List(ListBody::json(head, list.objects));
            return Ok(response_with(StatusCode::OK, "application/json", body));
        }
        if n.format == Format::Protobuf
            && n.transform == Transform::None
            && let Some(body) = self.protobuf_list(&metadata, &list.objects)?
        {
            let body = ResponseBody::List(body);
            return Ok(response_with(StatusCode::OK, protobuf::CONTENT_TYPE, body));
        }
        if n.transform == Transform::Metadata {
            let values = list.objects.iter();
            let values = values
                .map(|object| self.only_metadata(object))
                .collect::<Result<Vec<_>, _>>()?;
            let list = partial_object_metadata_list(&values, &metadata);
            return self.write(StatusCode::OK, &list);
        }
        let values = list
            .objects
            .iter()
            .map(|object| self.served(object))
            .collect::<Result<Vec<_>, _>>()?;
        match n.transform {
            Transform::Table => {
                let table = self.table(&values, metadata, self.now);
                self.write(StatusCode::OK, &table)
            }
            Transform::None | Transform::Metadata => self.write(
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

    /// Whether objects are served as the bytes that the cache has.
    fn shares_json(&self) -> bool {
        let n = self.negotiated;
        n.format == Format::Json && n.transform == Transform::None && !n.pretty && !self.converts()
    }

    fn protobuf_list(
        &self,
        metadata: &ListMeta,
        objects: &[Arc<StoredObject>],
    ) -> Result<Option<ListBody>, Refusal> {
        let mut items = Vec::with_capacity(objects.len());
        for object in objects {
            match self.bare_protobuf(object)? {
                Some(item) => items.push(item),
                None => return Ok(None),
            }
        }
        let metadata = serde_json::to_value(metadata).map_err(Status::internal)?;
        let (api_version, kind) = (self.resource.api_version(), &self.resource.list_kind);
        let lengths = items.iter().map(Bytes::len);
        let frame = ListFrame::new(&api_version, kind, &metadata, lengths).ok();
        Ok(frame.map(|frame| ListBody::protobuf(frame, items)))
    }

    /// An object as a protobuf body; `None` if it has no protobuf form.
    pub(super) fn enveloped(&self, object: &StoredObject) -> Result<Option<Vec<u8>>, Refusal> {
        let bare = self.bare_protobuf(object)?;
        let (api_version, kind) = (self.resource.api_version(), &self.resource.kind);
        Ok(bare.map(|bare| protobuf::envelope(&api_version, kind, &bare)))
    }

    fn bare_protobuf(&self, object: &StoredObject) -> Result<Option<Bytes>, Refusal> {
        let encode = || {
            let value = self.served(object).map_err(Some)?;
            match protobuf::encode_bare(&value) {
                Ok(bare) => Ok(bare),
                Err(error) => {
                    tracing::debug!(%error, key = &**object.key(), "an object has no protobuf form");
                    Err(None)
                }
            }
        };
        let bare = if self.converts() {
            encode().map(Bytes::from)
        } else {
            object.protobuf(encode)
        };
        match bare {
            Ok(bare) => Ok(Some(bare)),
            Err(None) => Ok(None),
            Err(Some(refusal)) => Err(refusal),
        }
    }

    /// What an object's metadata transformation is made from, without reading the rest of it.
    pub(super) fn only_metadata(&self, object: &StoredObject) -> Result<Value, Refusal> {
        #[derive(serde::Deserialize, Serialize)]
        struct OnlyMetadata {
            metadata: Value,
        }
        if self.converts() {
            return self.served(object);
        }
        let only: OnlyMetadata = serde_json::from_slice(object.json()).map_err(Status::internal)?;
        serde_json::to_value(only).map_err(|error| Status::internal(error).into())
    }

    /// Whether stored objects have to be converted before they are served.
    pub(super) fn converts(&self) -> bool {
        self.custom.is_some() || Conversion::of(&self.resource) != Conversion::None
    }

    /// A stored object in its served form.
    pub(super) fn served(&self, object: &StoredObject) -> Result<Value, Refusal> {
        let mut value = object.value().map_err(Status::internal)?;
        match &self.custom {
            Some(custom) => custom.serve(&mut value)?,
            None => Conversion::of(&self.resource).serve(&self.resource, &mut value),
        }
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
    response_with(code, content_type, ResponseBody::full(body))
}

fn response_with(code: StatusCode, content_type: &'static str, body: ResponseBody) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
