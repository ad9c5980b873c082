//! A bench for the tests of the plugins: the whole chain over objects in memory, with a user.
//!
//! Refuses to be compiled into the product.

use std::sync::Arc;

use jiff::Timestamp;
use muster_machinery::status::Status;
use serde_json::{Value, json};

use super::{Admission, AdmissionRequest, Operation};
use crate::{
    authz::{Authorizer, MASTERS, sample},
    request::UserInfo,
};

/// The chain, objects, and who asks: at first a member of `system:masters`.
pub(crate) struct Bench {
    admission: Admission,
    user: UserInfo,
}

impl Bench {
    pub(crate) fn new(objects: impl IntoIterator<Item = Value>) -> Self {
        let reader = sample::Objects::of(objects);
        let authorizer = Arc::new(Authorizer::new(reader.clone()));
        Self {
            admission: Admission::new(reader, authorizer),
            user: UserInfo::new("root", [MASTERS]),
        }
    }

    /// The same bench with another user.
    pub(crate) fn by(self, user: UserInfo) -> Self {
        Self { user, ..self }
    }

    /// Admits a creation and gives the object as it came out.
    pub(crate) fn create(&self, target: &str, object: Value) -> Result<Value, Box<Status>> {
        self.run(Operation::Create, target, Some(object), None)
    }

    /// Admits a change.
    pub(crate) fn update(
        &self,
        target: &str,
        old: Value,
        object: Value,
    ) -> Result<Value, Box<Status>> {
        self.run(Operation::Update, target, Some(object), Some(old))
    }

    /// Admits anything; the target is as in [`sample::ask`].
    pub(crate) fn run(
        &self,
        operation: Operation,
        target: &str,
        mut object: Option<Value>,
        old: Option<Value>,
    ) -> Result<Value, Box<Status>> {
        let info = sample::resource(target);
        self.admission.admit(AdmissionRequest {
            user: &self.user,
            info: &info,
            operation,
            object: object.as_mut(),
            old: old.as_ref(),
            now: Timestamp::UNIX_EPOCH,
        })?;
        Ok(object.unwrap_or_default())
    }
}

pub(crate) fn namespace(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name},
        "status": {"phase": "Active"},
    })
}

pub(crate) fn account(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": namespace, "uid": format!("{name}-uid")},
    })
}
