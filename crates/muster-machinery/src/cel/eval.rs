//! Works an expression out, within a budget.
//!
//! `&&` and `||` forgive an error on one side when the other decides, as the language says.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::ast::{Expr, Fold, Literal, Node, Operator};
use super::functions::LIBRARIES;
use super::library;
use super::value::{Val, unescaped};

/// Why an expression came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// A member that is not there was asked for.
    #[error("no such key: {0}")]
    NoSuchKey(String),
    /// An element that is not there was asked for.
    #[error("index out of bounds: {0}")]
    OutOfBounds(i64),
    /// The operator or function is not for these values.
    #[error("no such overload")]
    NoOverload,
    /// A number became too large.
    #[error("{0} overflow")]
    Overflow(&'static str),
    /// Something was divided by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// A remainder by zero was asked for.
    #[error("modulus by zero")]
    ModulusByZero,
    /// The budget is spent.
    #[error("operation cancelled: actual cost limit exceeded")]
    TooCostly,
    /// A function refused its argument.
    #[error("{0}")]
    Refused(String),
}

/// Values of variables.
pub type Bindings<'a> = Vec<(Cow<'a, str>, Val<'a>)>;

/// The result of an expression, and what it cost; the cost counts also when it failed.
pub fn evaluate<'a>(
    expr: &'a Expr,
    variables: Bindings<'a>,
    limit: u64,
) -> (Result<Val<'a>, EvalError>, u64) {
    Session::new(variables, &[]).evaluate(expr, limit)
}

/// Several expressions about the same variables. Some of these are expressions themselves (`variables.NAME`), which are
/// worked out when somebody looks at them, and once.
pub struct Session<'a>(Run<'a>);

impl<'a> Session<'a> {
    /// Expressions about these variables, and those that are `composed` of them, each by its name. A composed one may name
    /// only those before it, as [`super::check_composed`] sees to.
    #[must_use]
    pub fn new(variables: Bindings<'a>, composed: &'a [(String, Expr)]) -> Self {
        Self(Run {
            given: variables.len(),
            scope: variables,
            composed,
            worked_out: HashMap::new(),
            cost: 0,
            limit: 0,
        })
    }

    /// The result of an expression, and what it cost; the cost counts also when it failed.
    pub fn evaluate(&mut self, expr: &'a Expr, limit: u64) -> (Result<Val<'a>, EvalError>, u64) {
        let run = &mut self.0;
        (run.cost, run.limit) = (0, limit);
        run.scope.truncate(run.given);
        let result = run.expr(expr);
        (result, run.cost)
    }
}

pub(super) type Outcome<'a> = Result<Val<'a>, EvalError>;

struct Run<'a> {
    scope: Bindings<'a>,
    /// How many variables of the scope were given, and are not a macro's own.
    given: usize,
    composed: &'a [(String, Expr)],
    worked_out: HashMap<&'a str, Outcome<'a>>,
    cost: u64,
    limit: u64,
}

/// What one round of a macro costs besides its body.
const ROUND: u64 = 3;

impl<'a> Run<'a> {
    fn spend(&mut self, cost: u64) -> Result<(), EvalError> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > self.limit {
            Err(EvalError::TooCostly)
        } else {
            Ok(())
        }
    }

    fn expr(&mut self, expr: &'a Expr) -> Outcome<'a> {
        match &expr.node {
            Node::Literal(literal) => Ok(of_literal(literal)),
            Node::Ident(name) => self.ident(name),
            Node::Select {
                of,
                field,
                optional,
            } => {
                if let Some(result) = self.composed(of, field) {
                    return result;
                }
                let of = self.expr(of)?;
                self.spend(1)?;
                select(&of, field, *optional)
            }
            Node::Has { of, field } if self.is_composed(of, field) => {
                self.spend(1)?;
                Ok(Val::Bool(true))
            }
            Node::Has { of, field } => {
                let of = self.expr(of)?;
                self.spend(1)?;
                has(&of, field).map(Val::Bool)
            }
            Node::Index {
                of,
                place,
                optional,
            } => {
                let (of, place) = (self.expr(of)?, self.expr(place)?);
                self.spend(1)?;
                index(&of, &place, *optional)
            }
            Node::Call { target, name, args } => self.call(target.as_deref(), name, args),
            Node::List(elements) => {
                self.spend(10)?;
                let elements: Result<Vec<_>, _> =
                    elements.iter().map(|one| self.expr(one)).collect();
                Ok(Val::list(elements?))
            }
            Node::Map(entries) => {
                self.spend(30)?;
                let mut made = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    made.push((self.expr(key)?, self.expr(value)?));
                }
                Ok(Val::Map(Arc::new(made)))
            }
            Node::Not(inner) => match self.expr(inner)? {
                Val::Bool(flag) => Ok(Val::Bool(!flag)),
                _ => Err(EvalError::NoOverload),
            },
            Node::Negate(inner) => match self.expr(inner)? {
                Val::Int(number) => number
                    .checked_neg()
                    .map(Val::Int)
                    .ok_or(EvalError::Overflow("integer")),
                Val::Double(number) => Ok(Val::Double(-number)),
                Val::Duration(nanos) => Ok(Val::Duration(-nanos)),
                _ => Err(EvalError::NoOverload),
            },
            Node::And(parts) => self.logic(parts, false),
            Node::Or(parts) => self.logic(parts, true),
            Node::Choice(condition, yes, no) => match self.expr(condition)? {
                Val::Bool(true) => self.expr(yes),
                Val::Bool(false) => self.expr(no),
                _ => Err(EvalError::NoOverload),
            },
            Node::Binary(operator, left, right) => {
                let (left, right) = (self.expr(left)?, self.expr(right)?);
                self.binary(*operator, &left, &right)
            }
            Node::Fold {
                fold,
                range,
                var,
                second,
                filter,
                body,
            } => {
                let range = self.expr(range)?;
                let names = (var.as_str(), second.as_deref());
                self.fold(*fold, &range, names, (filter.as_deref(), body))
            }
            Node::OptionalMap {
                of,
                var,
                body,
                flat,
            } => match self.expr(of)? {
                Val::Optional(None) => Ok(Val::Optional(None)),
                Val::Optional(Some(inner)) => {
                    self.scope.push((Cow::Borrowed(var), *inner));
                    let given = self.expr(body);
                    self.scope.pop();
                    match given? {
                        given if *flat => Ok(given),
                        given => Ok(Val::Optional(Some(Box::new(given)))),
                    }
                }
                _ => Err(EvalError::NoOverload),
            },
        }
    }

    fn is_composed(&self, of: &Expr, name: &str) -> bool {
        let word = super::check::COMPOSED;
        matches!(&of.node, Node::Ident(own) if own == word)
            && self.composed.iter().any(|(own, _)| own == name)
            && !self.scope.iter().any(|(own, _)| own == word)
    }

    /// The value of `variables.NAME`.
    fn composed(&mut self, of: &Expr, name: &str) -> Option<Outcome<'a>> {
        if !self.is_composed(of, name) {
            return None;
        }
        let (name, expr) = self.composed.iter().find(|(own, _)| own == name)?;
        if let Err(error) = self.spend(1) {
            return Some(Err(error));
        }
        if let Some(known) = self.worked_out.get(name.as_str()) {
            return Some(known.clone());
        }
        // It does not see the variables of macros around the place where it is named.
        let around = self.scope.split_off(self.given);
        let result = self.expr(expr).map_err(|error| match error {
            EvalError::TooCostly => EvalError::TooCostly,
            error => EvalError::Refused(format!(
                "composited variable {name:?} fails to evaluate: {error}"
            )),
        });
        self.scope.truncate(self.given);
        self.scope.extend(around);
        self.worked_out.insert(name, result.clone());
        Some(result)
    }

    fn ident(&mut self, name: &str) -> Outcome<'a> {
        self.spend(1)?;
        if let Some((_, value)) = self.scope.iter().rev().find(|(own, _)| own == name) {
            return Ok(value.clone());
        }
        let kinds = [
            "int",
            "uint",
            "double",
            "bool",
            "string",
            "bytes",
            "list",
            "map",
            "null_type",
            "type",
        ];
        let kind = kinds.into_iter().find(|kind| *kind == name);
        kind.map(Val::Kind)
            .ok_or_else(|| EvalError::NoSuchKey(name.to_owned()))
    }

    /// `&&` ends at the first false, `||` at the first true.
    fn logic(&mut self, parts: &'a [Expr], decides: bool) -> Outcome<'a> {
        let mut failed = None;
        for part in parts {
            match self.expr(part) {
                Ok(Val::Bool(flag)) if flag == decides => return Ok(Val::Bool(decides)),
                Ok(Val::Bool(_)) => {}
                Ok(_) => failed = failed.or(Some(EvalError::NoOverload)),
                Err(EvalError::TooCostly) => return Err(EvalError::TooCostly),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(Val::Bool(!decides)), Err)
    }

    fn binary(&mut self, operator: Operator, left: &Val<'a>, right: &Val<'a>) -> Outcome<'a> {
        use std::cmp::Ordering;
        let shorter = left.weight().min(right.weight());
        self.spend(1 + shorter / 10)?;
        let ordered = |wanted: fn(Ordering) -> bool| {
            let order = left.compare(right).ok_or(EvalError::NoOverload)?;
            Ok(Val::Bool(wanted(order)))
        };
        match operator {
            Operator::Equal => Ok(Val::Bool(left.same(right))),
            Operator::NotEqual => Ok(Val::Bool(!left.same(right))),
            Operator::Less => ordered(Ordering::is_lt),
            Operator::LessOrEqual => ordered(Ordering::is_le),
            Operator::Greater => ordered(Ordering::is_gt),
            Operator::GreaterOrEqual => ordered(Ordering::is_ge),
            Operator::In => {
                self.spend(right.weight())?;
                let found = match (right.elements(), right) {
                    (Some(elements), _) => elements.iter().any(|one| one.same(left)),
                    (None, map) => match left {
                        Val::Text(name) => map.member(name).is_some(),
                        left => {
                            let entries = map.entries().ok_or(EvalError::NoOverload)?;
                            entries.iter().any(|(key, _)| key.same(left))
                        }
                    },
                };
                Ok(Val::Bool(found))
            }
            Operator::Add
            | Operator::Subtract
            | Operator::Multiply
            | Operator::Divide
            | Operator::Modulo => {
                self.spend(if operator == Operator::Add {
                    right.weight() / 10
                } else {
                    0
                })?;
                library::arithmetic(operator, left, right)
            }
        }
    }

    fn fold(
        &mut self,
        fold: Fold,
        range: &Val<'a>,
        (var, second): (&'a str, Option<&'a str>),
        (filter, body): (Option<&'a Expr>, &'a Expr),
    ) -> Outcome<'a> {
        let pairs: Vec<(Val<'a>, Val<'a>)> = match (range.elements(), range.entries()) {
            (Some(elements), _) if second.is_some() => {
                let places = (0_i64..).map(Val::Int);
                places.zip(elements).collect()
            }
            (Some(elements), _) => elements
                .into_iter()
                .map(|element| (element, Val::Null))
                .collect(),
            (None, Some(entries)) => entries,
            (None, None) => return Err(EvalError::NoOverload),
        };
        let known = self.scope.len();
        let mut state = Folded::default();
        for (first, other) in pairs {
            self.spend(ROUND)?;
            self.scope.push((Cow::Borrowed(var), first.clone()));
            if let Some(second) = second {
                self.scope.push((Cow::Borrowed(second), other));
            }
            let sieve = filter.map(|filter| self.expr(filter));
            let given = match sieve {
                Some(Ok(Val::Bool(false))) => None,
                None | Some(Ok(Val::Bool(true))) => Some(self.expr(body)),
                Some(Ok(_)) => Some(Err(EvalError::NoOverload)),
                Some(Err(error)) => Some(Err(error)),
            };
            self.scope.truncate(known);
            if let Some(given) = given
                && state.take(fold, first, given)?
            {
                break;
            }
        }
        state.end(fold)
    }

    fn call(&mut self, target: Option<&'a Expr>, name: &str, args: &'a [Expr]) -> Outcome<'a> {
        let of_library = match target.map(|target| &target.node) {
            Some(Node::Ident(word)) => {
                let is_variable = self.scope.iter().any(|(own, _)| own == word);
                LIBRARIES
                    .into_iter()
                    .find(|library| library == word && !is_variable)
            }
            _ => None,
        };
        let target = match (of_library, target) {
            (None, Some(target)) => Some(self.expr(target)?),
            _ => None,
        };
        let args: Result<Vec<_>, _> = args.iter().map(|arg| self.expr(arg)).collect();
        let args = args?;
        let cheap = matches!(
            name,
            "size" | "hasValue" | "value" | "orValue" | "type" | "dyn"
        );
        let looked_at = target
            .as_ref()
            .or_else(|| args.first())
            .map_or(0, Val::weight);
        let is_text = matches!(target.as_ref().or_else(|| args.first()), Some(Val::Text(_)));
        self.spend(
            1 + if cheap {
                0
            } else if is_text {
                looked_at / 10
            } else {
                looked_at
            },
        )?;
        match (of_library, target) {
            (Some(library), _) => library::of_library(library, name, &args),
            (None, Some(target)) => library::method(&target, name, &args),
            (None, None) => library::global(name, &args),
        }
    }
}

/// What a macro has come to so far.
#[derive(Default)]
struct Folded<'a> {
    made: Vec<Val<'a>>,
    held: usize,
    failed: Option<EvalError>,
    decided: bool,
}

impl<'a> Folded<'a> {
    /// Takes one round in; tells whether the rest no longer matters.
    fn take(
        &mut self,
        fold: Fold,
        element: Val<'a>,
        given: Outcome<'a>,
    ) -> Result<bool, EvalError> {
        let forgives = matches!(fold, Fold::All | Fold::Exists);
        let given = match given {
            Err(error) if forgives && error != EvalError::TooCostly => {
                self.failed.get_or_insert(error);
                return Ok(false);
            }
            given => given?,
        };
        match (fold, given) {
            (Fold::Map, given) => self.made.push(given),
            (Fold::Filter, Val::Bool(true)) => self.made.push(element),
            (Fold::Filter, Val::Bool(false)) => {}
            (Fold::All, Val::Bool(flag)) => self.decided = !flag,
            (Fold::Exists, Val::Bool(flag)) => self.decided = flag,
            (Fold::ExistsOne, Val::Bool(flag)) => self.held += usize::from(flag),
            _ => return Err(EvalError::NoOverload),
        }
        Ok(self.decided)
    }

    fn end(self, fold: Fold) -> Outcome<'a> {
        match (fold, self.decided, self.failed) {
            (Fold::Map | Fold::Filter, _, _) => Ok(Val::list(self.made)),
            (Fold::ExistsOne, _, _) => Ok(Val::Bool(self.held == 1)),
            (Fold::All, true, _) => Ok(Val::Bool(false)),
            (Fold::Exists, true, _) => Ok(Val::Bool(true)),
            (_, false, Some(error)) => Err(error),
            (Fold::All, false, None) => Ok(Val::Bool(true)),
            (Fold::Exists, false, None) => Ok(Val::Bool(false)),
        }
    }
}

fn of_literal<'a>(literal: &'a Literal) -> Val<'a> {
    match literal {
        Literal::Null => Val::Null,
        Literal::Bool(flag) => Val::Bool(*flag),
        Literal::Int(number) => Val::Int(*number),
        Literal::Uint(number) => Val::Uint(*number),
        Literal::Double(number) => Val::Double(*number),
        Literal::Text(text) => Val::Text(Cow::Borrowed(text)),
        Literal::Bytes(bytes) => Val::Bytes(bytes.as_slice().into()),
    }
}

fn perhaps(value: Option<Val<'_>>) -> Val<'_> {
    Val::Optional(value.map(Box::new))
}

fn select<'a>(of: &Val<'a>, field: &str, optional: bool) -> Outcome<'a> {
    match of {
        Val::Optional(None) => Ok(Val::Optional(None)),
        Val::Optional(Some(inner)) => Ok(perhaps(inner.member(field))),
        Val::Map(_) | Val::Members(..) if optional => Ok(perhaps(of.member(field))),
        Val::Map(_) | Val::Members(..) => of
            .member(field)
            .ok_or_else(|| EvalError::NoSuchKey(unescaped(field).into_owned())),
        _ => Err(EvalError::NoOverload),
    }
}

fn has(of: &Val<'_>, field: &str) -> Result<bool, EvalError> {
    match of {
        Val::Optional(inner) => inner.as_ref().map_or(Ok(false), |inner| has(inner, field)),
        Val::Map(_) | Val::Members(..) => Ok(of.member(field).is_some()),
        _ => Err(EvalError::NoOverload),
    }
}

fn index<'a>(of: &Val<'a>, place: &Val<'a>, optional: bool) -> Outcome<'a> {
    if let Val::Optional(inner) = of {
        return match inner {
            None => Ok(Val::Optional(None)),
            Some(inner) => index(inner, place, true),
        };
    }
    let found = match (of.elements(), place) {
        (Some(elements), place) => {
            let at = match place {
                Val::Int(at) => *at,
                Val::Uint(at) => i64::try_from(*at).unwrap_or(i64::MAX),
                Val::Double(at) if at.fract() == 0.0 => *at as i64,
                _ => return Err(EvalError::NoOverload),
            };
            let found = usize::try_from(at)
                .ok()
                .and_then(|at| elements.into_iter().nth(at));
            found.ok_or(EvalError::OutOfBounds(at))
        }
        (None, Val::Text(name)) if of.size().is_some() => {
            // Keys of maps are data and never escaped.
            of.key(name)
                .ok_or_else(|| EvalError::NoSuchKey(name.to_string()))
        }
        (None, key) => {
            let entries = of.entries().ok_or(EvalError::NoOverload)?;
            let found = entries.into_iter().find(|(own, _)| own.same(key));
            found
                .map(|(_, value)| value)
                .ok_or_else(|| EvalError::NoSuchKey(library::text_of(key).unwrap_or_default()))
        }
    };
    if optional {
        Ok(perhaps(found.ok()))
    } else {
        found
    }
}
