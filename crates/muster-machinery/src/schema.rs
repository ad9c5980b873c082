//! What the built-in Kubernetes types look like: fields, protobuf numbers, JSON shape and merge rules, as one table.
//!
//! Everything generic (protobuf, patches, strict decoding, OpenAPI) reads this table instead of generated types. It
//! refuses to know which resources a server offers, and custom resources, which bring their own schema.

mod form;
mod parse;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

pub use form::Form;
pub use parse::SchemaError;

const EMBEDDED: &str = include_str!("../data/kubernetes-1.36.schema.json");

/// The index of a [`Message`] in its [`Schema`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MessageId(u16);

/// What one value of a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A UTF-8 string.
    String,
    /// A boolean.
    Bool,
    /// A signed 32-bit number, a varint on the wire.
    Int32,
    /// A signed 64-bit number, a varint on the wire and a number in JSON.
    Int64,
    /// A 64-bit float.
    Double,
    /// Bytes, standard base64 in JSON.
    Bytes,
    /// Another message.
    Message(MessageId),
}

/// How many values a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// At most one value.
    One,
    /// A list of values.
    List,
    /// A map from strings to values.
    Map,
}

/// How a list is owned and merged (`x-kubernetes-list-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListType {
    /// Replaced as a whole.
    Atomic,
    /// Scalars without repeats.
    Set,
    /// Objects identified by key fields.
    Map,
}

/// The merge rules of a field, for strategic merge patches and server-side apply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MergeRules {
    /// The list type, if one is declared.
    pub list_type: Option<ListType>,
    /// The key fields of a list of type [`ListType::Map`].
    pub list_keys: Vec<&'static str>,
    /// `x-kubernetes-patch-strategy`, such as `merge` or `merge,retainKeys`; empty when none is declared.
    pub patch_strategy: &'static str,
    /// `x-kubernetes-patch-merge-key`; empty when none is declared.
    pub patch_merge_key: &'static str,
    /// `x-kubernetes-map-type` as declared on the field (`atomic` or `granular`); empty when none is declared.
    pub map_type: &'static str,
}

static NO_RULES: MergeRules = MergeRules {
    list_type: None,
    list_keys: Vec::new(),
    patch_strategy: "",
    patch_merge_key: "",
    map_type: "",
};

/// One field of a [`Message`].
#[derive(Clone, Debug)]
pub struct Field {
    name: &'static str,
    number: u16,
    kind: Kind,
    shape: Shape,
    flags: u8,
    rules: Option<Box<MergeRules>>,
}

const POINTER: u8 = 1;
const OMIT_EMPTY: u8 = 2;
const OMIT_ZERO: u8 = 4;
const INLINE: u8 = 8;
const REQUIRED: u8 = 16;

impl Field {
    /// The name in JSON.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The protobuf field number.
    pub fn number(&self) -> u32 {
        u32::from(self.number)
    }

    /// What one value is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How many values there are.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Whether absence and the zero value are told apart (a pointer in the upstream type).
    pub fn is_pointer(&self) -> bool {
        self.flags & POINTER != 0
    }

    /// Whether empty scalars, lists and maps are left out of JSON.
    pub fn omits_empty(&self) -> bool {
        self.flags & (OMIT_EMPTY | OMIT_ZERO) != 0
    }

    /// Whether even a zero struct or time is left out of JSON.
    pub fn omits_zero(&self) -> bool {
        self.flags & OMIT_ZERO != 0
    }

    /// Whether the field can be nil and is then printed as `null` instead of being left out.
    pub fn is_always_printed_nil(&self) -> bool {
        !self.omits_empty() && !self.is_inline() && (self.is_pointer() || self.shape != Shape::One)
    }

    /// Whether the fields of this message appear in JSON directly in the parent.
    pub fn is_inline(&self) -> bool {
        self.flags & INLINE != 0
    }

    /// Whether the published schema lists the field as required.
    pub fn is_required(&self) -> bool {
        self.flags & REQUIRED != 0
    }

    /// The merge rules; all empty when none are declared.
    pub fn rules(&self) -> &MergeRules {
        self.rules.as_deref().unwrap_or(&NO_RULES)
    }
}

/// The group, version and kind under which a message is an object of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KindName {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The version, such as `v1`.
    pub version: &'static str,
    /// The kind, such as `Pod`.
    pub kind: &'static str,
}

/// One struct of the Kubernetes API.
#[derive(Clone, Debug)]
pub struct Message {
    name: &'static str,
    kind: Option<KindName>,
    form: Form,
    atomic: bool,
    /// Sorted by number.
    fields: Box<[Field]>,
}

impl Message {
    /// The full protobuf name, such as `k8s.io.api.core.v1.Pod`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The last part of the name, such as `Pod`.
    pub fn short_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }

    /// Group, version and kind, if the message is sent as an object of its own.
    pub fn kind(&self) -> Option<KindName> {
        self.kind
    }

    /// How the message looks in JSON.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Whether the message is replaced as a whole by server-side apply (`x-kubernetes-map-type: atomic`).
    pub fn is_atomic(&self) -> bool {
        self.atomic
    }

    /// The fields, in the order of their numbers; inlined messages appear as one field.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The field with this protobuf number.
    pub fn field_by_number(&self, number: u32) -> Option<&Field> {
        let at = self
            .fields
            .binary_search_by_key(&number, Field::number)
            .ok()?;
        self.fields.get(at)
    }
}

/// The table.
#[derive(Debug)]
pub struct Schema {
    source: &'static str,
    /// Sorted by name.
    messages: Box<[Message]>,
    /// Sorted by group, version and kind.
    kinds: Box<[(KindName, MessageId)]>,
}

/// Kinds that every API group accepts under its own name although they are defined once.
const SHARED_KINDS: [&str; 9] = [
    "WatchEvent",
    "ListOptions",
    "GetOptions",
    "DeleteOptions",
    "CreateOptions",
    "UpdateOptions",
    "PatchOptions",
    "ApplyOptions",
    "Status",
];

impl Schema {
    /// Where the table comes from.
    pub fn source(&self) -> &'static str {
        self.source
    }

    /// All messages, in the order of their names.
    pub fn messages(&self) -> impl ExactSizeIterator<Item = &Message> {
        self.messages.iter()
    }

    /// The message that a field refers to.
    ///
    /// # Panics
    /// If the id comes from another schema; ids are only made by the parser of a schema, which checks them.
    pub fn get(&self, id: MessageId) -> &Message {
        &self.messages[usize::from(id.0)]
    }

    /// The message with this full protobuf name.
    pub fn message(&self, name: &str) -> Option<&Message> {
        let at = self.messages.binary_search_by(|m| m.name.cmp(name)).ok()?;
        self.messages.get(at)
    }

    /// The message of an object kind. Options, `Status` and `WatchEvent` are found under every group and version.
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<&Message> {
        self.exact_kind(group, version, kind).or_else(|| {
            SHARED_KINDS
                .contains(&kind)
                .then(|| self.exact_kind("", "v1", kind))
                .flatten()
        })
    }

    /// As [`Schema::by_kind`], with group and version as in an object's `apiVersion`.
    pub fn by_api_version(&self, api_version: &str, kind: &str) -> Option<&Message> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        self.by_kind(group, version, kind)
    }

    fn exact_kind(&self, group: &str, version: &str, kind: &str) -> Option<&Message> {
        let wanted = (group, version, kind);
        let at = self
            .kinds
            .binary_search_by(|(k, _)| (k.group, k.version, k.kind).cmp(&wanted))
            .ok()?;
        self.kinds.get(at).map(|(_, id)| self.get(*id))
    }

    /// All object kinds with their messages, ordered by group, version and kind.
    pub fn kinds(&self) -> impl ExactSizeIterator<Item = (KindName, &Message)> {
        self.kinds.iter().map(|(kind, id)| (*kind, self.get(*id)))
    }

    /// The field that a JSON member of the message fills, looking through inlined messages.
    pub fn field<'a>(&'a self, message: &'a Message, json_name: &str) -> Option<&'a Field> {
        message
            .fields
            .iter()
            .find_map(|field| match (field.is_inline(), field.kind) {
                (true, Kind::Message(id)) => self.field(self.get(id), json_name),
                _ => (field.name == json_name).then_some(field),
            })
    }

    /// The fields of the message as JSON shows them: inlined messages are replaced by their fields.
    pub fn json_fields<'a>(
        &'a self,
        message: &'a Message,
    ) -> Box<dyn Iterator<Item = &'a Field> + 'a> {
        Box::new(message.fields.iter().flat_map(move |field| {
            match (field.is_inline(), field.kind) {
                (true, Kind::Message(id)) => self.json_fields(self.get(id)),
                _ => Box::new(std::iter::once(field)) as Box<dyn Iterator<Item = &'a Field> + 'a>,
            }
        }))
    }

    /// The message of a field, if the field holds messages.
    pub fn message_of(&self, field: &Field) -> Option<&Message> {
        match field.kind {
            Kind::Message(id) => Some(self.get(id)),
            _ => None,
        }
    }
}

/// The built-in types of the Kubernetes version this crate claims. Parsed on first use.
pub fn table() -> &'static Schema {
    static TABLE: OnceLock<Schema> = OnceLock::new();
    TABLE.get_or_init(|| {
        Schema::parse(EMBEDDED).expect("the embedded table is checked by the tests of this crate")
    })
}
