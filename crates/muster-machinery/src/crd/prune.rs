//! Takes out of an object what its schema does not know.

use serde_json::{Map, Value};

use super::schema::{Additional, Schema};

/// What every resource has, whatever its schema says.
const META: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Prunes a value. With `is_resource` it counts as an object with metadata of its own, as the root always does. Answers
/// the paths of what was taken out, sorted.
pub fn prune(value: &mut Value, schema: &Schema, is_resource: bool) -> Vec<String> {
    let mut pruned = Pruned::default();
    let is_resource = is_resource || schema.is_resource;
    pruned.value(value, Some(schema), is_resource);
    pruned.paths.sort_unstable();
    pruned.paths
}

#[derive(Default)]
struct Pruned {
    at: String,
    paths: Vec<String>,
}

impl Pruned {
    /// Goes on below a member.
    fn below(&mut self, name: &str, then: impl FnOnce(&mut Self)) {
        let length = self.at.len();
        if !self.at.is_empty() {
            self.at.push('.');
        }
        self.at.push_str(name);
        then(self);
        self.at.truncate(length);
    }

    fn element(&mut self, index: usize, then: impl FnOnce(&mut Self)) {
        let length = self.at.len();
        self.at.push_str(&format!("[{index}]"));
        then(self);
        self.at.truncate(length);
    }

    fn record(&mut self, name: &str) {
        let dot = if self.at.is_empty() { "" } else { "." };
        self.paths.push(format!("{}{dot}{name}", self.at));
    }

    fn value(&mut self, value: &mut Value, schema: Option<&Schema>, is_resource: bool) {
        let keeps = schema.is_some_and(|schema| schema.preserves_unknown);
        match value {
            Value::Object(map) if keeps => self.known(map, schema, is_resource),
            Value::Object(map) => self.map(map, schema, is_resource),
            Value::Array(list) => {
                let items = schema.and_then(|schema| schema.items.as_deref());
                for (index, item) in list.iter_mut().enumerate() {
                    self.element(index, |this| match (keeps, items) {
                        // Unknown lists inside of what is kept are kept.
                        (true, None) => {}
                        (true, Some(items)) => this.kept(item, items),
                        (false, items) => {
                            this.value(item, items, items.is_some_and(|items| items.is_resource));
                        }
                    });
                }
            }
            _ => {}
        }
    }

    /// An element of a list whose unknown fields are kept.
    fn kept(&mut self, value: &mut Value, schema: &Schema) {
        match value {
            Value::Object(map) => self.known(map, Some(schema), schema.is_resource),
            Value::Array(list) => {
                if let Some(items) = schema.items.as_deref() {
                    for (index, item) in list.iter_mut().enumerate() {
                        self.element(index, |this| this.kept(item, items));
                    }
                }
            }
            _ => {}
        }
    }

    fn map(&mut self, map: &mut Map<String, Value>, schema: Option<&Schema>, is_resource: bool) {
        let names: Vec<String> = map.keys().cloned().collect();
        for name in names {
            if is_resource && META.contains(&name.as_str()) {
                continue;
            }
            let property = schema.and_then(|schema| schema.properties.get(&name));
            let additional = schema.and_then(|schema| schema.additional.as_ref());
            let below = match (property, additional) {
                (Some(schema), _) => Some(Some(schema)),
                (None, Some(Additional::Schema(schema))) => Some(Some(&**schema)),
                (None, Some(Additional::Allowed(_))) => Some(None),
                (None, None) => None,
            };
            match (below, map.get_mut(&name)) {
                (Some(schema), Some(value)) => self.below(&name, |this| {
                    this.value(
                        value,
                        schema,
                        schema.is_some_and(|schema| schema.is_resource),
                    );
                }),
                _ => {
                    if !META.contains(&name.as_str()) || !self.at.is_empty() {
                        self.record(&name);
                    }
                    map.remove(&name);
                }
            }
        }
    }

    /// Prunes only below what the schema knows.
    fn known(&mut self, map: &mut Map<String, Value>, schema: Option<&Schema>, is_resource: bool) {
        let Some(schema) = schema else {
            return;
        };
        for (name, value) in map {
            if is_resource && META.contains(&name.as_str()) {
                continue;
            }
            let below = match (schema.properties.get(name), &schema.additional) {
                (Some(schema), _) => Some(schema),
                (None, Some(Additional::Schema(schema))) => Some(&**schema),
                (None, Some(Additional::Allowed(_))) => None,
                (None, None) => continue,
            };
            self.below(name, |this| {
                this.value(value, below, below.is_some_and(|schema| schema.is_resource));
            });
        }
    }
}
