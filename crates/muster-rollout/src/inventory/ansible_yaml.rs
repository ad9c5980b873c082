//! Ansible's inventory as YAML: groups with `hosts`, `children` and `vars`.
//!
//! It refuses to know what the variables mean.

use super::ansible::{Model, Var, Vars, fault};
use super::{Format, Inventory, ansible_settings};
use crate::document::{Content, FileError, Node, Position, nearest};

/// Reads an inventory.
pub(super) fn read(node: &Node) -> Result<Inventory, FileError> {
    let mut model = Model::default();
    for (position, name, group) in block(node, "")? {
        read_group(&mut model, name, *position, group)?;
    }
    ansible_settings::inventory(model, Format::AnsibleYaml)
}

/// The tree is no deeper than its reader allows, and so is this.
fn read_group(
    model: &mut Model,
    name: &str,
    position: Position,
    node: &Node,
) -> Result<(), FileError> {
    model.group(name, position)?;
    for (position, key, value) in block(node, name)? {
        match key.as_str() {
            "hosts" => read_hosts(model, name, value)?,
            "vars" => {
                for (variable, var) in variables(value, name)? {
                    model.group_var(name, &variable, var)?;
                }
            }
            "children" => {
                for (position, child, value) in block(value, name)? {
                    if name != "all" {
                        model.child(name, child, *position)?;
                    }
                    read_group(model, child, *position, value)?;
                }
            }
            other => {
                let cure = match nearest(other, &["hosts", "children", "vars"]) {
                    Some(near) => format!("did you mean {near}?"),
                    None => {
                        "a group has hosts, children and vars; a host stands below hosts".to_owned()
                    }
                };
                let field = format!("{name}.{other}");
                return Err(fault(*position, &field, "a group has no such field", cure));
            }
        }
    }
    Ok(())
}

fn read_hosts(model: &mut Model, group: &str, node: &Node) -> Result<(), FileError> {
    if let Content::List(_) = node.content {
        return Err(fault(
            node.position,
            group,
            "hosts is a list",
            "write each host as a key: `hosts: {NAME: {}}`",
        ));
    }
    for (position, names, value) in block(node, group)? {
        let vars: Vars = variables(value, names)?.into_iter().collect();
        model.hosts(group, names, *position, &vars)?;
    }
    Ok(())
}

/// Variables that are single values; what playbooks keep in lists and blocks says nothing about a connection.
fn variables(node: &Node, field: &str) -> Result<Vec<(String, Var)>, FileError> {
    let mut variables = Vec::new();
    for (position, name, value) in block(node, field)? {
        if let Some(value) = value.scalar() {
            let position = *position;
            variables.push((name.clone(), Var { position, value }));
        }
    }
    Ok(variables)
}

/// The fields of a block; nothing is an empty one.
fn block<'a>(node: &'a Node, field: &str) -> Result<&'a [(Position, String, Node)], FileError> {
    match &node.content {
        Content::Block(fields) => Ok(fields),
        Content::Null => Ok(&[]),
        _ => Err(fault(
            node.position,
            field,
            "here stands a single value or a list",
            "write a block: NAME: …",
        )),
    }
}
