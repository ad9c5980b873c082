//! A bench for the tests of the plugins: the whole chain over objects in memory, with a user.
//!
//! Refuses to be compiled into the product.

use std::sync::Arc;

use muster_machinery::{
    resources::{self, Resource},
    status::Status,
};
use serde_json::{Value, json};

use super::{Admission, AdmissionOptions, AdmissionRequest, Operation};
use crate::{
    authz::{Authorizer, MASTERS, sample},
    notes::Notes,
    registry::{DeleteOptions, WriteOptions},
    request::UserInfo,
    system::AdmissionMetrics,
};

/// The chain, objects, and who asks: at first a member of `system:masters`.
pub(crate) struct Bench {
    admission: Admission,
    user: UserInfo,
    notes: Notes,
}

impl Bench {
    pub(crate) fn new(objects: impl IntoIterator<Item = Value>) -> Self {
        let reader = sample::Objects::of(objects);
        let authorizer = Arc::new(Authorizer::new(reader.clone()));
        Self {
            admission: Admission::new(reader, authorizer, Arc::new(AdmissionMetrics::default())),
            notes: Notes::default(),
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
        let resource = resource(&info.group, &info.resource);
        let sub = info.subresource.as_deref();
        let sub = sub.and_then(|sub| resource.subresource(sub));
        let (write, delete) = (WriteOptions::default(), DeleteOptions::default());
        let options = match operation {
            Operation::Delete => AdmissionOptions::Delete(&delete),
            _ => AdmissionOptions::Write(&write),
        };
        let request = AdmissionRequest {
            user: &self.user,
            info: &info,
            operation,
            stored: resource,
            served: resource,
            sub,
            options,
            notes: &self.notes,
        };
        let admitted = async {
            match (object.as_mut(), old.as_ref()) {
                (Some(object), old) => {
                    self.admission.change(&request, object, old).await?;
                    self.admission.judge(&request, Some(object), old).await
                }
                (None, Some(old)) => self.admission.delete(&request, old).await,
                (None, None) => self.admission.judge(&request, None, None).await,
            }
        };
        // No webhook is configured, so there is nothing to wait for.
        futures::executor::block_on(admitted)?;
        Ok(object.unwrap_or_default())
    }

    /// What the client was warned of so far.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.notes.warnings()
    }

    /// What was remarked for the audit log so far.
    pub(crate) fn remark(&self, key: &str) -> Option<String> {
        self.notes.annotations().remove(key)
    }
}

fn resource(group: &str, plural: &str) -> &'static Resource {
    resources::find_preferred(group, plural).expect("a built-in resource")
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
