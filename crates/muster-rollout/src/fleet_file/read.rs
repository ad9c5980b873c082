//! From text to [`FleetConfiguration`].
//!
//! It refuses to know what follows from the fields.

use super::written::FleetConfiguration;
use crate::document::{Content, Faults, FileError, Node, Position, parse, read_as};

/// The version of the format.
pub const API_VERSION: &str = "muster.dev/v1alpha1";
/// Its kind.
pub const KIND: &str = "FleetConfiguration";

impl FleetConfiguration {
    /// Reads a fleet file, YAML or JSON.
    ///
    /// # Errors
    /// [`FileError`] with line, column, field and cure.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        let node = parse(text)?;
        check_kind(&node)?;
        Ok(read_as(&node)?)
    }
}

/// Another kind of file is told before its fields are.
fn check_kind(node: &Node) -> Result<(), FileError> {
    let mut faults = Faults::default();
    if !matches!(node.content, Content::Block(_)) {
        let cure = format!("begin with apiVersion: {API_VERSION} and kind: {KIND}");
        faults.push(node.position, "", "this is no fleet file", cure);
        return faults.end(());
    }
    for (field, wanted) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        let found = node.get(field);
        let text = found.and_then(Node::scalar).unwrap_or_default();
        if text == wanted {
            continue;
        }
        let position = found.map_or(Position { line: 1, column: 1 }, |node| node.position);
        let what = match found {
            None => format!("the field {field} is missing"),
            Some(_) => format!("this is {:?}", text.chars().take(64).collect::<String>()),
        };
        let cure = match text.as_str() {
            "Cluster" => "give a k0sctl file by --inventory".to_owned(),
            _ => format!("write {field}: {wanted}"),
        };
        faults.push(position, field, what, cure);
    }
    faults.end(())
}
