//! From text to tree.
//!
//! Recursive descent along the grammar of the CEL specification. Every node knows how deep it is: what nests deeper than
//! [`MAX_DEPTH`] is refused, whether by brackets or by a long chain.

use super::ast::{Expr, Fold, Literal, Node, Operator};
use super::lexer::{Token, tokens};
use super::{MAX_DEPTH, MAX_LENGTH};

/// Brackets may nest this deep: each is many steps of the grammar.
const MAX_NESTING: usize = 32;

/// The text is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SyntaxError(String);

impl SyntaxError {
    pub(super) fn new(text: &str, at: usize, why: impl Into<String>) -> Self {
        Self(located(text, at, &format!("Syntax error: {}", why.into())))
    }
}

/// A message with its place, as cel-go shows it.
pub(super) fn located(text: &str, at: usize, why: &str) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count();
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count();
    let shown = text.lines().nth(line).unwrap_or_default();
    let dots = ".".repeat(column);
    format!(
        "ERROR: <input>:{}:{}: {why}\n | {shown}\n | {dots}^",
        line + 1,
        column + 1
    )
}

/// Reads an expression.
///
/// # Errors
/// Where it is none, too long or too deep, with the place.
pub fn parse(text: &str) -> Result<Expr, SyntaxError> {
    if text.len() > MAX_LENGTH {
        return Err(SyntaxError(format!(
            "expression code point size exceeds limit: {MAX_LENGTH}"
        )));
    }
    let tokens = tokens(text)?;
    let mut parser = Parser {
        text,
        tokens,
        at: 0,
        nesting: 0,
    };
    let (expr, _) = parser.expression()?;
    match parser.tokens.get(parser.at) {
        None => Ok(expr),
        Some(_) => parser.unexpected(),
    }
}

/// An expression and how deep it is.
type Parsed = Result<(Expr, usize), SyntaxError>;

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(usize, Token)>,
    at: usize,
    nesting: usize,
}

const RESERVED: [&str; 19] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
    "in",
    "__none__",
];

impl Parser<'_> {
    fn place(&self) -> usize {
        self.tokens
            .get(self.at)
            .map_or(self.text.len(), |(at, _)| *at)
    }

    fn fail<T>(&self, why: impl Into<String>) -> Result<T, SyntaxError> {
        Err(SyntaxError::new(self.text, self.place(), why))
    }

    fn unexpected<T>(&self) -> Result<T, SyntaxError> {
        match self.tokens.get(self.at) {
            None => self.fail("mismatched input '<EOF>'"),
            Some((at, _)) => {
                let rest = &self.text[*at..];
                let end = self
                    .tokens
                    .get(self.at + 1)
                    .map_or(rest.len(), |(next, _)| next - at);
                self.fail(format!("mismatched input '{}'", rest[..end].trim_end()))
            }
        }
    }

    fn eat(&mut self, sign: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some((_, Token::Sign(own))) if *own == sign);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), SyntaxError> {
        if self.eat(sign) {
            Ok(())
        } else {
            self.unexpected()
        }
    }

    fn made(&self, at: usize, node: Node, below: usize) -> Parsed {
        if below >= MAX_DEPTH {
            return self.fail(format!("expression recursion limit exceeded: {MAX_DEPTH}"));
        }
        Ok((Expr { at, node }, below + 1))
    }

    fn nested(&mut self, parse: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return self.fail(format!(
                "expression recursion limit exceeded: {MAX_NESTING}"
            ));
        }
        let parsed = parse(self);
        self.nesting -= 1;
        parsed
    }

    fn expression(&mut self) -> Parsed {
        self.nested(|this| {
            let at = this.place();
            let (condition, depth) = this.chain("||")?;
            if !this.eat("?") {
                return Ok((condition, depth));
            }
            let (yes, a) = this.chain("||")?;
            this.expect(":")?;
            let (no, b) = this.expression()?;
            let node = Node::Choice(Box::new(condition), Box::new(yes), Box::new(no));
            this.made(at, node, depth.max(a).max(b))
        })
    }

    /// `a || b || c` or, one floor below, `a && b && c`.
    fn chain(&mut self, sign: &str) -> Parsed {
        let at = self.place();
        let next = |this: &mut Self| {
            if sign == "||" {
                this.chain("&&")
            } else {
                this.relation()
            }
        };
        let (first, mut depth) = next(self)?;
        let mut parts = vec![first];
        while self.eat(sign) {
            let (part, below) = next(self)?;
            depth = depth.max(below);
            parts.push(part);
        }
        match parts.pop() {
            Some(only) if parts.is_empty() => Ok((only, depth)),
            Some(last) => {
                parts.push(last);
                let node = if sign == "||" {
                    Node::Or(parts)
                } else {
                    Node::And(parts)
                };
                self.made(at, node, depth)
            }
            None => self.unexpected(),
        }
    }

    fn relation(&mut self) -> Parsed {
        const RELATIONS: [(&str, Operator); 6] = [
            ("==", Operator::Equal),
            ("!=", Operator::NotEqual),
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        let mut left = self.sum()?;
        loop {
            let at = self.place();
            let is_in =
                matches!(self.tokens.get(self.at), Some((_, Token::Ident(word))) if word == "in");
            let operator = if is_in {
                self.at += 1;
                Some(Operator::In)
            } else {
                RELATIONS
                    .into_iter()
                    .find(|(sign, _)| self.eat(sign))
                    .map(|(_, operator)| operator)
            };
            let Some(operator) = operator else {
                return Ok(left);
            };
            let right = self.sum()?;
            left = self.binary(at, operator, left, right)?;
        }
    }

    fn binary(
        &self,
        at: usize,
        operator: Operator,
        (left, a): (Expr, usize),
        (right, b): (Expr, usize),
    ) -> Parsed {
        self.made(
            at,
            Node::Binary(operator, Box::new(left), Box::new(right)),
            a.max(b),
        )
    }

    fn sum(&mut self) -> Parsed {
        let mut left = self.product()?;
        loop {
            let at = self.place();
            let operator = match () {
                () if self.eat("+") => Operator::Add,
                () if self.eat("-") => Operator::Subtract,
                () => return Ok(left),
            };
            let right = self.product()?;
            left = self.binary(at, operator, left, right)?;
        }
    }

    fn product(&mut self) -> Parsed {
        let mut left = self.unary()?;
        loop {
            let at = self.place();
            let operator = match () {
                () if self.eat("*") => Operator::Multiply,
                () if self.eat("/") => Operator::Divide,
                () if self.eat("%") => Operator::Modulo,
                () => return Ok(left),
            };
            let right = self.unary()?;
            left = self.binary(at, operator, left, right)?;
        }
    }

    fn unary(&mut self) -> Parsed {
        let at = self.place();
        if self.eat("!") {
            let (inner, depth) = self.nested(Self::unary)?;
            return self.made(at, Node::Not(Box::new(inner)), depth);
        }
        if self.eat("-") {
            if let Some((_, Token::IntMin)) = self.tokens.get(self.at) {
                self.at += 1;
                return self.made(at, Node::Literal(Literal::Int(i64::MIN)), 0);
            }
            let (inner, depth) = self.nested(Self::unary)?;
            return match inner.node {
                Node::Literal(Literal::Int(number)) => {
                    self.made(at, Node::Literal(Literal::Int(-number)), 0)
                }
                Node::Literal(Literal::Double(number)) => {
                    self.made(at, Node::Literal(Literal::Double(-number)), 0)
                }
                node => {
                    let inner = Expr { at: inner.at, node };
                    self.made(at, Node::Negate(Box::new(inner)), depth)
                }
            };
        }
        self.member()
    }

    fn member(&mut self) -> Parsed {
        let (mut expr, mut depth) = self.primary()?;
        loop {
            let at = self.place();
            if self.eat("?.") {
                let field = self.name()?;
                let node = Node::Select {
                    of: Box::new(expr),
                    field,
                    optional: true,
                };
                (expr, depth) = self.made(at, node, depth)?;
            } else if self.eat(".") {
                if self.eat("?") {
                    let field = self.name()?;
                    let node = Node::Select {
                        of: Box::new(expr),
                        field,
                        optional: true,
                    };
                    (expr, depth) = self.made(at, node, depth)?;
                    continue;
                }
                let name = self.name()?;
                (expr, depth) = if self.eat("(") {
                    let (args, below) = self.arguments(")")?;
                    self.method(at, expr, name, args, depth.max(below))?
                } else {
                    let node = Node::Select {
                        of: Box::new(expr),
                        field: name,
                        optional: false,
                    };
                    self.made(at, node, depth)?
                };
            } else if self.eat("[?") || self.eat("[") {
                let optional = matches!(self.tokens.get(self.at - 1), Some((_, Token::Sign("[?"))));
                let (place, below) = self.expression()?;
                self.expect("]")?;
                let node = Node::Index {
                    of: Box::new(expr),
                    place: Box::new(place),
                    optional,
                };
                (expr, depth) = self.made(at, node, depth.max(below))?;
            } else {
                return Ok((expr, depth));
            }
        }
    }

    fn name(&mut self) -> Result<String, SyntaxError> {
        match self.tokens.get(self.at).cloned() {
            Some((_, Token::Ident(name) | Token::Quoted(name))) => {
                self.at += 1;
                Ok(name)
            }
            _ => self.unexpected(),
        }
    }

    fn arguments(&mut self, end: &str) -> Result<(Vec<Expr>, usize), SyntaxError> {
        let (mut args, mut depth) = (Vec::new(), 0);
        while !self.eat(end) {
            self.eat("?");
            let (arg, below) = self.expression()?;
            depth = depth.max(below);
            args.push(arg);
            if !self.eat(",") {
                self.expect(end)?;
                break;
            }
        }
        Ok((args, depth))
    }

    fn primary(&mut self) -> Parsed {
        let at = self.place();
        let Some((_, token)) = self.tokens.get(self.at).cloned() else {
            return self.unexpected();
        };
        self.at += 1;
        let literal = match token {
            Token::Ident(name) => return self.named(at, name),
            Token::Sign("(") => {
                let inner = self.expression()?;
                self.expect(")")?;
                return Ok(inner);
            }
            Token::Sign("[") => {
                let (elements, depth) = self.arguments("]")?;
                return self.made(at, Node::List(elements), depth);
            }
            Token::Sign("{") => return self.map(at),
            Token::Sign(".") => {
                let name = self.name()?;
                return self.named(at, name);
            }
            Token::Int(number) => Literal::Int(number),
            Token::Uint(number) => Literal::Uint(number),
            Token::Double(number) => Literal::Double(number),
            Token::Text(text) => Literal::Text(text),
            Token::Bytes(bytes) => Literal::Bytes(bytes),
            Token::Sign(_) | Token::IntMin | Token::Quoted(_) => {
                self.at -= 1;
                return self.unexpected();
            }
        };
        self.made(at, Node::Literal(literal), 0)
    }

    fn named(&mut self, at: usize, name: String) -> Parsed {
        let literal = match name.as_str() {
            "true" => Some(Literal::Bool(true)),
            "false" => Some(Literal::Bool(false)),
            "null" => Some(Literal::Null),
            _ => None,
        };
        if let Some(literal) = literal {
            return self.made(at, Node::Literal(literal), 0);
        }
        if RESERVED.contains(&name.as_str()) {
            return Err(SyntaxError::new(
                self.text,
                at,
                format!("reserved identifier: {name}"),
            ));
        }
        if !self.eat("(") {
            return self.made(at, Node::Ident(name), 0);
        }
        let (mut args, depth) = self.arguments(")")?;
        if name == "has" {
            let Some(Expr {
                node: Node::Select { of, field, .. },
                ..
            }) = args.pop().filter(|_| args.is_empty())
            else {
                return Err(SyntaxError::new(
                    self.text,
                    at,
                    "invalid argument to has() macro",
                ));
            };
            return self.made(at, Node::Has { of, field }, depth);
        }
        self.made(
            at,
            Node::Call {
                target: None,
                name,
                args,
            },
            depth,
        )
    }

    fn map(&mut self, at: usize) -> Parsed {
        let (mut entries, mut depth) = (Vec::new(), 0);
        while !self.eat("}") {
            self.eat("?");
            let (key, a) = self.expression()?;
            self.expect(":")?;
            let (value, b) = self.expression()?;
            depth = depth.max(a).max(b);
            entries.push((key, value));
            if !self.eat(",") {
                self.expect("}")?;
                break;
            }
        }
        self.made(at, Node::Map(entries), depth)
    }

    /// A call on a value; some are macros.
    fn method(
        &self,
        at: usize,
        target: Expr,
        name: String,
        mut args: Vec<Expr>,
        depth: usize,
    ) -> Parsed {
        let variable = |expr: &Expr| match &expr.node {
            Node::Ident(name) => Some(name.clone()),
            _ => None,
        };
        let fold = match (name.as_str(), args.len()) {
            ("all", 2 | 3) => Some(Fold::All),
            ("exists", 2 | 3) => Some(Fold::Exists),
            ("exists_one" | "existsOne", 2 | 3) => Some(Fold::ExistsOne),
            ("map", 2 | 3) => Some(Fold::Map),
            ("filter", 2) => Some(Fold::Filter),
            _ => None,
        };
        if let (Some(fold), Some(body)) = (fold, args.last().cloned()) {
            let not_a_name = || SyntaxError::new(self.text, at, "argument must be a simple name");
            let var = variable(&args[0]).ok_or_else(not_a_name)?;
            let middle = (args.len() == 3).then(|| args[1].clone());
            let (second, filter) = match (fold, middle) {
                (Fold::Map, filter) => (None, filter.map(Box::new)),
                (_, Some(second)) => (Some(variable(&second).ok_or_else(not_a_name)?), None),
                (_, None) => (None, None),
            };
            let node = Node::Fold {
                fold,
                range: Box::new(target),
                var,
                second,
                filter,
                body: Box::new(body),
            };
            return self.made(at, node, depth);
        }
        if matches!(name.as_str(), "optMap" | "optFlatMap") && args.len() == 2 {
            let not_a_name = || {
                SyntaxError::new(
                    self.text,
                    at,
                    "optMap() variable name must be a simple identifier",
                )
            };
            let var = variable(&args[0]).ok_or_else(not_a_name)?;
            let flat = name == "optFlatMap";
            let body = Box::new(args.remove(1));
            return self.made(
                at,
                Node::OptionalMap {
                    of: Box::new(target),
                    var,
                    body,
                    flat,
                },
                depth,
            );
        }
        let node = Node::Call {
            target: Some(Box::new(target)),
            name,
            args,
        };
        self.made(at, node, depth)
    }
}
