//! The tree of an expression. Macros are nodes of their own, chains of `&&` and `||` are flat.

/// A value that stands in the expression itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
}

/// Operators with two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl Operator {
    pub(super) const fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "_==_",
            Self::NotEqual => "_!=_",
            Self::Less => "_<_",
            Self::LessOrEqual => "_<=_",
            Self::Greater => "_>_",
            Self::GreaterOrEqual => "_>=_",
            Self::In => "@in",
            Self::Add => "_+_",
            Self::Subtract => "_-_",
            Self::Multiply => "_*_",
            Self::Divide => "_/_",
            Self::Modulo => "_%_",
        }
    }
}

/// Macros over the elements of a list or the keys of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fold {
    All,
    Exists,
    ExistsOne,
    Map,
    Filter,
}

/// An expression, with where it stands in the text.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    /// The offset in the text, in bytes.
    pub(super) at: usize,
    pub(super) node: Node,
}

impl Expr {
    /// The expressions directly in this one.
    fn parts(&self) -> Vec<&Self> {
        match &self.node {
            Node::Literal(_) | Node::Ident(_) => Vec::new(),
            Node::Select { of, .. } | Node::Has { of, .. } | Node::Not(of) | Node::Negate(of) => {
                vec![of]
            }
            Node::Index { of, place, .. } => vec![of, place],
            Node::Call { target, args, .. } => target.as_deref().into_iter().chain(args).collect(),
            Node::List(parts) | Node::And(parts) | Node::Or(parts) => parts.iter().collect(),
            Node::Map(entries) => entries
                .iter()
                .flat_map(|(key, value)| [key, value])
                .collect(),
            Node::Choice(a, b, c) => vec![a, b, c],
            Node::Binary(_, a, b) => vec![a, b],
            Node::Fold {
                range,
                filter,
                body,
                ..
            } => {
                let filter = filter.as_deref().into_iter();
                [&**range, &**body].into_iter().chain(filter).collect()
            }
            Node::OptionalMap { of, body, .. } => vec![of, body],
        }
    }
}

impl Expr {
    /// How deep it nests.
    pub(super) fn depth(&self) -> usize {
        1 + self.parts().into_iter().map(Self::depth).max().unwrap_or(0)
    }
}

/// Whether an expression names a variable.
#[must_use]
pub fn mentions(expr: &Expr, name: &str) -> bool {
    matches!(&expr.node, Node::Ident(own) if own == name)
        || expr.parts().into_iter().any(|part| mentions(part, name))
}

/// What an expression is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Literal(Literal),
    Ident(String),
    Select {
        of: Box<Expr>,
        field: String,
        optional: bool,
    },
    Has {
        of: Box<Expr>,
        field: String,
    },
    Index {
        of: Box<Expr>,
        place: Box<Expr>,
        optional: bool,
    },
    Call {
        target: Option<Box<Expr>>,
        name: String,
        args: Vec<Expr>,
    },
    List(Vec<Expr>),
    Map(Vec<(Expr, Expr)>),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Choice(Box<Expr>, Box<Expr>, Box<Expr>),
    Binary(Operator, Box<Expr>, Box<Expr>),
    Fold {
        fold: Fold,
        range: Box<Expr>,
        var: String,
        second: Option<String>,
        filter: Option<Box<Expr>>,
        body: Box<Expr>,
    },
    OptionalMap {
        of: Box<Expr>,
        var: String,
        body: Box<Expr>,
        flat: bool,
    },
}
