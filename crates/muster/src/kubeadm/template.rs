//! Go templates as far as `-o go-template` needs them: fields, pipelines, `if`, `range`, `with`, variables and the
//! functions of Go's own library that compare, index and print.
//!
//! `define`, `template`, `block`, `break`, `continue` and method calls are refused when the template is read, and so
//! is every function that is not named here. It refuses to know what is printed.

use serde_json::Value;
use std::collections::HashMap;
use std::iter::Peekable;

/// Deeper nesting is refused.
const MAX_DEPTH: usize = 32;
/// More output is refused.
const MAX_OUTPUT: usize = 8 << 20;

/// A template that was read.
#[derive(Debug)]
pub(super) struct Template {
    nodes: Vec<Node>,
    forgiving: bool,
}

#[derive(Debug)]
enum Node {
    Text(String),
    Print(Pipeline),
    If(Pipeline, Vec<Self>, Vec<Self>),
    Range(Pipeline, Vec<Self>, Vec<Self>),
    With(Pipeline, Vec<Self>, Vec<Self>),
}

/// `$a, $b := command | command`.
#[derive(Debug)]
struct Pipeline {
    variables: Vec<String>,
    assigns: bool,
    commands: Vec<Vec<Operand>>,
}

#[derive(Clone, Debug)]
enum Operand {
    Dot,
    Field(Vec<String>),
    Variable(String, Vec<String>),
    Literal(Value),
    Nil,
    Function(String),
    Group(std::rc::Rc<Pipeline>, Vec<String>),
}

const FUNCTIONS: [&str; 15] = [
    "and", "or", "not", "len", "index", "print", "printf", "println", "eq", "ne", "lt", "le", "gt",
    "ge", "exists",
];

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Number(f64),
    Field(String),
    /// A field that follows the token before it without a space.
    Chained(String),
    Variable(String),
    Pipe,
    Open,
    Close,
    Declare,
    Assign,
    Comma,
}

impl Template {
    /// Reads a template; a forgiving one prints `<no value>` for what is not there.
    pub(super) fn parse(text: &str, forgiving: bool) -> Result<Self, String> {
        let parts = split(text)?;
        let mut parts = parts.into_iter().peekable();
        let nodes = nodes(&mut parts, 0)?;
        match parts.next() {
            None => Ok(Self { nodes, forgiving }),
            Some(_) => Err("unexpected {{end}} or {{else}}".into()),
        }
    }

    /// Carries it out.
    pub(super) fn run(&self, data: &Value) -> Result<String, String> {
        let mut run = Run {
            forgiving: self.forgiving,
            out: String::new(),
            scopes: vec![HashMap::from([("$".to_owned(), data.clone())])],
        };
        run.nodes(&self.nodes, data)?;
        Ok(run.out)
    }
}

enum Part {
    Text(String),
    Action(Vec<Token>),
}

/// Texts and actions, with `{{-` and `-}}` trimming.
fn split(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    let mut trim = false;
    loop {
        let (plain, after) = match rest.split_once("{{") {
            Some((plain, after)) => (plain, Some(after)),
            None => (rest, None),
        };
        let mut plain = if trim { plain.trim_start() } else { plain };
        let Some(after) = after else {
            parts.push(Part::Text(plain.to_owned()));
            return Ok(parts);
        };
        let after = match after.strip_prefix("- ") {
            Some(after) => {
                plain = plain.trim_end();
                after
            }
            None => after,
        };
        parts.push(Part::Text(plain.to_owned()));
        let end = end_of_action(after).ok_or("unclosed action")?;
        let (mut action, next) = (&after[..end], &after[end + 2..]);
        trim = action.ends_with(" -");
        if trim {
            action = &action[..action.len() - 2];
        }
        if !(action.trim().starts_with("/*") && action.trim().ends_with("*/")) {
            parts.push(Part::Action(tokens(action)?));
        }
        rest = next;
    }
}

fn end_of_action(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut quote = None;
    let mut at = 0;
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(b'"'), b'\\') => at += 1,
            (Some(open), byte) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, byte @ (b'"' | b'`')) => quote = Some(byte),
            (None, b'}') if bytes.get(at + 1) == Some(&b'}') => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let mut characters = text.chars().peekable();
    let is_name = |c: &char| c.is_alphanumeric() || *c == '_';
    let mut spaced = true;
    while let Some(&first) = characters.peek() {
        let apart = std::mem::replace(&mut spaced, first.is_whitespace());
        match first {
            c if c.is_whitespace() => {
                characters.next();
            }
            '|' => push(&mut found, &mut characters, Token::Pipe),
            '(' => push(&mut found, &mut characters, Token::Open),
            ')' => push(&mut found, &mut characters, Token::Close),
            ',' => push(&mut found, &mut characters, Token::Comma),
            '=' => push(&mut found, &mut characters, Token::Assign),
            ':' => {
                characters.next();
                if characters.next() != Some('=') {
                    return Err("expected :=".into());
                }
                found.push(Token::Declare);
            }
            '"' => found.push(Token::Text(quoted(&mut characters)?)),
            '`' => {
                characters.next();
                let mut raw = String::new();
                loop {
                    match characters.next() {
                        Some('`') => break,
                        Some(c) => raw.push(c),
                        None => return Err("unterminated raw quoted string".into()),
                    }
                }
                found.push(Token::Text(raw));
            }
            '.' => {
                characters.next();
                let name = take_while(&mut characters, is_name);
                let follows = matches!(
                    found.last(),
                    Some(Token::Field(_) | Token::Chained(_) | Token::Variable(_) | Token::Close)
                );
                found.push(if follows && !apart {
                    Token::Chained(name)
                } else {
                    Token::Field(name)
                });
            }
            '$' => {
                characters.next();
                found.push(Token::Variable(format!(
                    "${}",
                    take_while(&mut characters, is_name)
                )));
            }
            c if c.is_ascii_digit() || c == '-' || c == '+' => {
                let number = take_while(&mut characters, |c| {
                    c.is_ascii_alphanumeric() || "+-._".contains(*c)
                });
                found.push(Token::Number(
                    number
                        .parse()
                        .map_err(|_| format!("bad number syntax: {number:?}"))?,
                ));
            }
            c if is_name(&c) => found.push(Token::Word(take_while(&mut characters, is_name))),
            c => return Err(format!("unexpected {c:?} in command")),
        }
    }
    Ok(found)
}

fn push(found: &mut Vec<Token>, characters: &mut impl Iterator<Item = char>, token: Token) {
    characters.next();
    found.push(token);
}

fn take_while(
    characters: &mut Peekable<impl Iterator<Item = char>>,
    of: impl Fn(&char) -> bool,
) -> String {
    let mut text = String::new();
    while let Some(c) = characters.next_if(&of) {
        text.push(c);
    }
    text
}

/// A Go text literal with its escapes.
pub(super) fn quoted(characters: &mut impl Iterator<Item = char>) -> Result<String, String> {
    let quote = characters.next();
    let mut text = String::new();
    loop {
        match characters.next() {
            c if c == quote => return Ok(text),
            Some('\\') => match characters.next() {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('r') => text.push('\r'),
                Some(c @ ('\\' | '"' | '\'')) => text.push(c),
                other => return Err(format!("unknown escape {other:?}")),
            },
            Some(c) => text.push(c),
            None => return Err("unterminated quoted string".into()),
        }
    }
}

type Parts = Peekable<std::vec::IntoIter<Part>>;

fn nodes(parts: &mut Parts, depth: usize) -> Result<Vec<Node>, String> {
    if depth > MAX_DEPTH {
        return Err("nested too deeply".into());
    }
    let mut found = Vec::new();
    while let Some(part) = parts.next_if(|part| !ends_block(part)) {
        match part {
            Part::Text(text) => found.push(Node::Text(text)),
            Part::Action(tokens) => found.push(action(tokens, parts, depth)?),
        }
    }
    Ok(found)
}

fn ends_block(part: &Part) -> bool {
    matches!(part, Part::Action(tokens) if matches!(tokens.first(), Some(Token::Word(word)) if word == "end" || word == "else"))
}

fn action(tokens: Vec<Token>, parts: &mut Parts, depth: usize) -> Result<Node, String> {
    let Some(Token::Word(word)) = tokens.first() else {
        return Ok(Node::Print(pipeline(&tokens)?));
    };
    match word.as_str() {
        "if" | "range" | "with" => {
            let word = word.clone();
            let subject = pipeline(&tokens[1..])?;
            let (body, otherwise) = block(parts, depth)?;
            Ok(match word.as_str() {
                "if" => Node::If(subject, body, otherwise),
                "range" => Node::Range(subject, body, otherwise),
                _ => Node::With(subject, body, otherwise),
            })
        }
        "define" | "template" | "block" | "break" | "continue" => {
            Err(format!("{{{{{word}}}}} is not provided by muster"))
        }
        _ => Ok(Node::Print(pipeline(&tokens)?)),
    }
}

/// Until `end`, with what stands behind `else`.
fn block(parts: &mut Parts, depth: usize) -> Result<(Vec<Node>, Vec<Node>), String> {
    let body = nodes(parts, depth + 1)?;
    let Some(Part::Action(tokens)) = parts.next() else {
        return Err("unexpected EOF: an {{end}} is missing".into());
    };
    match tokens.as_slice() {
        [Token::Word(end)] if end == "end" => Ok((body, Vec::new())),
        [Token::Word(_), Token::Word(word), ..] if word == "if" || word == "with" => {
            // `else if` has no `end` of its own.
            Ok((body, vec![action(tokens[1..].to_vec(), parts, depth + 1)?]))
        }
        [Token::Word(_)] => {
            let otherwise = nodes(parts, depth + 1)?;
            match parts.next() {
                Some(Part::Action(end)) if end == [Token::Word("end".into())] => {
                    Ok((body, otherwise))
                }
                _ => Err("an {{end}} is missing".into()),
            }
        }
        _ => Err("unexpected words behind {{else}} or {{end}}".into()),
    }
}

fn pipeline(tokens: &[Token]) -> Result<Pipeline, String> {
    let mut variables = Vec::new();
    let mut assigns = false;
    let mut rest = tokens;
    if let Some(at) = tokens
        .iter()
        .position(|token| matches!(token, Token::Declare | Token::Assign))
    {
        assigns = tokens[at] == Token::Assign;
        for token in &tokens[..at] {
            match token {
                Token::Variable(name) => variables.push(name.clone()),
                Token::Comma => {}
                _ => return Err("only variables can be declared".into()),
            }
        }
        rest = &tokens[at + 1..];
    }
    let mut at = 0;
    let commands = commands(rest, &mut at, 0)?;
    if at != rest.len() || variables.len() > 2 {
        return Err("unexpected token in pipeline".into());
    }
    Ok(Pipeline {
        variables,
        assigns,
        commands,
    })
}

fn commands(tokens: &[Token], at: &mut usize, depth: usize) -> Result<Vec<Vec<Operand>>, String> {
    if depth > MAX_DEPTH {
        return Err("nested too deeply".into());
    }
    let mut found = vec![Vec::new()];
    while let Some(token) = tokens.get(*at) {
        if *token == Token::Close {
            break;
        }
        *at += 1;
        let operand = match token {
            Token::Pipe => {
                found.push(Vec::new());
                continue;
            }
            Token::Text(text) => Operand::Literal(Value::from(text.as_str())),
            Token::Number(number) => Operand::Literal(whole(*number)),
            Token::Field(name) if name.is_empty() => Operand::Dot,
            Token::Field(name) => Operand::Field(fields(tokens, at, Some(name))),
            Token::Variable(name) => Operand::Variable(name.clone(), fields(tokens, at, None)),
            Token::Open => {
                let inner = commands(tokens, at, depth + 1)?;
                if tokens.get(*at) != Some(&Token::Close) {
                    return Err("unclosed left paren".into());
                }
                *at += 1;
                let inner = Pipeline {
                    variables: Vec::new(),
                    assigns: false,
                    commands: inner,
                };
                Operand::Group(std::rc::Rc::new(inner), fields(tokens, at, None))
            }
            Token::Word(word) => match word.as_str() {
                "true" => Operand::Literal(Value::Bool(true)),
                "false" => Operand::Literal(Value::Bool(false)),
                "nil" => Operand::Nil,
                name if FUNCTIONS.contains(&name) => Operand::Function(name.to_owned()),
                name => return Err(format!("function {name:?} not defined")),
            },
            _ => return Err("unexpected token in operand".into()),
        };
        if let Some(last) = found.last_mut() {
            last.push(operand);
        }
    }
    if found.iter().any(Vec::is_empty) {
        return Err("missing value for command".into());
    }
    Ok(found)
}

/// `.a.b.c`: as the words stand without spaces, they follow each other.
fn fields(tokens: &[Token], at: &mut usize, first: Option<&String>) -> Vec<String> {
    let mut path: Vec<String> = first.into_iter().cloned().collect();
    while let Some(Token::Chained(name)) = tokens.get(*at) {
        if name.is_empty() {
            break;
        }
        path.push(name.clone());
        *at += 1;
    }
    path
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "checked to be whole and small"
)]
fn whole(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        Value::from(number as i64)
    } else {
        Value::from(number)
    }
}

struct Run {
    forgiving: bool,
    out: String,
    scopes: Vec<HashMap<String, Value>>,
}

impl Run {
    fn write(&mut self, text: &str) -> Result<(), String> {
        if self.out.len() + text.len() > MAX_OUTPUT {
            return Err("the output is too long".into());
        }
        self.out.push_str(text);
        Ok(())
    }

    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<(), String> {
        for node in nodes {
            match node {
                Node::Text(text) => self.write(text)?,
                Node::Print(pipeline) => {
                    let value = self.pipeline(pipeline, dot)?;
                    if pipeline.variables.is_empty() {
                        self.write(&shown(value.as_ref()))?;
                    }
                }
                Node::If(subject, body, otherwise) => {
                    self.scoped(|run| {
                        let value = run.pipeline(subject, dot)?;
                        run.nodes(
                            if truth(value.as_ref()) {
                                body
                            } else {
                                otherwise
                            },
                            dot,
                        )
                    })?;
                }
                Node::With(subject, body, otherwise) => {
                    self.scoped(|run| match run.pipeline(subject, dot)? {
                        Some(value) if truth(Some(&value)) => run.nodes(body, &value),
                        _ => run.nodes(otherwise, dot),
                    })?;
                }
                Node::Range(subject, body, otherwise) => {
                    self.scoped(|run| run.range(subject, body, otherwise, dot))?;
                }
            }
        }
        Ok(())
    }

    fn scoped(&mut self, what: impl FnOnce(&mut Self) -> Result<(), String>) -> Result<(), String> {
        self.scopes.push(HashMap::new());
        let result = what(self);
        self.scopes.pop();
        result
    }

    fn range(
        &mut self,
        subject: &Pipeline,
        body: &[Node],
        otherwise: &[Node],
        dot: &Value,
    ) -> Result<(), String> {
        let bare = Pipeline {
            variables: Vec::new(),
            assigns: false,
            commands: subject.commands.clone(),
        };
        let items: Vec<(Value, Value)> = match self.pipeline(&bare, dot)? {
            Some(Value::Array(items)) => items
                .into_iter()
                .enumerate()
                .map(|(at, item)| (Value::from(at), item))
                .collect(),
            Some(Value::Object(map)) => map
                .into_iter()
                .map(|(key, item)| (Value::from(key), item))
                .collect(),
            None | Some(Value::Null) => Vec::new(),
            Some(other) => return Err(format!("range can't iterate over {}", shown(Some(&other)))),
        };
        if items.is_empty() {
            return self.nodes(otherwise, dot);
        }
        for (key, item) in items {
            self.scoped(|run| {
                match subject.variables.as_slice() {
                    [one] => run.declare(one, item.clone()),
                    [first, second] => {
                        run.declare(first, key);
                        run.declare(second, item.clone());
                    }
                    _ => {}
                }
                run.nodes(body, &item)
            })?;
        }
        Ok(())
    }

    fn declare(&mut self, name: &str, value: Value) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name.to_owned(), value);
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Option<Value>, String> {
        let mut value: Option<Option<Value>> = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, value, dot)?);
        }
        let value = value.flatten();
        if let [name] = pipeline.variables.as_slice() {
            let new = value.clone().unwrap_or(Value::Null);
            if pipeline.assigns {
                let scope = self
                    .scopes
                    .iter_mut()
                    .rev()
                    .find(|scope| scope.contains_key(name));
                let scope = scope.ok_or_else(|| format!("undefined variable {name:?}"))?;
                scope.insert(name.clone(), new);
            } else {
                self.declare(name, new);
            }
        }
        Ok(value)
    }

    fn command(
        &mut self,
        command: &[Operand],
        piped: Option<Option<Value>>,
        dot: &Value,
    ) -> Result<Option<Value>, String> {
        let [first, rest @ ..] = command else {
            return Err("empty command".into());
        };
        let Operand::Function(name) = first else {
            if !rest.is_empty() || piped.is_some() {
                return Err("can't give argument to non-function".into());
            }
            return self.operand(first, dot);
        };
        let mut arguments = Vec::new();
        for operand in rest {
            arguments.push(match operand {
                Operand::Function(_) => self.command(std::slice::from_ref(operand), None, dot)?,
                other => self.operand(other, dot)?,
            });
        }
        arguments.extend(piped);
        call(name, &arguments)
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Option<Value>, String> {
        match operand {
            Operand::Dot => Ok(Some(dot.clone())),
            Operand::Nil => Ok(None),
            Operand::Literal(value) => Ok(Some(value.clone())),
            Operand::Field(path) => self.follow(Some(dot.clone()), path),
            Operand::Variable(name, path) => {
                let found = self.scopes.iter().rev().find_map(|scope| scope.get(name));
                let found = found
                    .cloned()
                    .ok_or_else(|| format!("undefined variable {name:?}"))?;
                self.follow(Some(found), path)
            }
            Operand::Group(pipeline, path) => {
                let value = self.pipeline(pipeline, dot)?;
                self.follow(value, path)
            }
            Operand::Function(name) => call(name, &[]),
        }
    }

    fn follow(&self, value: Option<Value>, path: &[String]) -> Result<Option<Value>, String> {
        let mut value = value;
        for name in path {
            value = match value {
                Some(Value::Object(mut map)) => match map.remove(name) {
                    Some(found) => Some(found),
                    None if self.forgiving => None,
                    None => return Err(format!("map has no entry for key {name:?}")),
                },
                None | Some(Value::Null) if self.forgiving => None,
                None | Some(Value::Null) => {
                    return Err(format!("nil data; no entry for key {name:?}"));
                }
                Some(_) => {
                    return Err(format!(
                        "can't evaluate field {name} in a value that is no map"
                    ));
                }
            };
        }
        Ok(value)
    }
}

fn truth(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Bool(flag)) => *flag,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(map)) => !map.is_empty(),
    }
}

/// As Go prints values.
pub(super) fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "<no value>".into(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => {
            let items: Vec<String> = items.iter().map(|item| shown(Some(item))).collect();
            format!("[{}]", items.join(" "))
        }
        Some(Value::Object(map)) => {
            let entries: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{key}:{}", shown(Some(value))))
                .collect();
            format!("map[{}]", entries.join(" "))
        }
        Some(other) => other.to_string(),
    }
}

fn call(name: &str, arguments: &[Option<Value>]) -> Result<Option<Value>, String> {
    let needs = |count: usize| {
        if arguments.len() < count {
            Err(format!(
                "wrong number of args for {name}: want at least {count} got {}",
                arguments.len()
            ))
        } else {
            Ok(())
        }
    };
    let first = arguments.first().cloned().flatten();
    let text = |value: String| Ok(Some(Value::String(value)));
    let flag = |value: bool| Ok(Some(Value::Bool(value)));
    match name {
        "not" => {
            needs(1)?;
            flag(!truth(first.as_ref()))
        }
        "and" | "or" => {
            needs(1)?;
            let stop = name == "or";
            let decisive = arguments.iter().find(|value| truth(value.as_ref()) == stop);
            Ok(decisive.or_else(|| arguments.last()).cloned().flatten())
        }
        "exists" => flag(truth(first.as_ref())),
        "len" => match first {
            Some(Value::String(value)) => Ok(Some(Value::from(value.len()))),
            Some(Value::Array(items)) => Ok(Some(Value::from(items.len()))),
            Some(Value::Object(map)) => Ok(Some(Value::from(map.len()))),
            _ => Err("len of a value that has none".into()),
        },
        "index" => {
            needs(1)?;
            let mut value = first;
            for key in &arguments[1..] {
                value = match (value, key) {
                    (Some(Value::Array(items)), Some(Value::Number(at))) => {
                        let at = at.as_u64().and_then(|at| usize::try_from(at).ok());
                        let item = at.and_then(|at| items.get(at).cloned());
                        Some(item.ok_or("index out of range")?)
                    }
                    (Some(Value::Object(mut map)), Some(Value::String(key))) => map.remove(key),
                    _ => return Err("can't index this value".into()),
                };
            }
            Ok(value)
        }
        "print" | "println" => {
            let parts: Vec<String> = arguments
                .iter()
                .map(|value| shown(value.as_ref()))
                .collect();
            let separator = if name == "println" { " " } else { "" };
            let end = if name == "println" { "\n" } else { "" };
            text(format!("{}{end}", parts.join(separator)))
        }
        "printf" => {
            needs(1)?;
            text(printf(&shown(first.as_ref()), &arguments[1..])?)
        }
        "eq" => {
            needs(2)?;
            flag(
                arguments[1..]
                    .iter()
                    .any(|other| same(first.as_ref(), other.as_ref())),
            )
        }
        "ne" => {
            needs(2)?;
            flag(!same(first.as_ref(), arguments[1].as_ref()))
        }
        _ => {
            needs(2)?;
            let order = order(first.as_ref(), arguments[1].as_ref())
                .ok_or("incompatible types for comparison")?;
            flag(match name {
                "lt" => order.is_lt(),
                "le" => order.is_le(),
                "gt" => order.is_gt(),
                _ => order.is_ge(),
            })
        }
    }
}

pub(super) fn same(one: Option<&Value>, other: Option<&Value>) -> bool {
    match (one, other) {
        (Some(Value::Number(one)), Some(Value::Number(other))) => one.as_f64() == other.as_f64(),
        (one, other) => one == other,
    }
}

pub(super) fn order(one: Option<&Value>, other: Option<&Value>) -> Option<std::cmp::Ordering> {
    match (one?, other?) {
        (Value::Number(one), Value::Number(other)) => one.as_f64()?.partial_cmp(&other.as_f64()?),
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        _ => None,
    }
}

/// `%s %v %d %q %t %%` with width and `-`.
fn printf(format: &str, arguments: &[Option<Value>]) -> Result<String, String> {
    let mut out = String::new();
    let mut arguments = arguments.iter();
    let mut characters = format.chars().peekable();
    while let Some(c) = characters.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let spec = take_while(&mut characters, |c| c.is_ascii_digit() || *c == '-');
        let left = spec.starts_with('-');
        let width: usize = spec.trim_start_matches('-').parse().unwrap_or(0).min(1024);
        let verb = characters.next().ok_or("printf: no verb behind %")?;
        if verb == '%' {
            out.push('%');
            continue;
        }
        let Some(value) = arguments.next() else {
            out.push_str(&format!("%!{verb}(MISSING)"));
            continue;
        };
        let value = match verb {
            's' | 'v' | 'd' | 't' => shown(value.as_ref()),
            'q' => super::output::quoted(&shown(value.as_ref())),
            other => return Err(format!("printf verb %{other} is not provided by muster")),
        };
        let pad = " ".repeat(width.saturating_sub(value.chars().count()));
        if left {
            out.push_str(&value);
            out.push_str(&pad);
        } else {
            out.push_str(&pad);
            out.push_str(&value);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(template: &str) -> Result<String, String> {
        let data = json!({"token": "a.b", "usages": ["signing", "authentication"], "n": 3, "meta": {"x": {"y": 1}}});
        Template::parse(template, true)?.run(&data)
    }

    #[test]
    fn templates_print_what_go_prints() {
        for (template, text) in [
            ("{{.token}}{{\"\\n\"}}", "a.b\n"),
            (
                "{{range .usages}}<{{.}}>{{end}}",
                "<signing><authentication>",
            ),
            (
                "{{range $i, $u := .usages}}{{if $i}},{{end}}{{$i}}={{$u}}{{end}}",
                "0=signing,1=authentication",
            ),
            ("{{if eq .token \"a.b\"}}yes{{else}}no{{end}}", "yes"),
            ("{{if and .token (gt .n 2)}}yes{{end}}", "yes"),
            (
                "{{with .meta.x}}{{.y}}{{end}}{{with .none}}a{{else}}b{{end}}",
                "1b",
            ),
            (
                "{{printf \"%-5s|%5v|%q\" .token .n .token}}",
                "a.b  |    3|\"a.b\"",
            ),
            (
                "{{.usages}} {{.meta}} {{.none}}",
                "[signing authentication] map[x:map[y:1]] <no value>",
            ),
            ("{{len .usages}}{{index .usages 1}}", "2authentication"),
            ("a {{- /* trimmed */ -}} b", "a {{- /* trimmed */ -}} b"),
            ("a {{- .n -}} b", "a3b"),
            ("{{$x := .n}}{{$x}}{{$.token}}", "3a.b"),
            ("{{.token | printf \"%s!\"}}", "a.b!"),
            ("{{if false}}{{else if true}}x{{end}}", "x"),
            ("{{or .none \"d\"}}", "d"),
        ] {
            if template.contains("trimmed") {
                assert_eq!(run(template).unwrap(), "ab");
                continue;
            }
            assert_eq!(run(template).as_deref(), Ok(text), "{template}");
        }
    }

    #[test]
    fn what_is_not_provided_is_refused_when_it_is_read() {
        for template in [
            "{{define \"x\"}}{{end}}",
            "{{html .x}}",
            "{{.a",
            "{{if .a}}",
            "{{end}}",
            "{{.a.b | }}",
            "{{(.a}}",
            "{{break}}",
        ] {
            assert!(Template::parse(template, true).is_err(), "{template}");
        }
        let strict = Template::parse("{{.none}}", false).unwrap();
        assert!(
            strict
                .run(&json!({}))
                .unwrap_err()
                .contains("map has no entry")
        );
        let deep = format!("{}{}", "{{if .a}}".repeat(100), "{{end}}".repeat(100));
        assert!(Template::parse(&deep, true).is_err());
    }
}
