//! The three ways in which a `PATCH` request changes an object: RFC 6902, RFC 7386 and Kubernetes' strategic merge.
//!
//! Works on JSON values alone. It refuses to know resource versions, subresources and what makes an object valid: the
//! caller applies, validates and stores. Server-side apply is not a patch in this sense and lives elsewhere.

pub mod json;
pub mod merge;
pub mod strategic;

/// Why a patch could not be applied; [`PatchError::http_status`] tells how kube-apiserver answers.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// The patch is not a JSON document of its type: answer 400.
    #[error("the patch is not a valid document of its type")]
    Malformed(#[source] serde_json::Error),
    /// A merge patch must be a JSON object: answer 400.
    #[error("the patch is not a JSON object")]
    NotAnObject,
    /// A JSON patch has more operations than [`json::MAX_OPERATIONS`]: answer 413.
    #[error("the allowed maximum operations in a JSON patch is {limit}, got {got}")]
    TooManyOperations {
        /// How many there are.
        got: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// A JSON patch copies or moves more than [`json::MAX_COPIED_VALUES`], or nests too deep: answer 413.
    #[error("operation {index} of the JSON patch makes the object too large")]
    TooLarge {
        /// The operation, counted from 0.
        index: usize,
    },
    /// An operation of a JSON patch does not apply to this object, or a `test` failed: answer 422.
    #[error("operation {index} of the JSON patch failed at {path:?}")]
    Operation {
        /// The operation, counted from 0.
        index: usize,
        /// The JSON pointer it names.
        path: String,
        /// The reason.
        #[source]
        source: json_patch::PatchErrorKind,
    },
    /// The kind has no merge rules; use a JSON patch or a merge patch: answer 415.
    #[error("strategic merge patch is not supported for kind {kind:?} in version {api_version:?}")]
    UnknownKind {
        /// The object's `apiVersion`.
        api_version: String,
        /// The object's `kind`.
        kind: String,
    },
    /// The patch merges into a field that the type does not have: answer 422.
    #[error("unable to find api field in struct {message} for the json field {field:?}")]
    UnknownField {
        /// The short name of the type.
        message: &'static str,
        /// The member's name.
        field: String,
    },
    /// An element of a merging list lacks the field that identifies it: answer 422.
    #[error("an element of {field:?} does not contain declared merge key {merge_key:?}")]
    MissingMergeKey {
        /// The list.
        field: String,
        /// The missing member.
        merge_key: &'static str,
    },
    /// A list of objects has no declared merge key, so elements cannot be deleted from it: answer 422.
    #[error("cannot merge list {0:?} without a merge key")]
    NoMergeKey(String),
    /// A merging list holds elements of several types, or lists: answer 422.
    #[error("the elements of {0:?} are not all objects or all scalars of one type")]
    MixedList(String),
    /// A directive such as `$patch`, `$retainKeys` or `$setElementOrder` is not used as it must be: answer 400.
    #[error("invalid use of {directive} at {field:?}")]
    Directive {
        /// The directive.
        directive: &'static str,
        /// The member in which it stands.
        field: String,
    },
}

impl PatchError {
    /// The HTTP status with which kube-apiserver answers such a patch.
    pub fn http_status(&self) -> u16 {
        match self {
            Self::Malformed(_) | Self::NotAnObject | Self::Directive { .. } => 400,
            Self::TooManyOperations { .. } | Self::TooLarge { .. } => 413,
            Self::UnknownKind { .. } => 415,
            Self::Operation { .. }
            | Self::UnknownField { .. }
            | Self::MissingMergeKey { .. }
            | Self::NoMergeKey(_)
            | Self::MixedList(_) => 422,
        }
    }
}
