//! How lists are printed with `-o`: text, JSON, YAML, Go templates and JSONPath.
//!
//! It refuses to know what is printed.

use super::jsonpath;
use super::line::Parsed;
use super::refusal::Refusal;
use super::template::Template;
use crate::printer::Printer;
use muster_kubeadm::config::to_yaml;
use serde_json::Value;

/// An object with its fields in the order of its Go type.
pub(super) type Fields<'a> = Vec<(&'a str, Value)>;

/// Go's `%#v` of a text.
pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// JSON as Go indents it, with the fields in the order given; `depth` is how deep the object already is.
pub(super) fn go_json(fields: &[(&str, Value)], indent: usize, depth: usize) -> String {
    let pad = " ".repeat(indent * (depth + 1));
    let lines: Vec<String> = fields
        .iter()
        .map(|(name, value)| {
            format!(
                "{pad}{}: {}",
                quoted(name),
                pretty(value, indent, depth + 1)
            )
        })
        .collect();
    format!(
        "{{\n{}\n{}}}",
        lines.join(",\n"),
        " ".repeat(indent * depth)
    )
}

fn pretty(value: &Value, indent: usize, depth: usize) -> String {
    match value {
        Value::Array(items) if !items.is_empty() => {
            let pad = " ".repeat(indent * (depth + 1));
            let items: Vec<String> = items
                .iter()
                .map(|item| format!("{pad}{}", pretty(item, indent, depth + 1)))
                .collect();
            format!("[\n{}\n{}]", items.join(",\n"), " ".repeat(indent * depth))
        }
        Value::Object(map) if !map.is_empty() => {
            let fields: Fields<'_> = map
                .iter()
                .map(|(name, value)| (name.as_str(), value.clone()))
                .collect();
            go_json(&fields, indent, depth)
        }
        other => other.to_string(),
    }
}

/// The same object for templates and YAML, where the order is no matter.
pub(super) fn object(fields: &[(&str, Value)]) -> Value {
    Value::Object(
        fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect(),
    )
}

/// How results are printed.
pub(super) enum Format {
    /// For people: whoever prints knows how.
    Text,
    /// JSON with four spaces.
    Json,
    /// YAML.
    Yaml,
    /// A Go template.
    Template(Template),
    /// A JSONPath template.
    Path(jsonpath::Program),
    /// A JSONPath whose results are printed as a JSON list.
    PathAsJson(jsonpath::Program),
}

const FORMATS: &str = "go-template,go-template-file,json,jsonpath,jsonpath-as-json,jsonpath-file,kyaml,template,templatefile,text,yaml";

impl Format {
    /// Reads `-o`.
    pub(super) fn of(line: &Parsed) -> Result<Self, Refusal> {
        let wanted = line.text("output").unwrap_or("text");
        let forgiving = line.is_on("allow-missing-template-keys");
        let (kind, body) = wanted.split_once('=').unwrap_or((wanted, ""));
        let refuse =
            |why: String| Refusal::usage(format!("could not construct output printer: {why}"));
        let read = |path: &str| {
            std::fs::read_to_string(path)
                .map_err(|error| refuse(format!("error reading --template {path}, {error}")))
        };
        let needs = |what: &str| {
            if body.is_empty() {
                Err(refuse(format!(
                    "template format specified but no {what} given"
                )))
            } else {
                Ok(())
            }
        };
        let template = |text: &str| {
            Template::parse(text, forgiving)
                .map(Self::Template)
                .map_err(|error| refuse(format!("error parsing template {text}, {error}")))
        };
        let path = |text: &str| {
            jsonpath::Program::parse(text, forgiving)
                .map_err(|error| refuse(format!("error parsing jsonpath {text}, {error}")))
        };
        match kind {
            "" | "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            "yaml" => Ok(Self::Yaml),
            "go-template" | "template" => {
                needs("template")?;
                template(body)
            }
            "go-template-file" | "templatefile" => {
                needs("template")?;
                template(&read(body)?)
            }
            "jsonpath" => {
                needs("template")?;
                path(body).map(Self::Path)
            }
            "jsonpath-file" => {
                needs("template")?;
                path(&read(body)?).map(Self::Path)
            }
            "jsonpath-as-json" => {
                needs("template")?;
                path(body).map(Self::PathAsJson)
            }
            "kyaml" => Err(refuse("kyaml is not provided by muster; use yaml".into())),
            _ => Err(refuse(format!(
                "unable to match a printer suitable for the output format {wanted:?}, allowed formats are: {FORMATS}"
            ))),
        }
    }

    /// Whether people read it.
    pub(super) const fn is_text(&self) -> bool {
        matches!(self, Self::Text)
    }

    /// Prints one object; several YAML documents are kept apart by `first`.
    pub(super) fn print(
        &self,
        fields: &[(&str, Value)],
        first: bool,
        printer: Printer,
    ) -> Result<(), Refusal> {
        let failed = |error: String| Refusal::failed(format!("error executing template: {error}"));
        match self {
            Self::Text => {}
            Self::Json => printer.line(go_json(fields, 4, 0)),
            Self::Yaml => {
                let separator = if first { "" } else { "---\n" };
                printer.text(format!("{separator}{}", to_yaml(&object(fields))));
            }
            Self::Template(template) => {
                printer.text(template.run(&object(fields)).map_err(failed)?);
            }
            Self::Path(program) => printer.text(program.run(&object(fields)).map_err(failed)?),
            Self::PathAsJson(program) => {
                let found = program.find(&object(fields)).map_err(failed)?;
                printer.line(pretty(&Value::Array(found), 4, 0));
            }
        }
        Ok(())
    }
}
