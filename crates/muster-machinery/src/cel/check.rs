//! Judges an expression before it runs: what names and functions it uses, what types meet, what it comes to, and what it may
//! cost at most.
//!
//! What cannot be known is left to the run; what is known to be wrong is refused, in cel-go's words.

use super::MAX_DEPTH;
use super::ast::{Expr, Fold, Literal, Node, Operator};
use super::functions::{Found, LIBRARIES, global, method, of_library};
use super::parser::located;
use super::types::Type;
use super::value::unescaped;

/// What is known of an expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked<'s> {
    /// What it comes to.
    pub type_: Type<'s>,
    /// What it costs at most.
    pub cost: u64,
    /// Whether it looks at `oldSelf`.
    pub uses_old_self: bool,
    /// How deep it nests, with the composed variables that it names.
    pub depth: usize,
}

/// A variable that is an expression itself, named as `variables.NAME`.
#[derive(Debug, Clone, PartialEq)]
pub struct Composed<'s> {
    /// Its name.
    pub name: String,
    /// What it comes to.
    pub type_: Type<'s>,
    /// How deep it nests: [`Checked::depth`].
    pub depth: usize,
}

/// What stands before the names of composed variables.
pub(super) const COMPOSED: &str = "variables";

/// Judges an expression of `text` with these variables.
///
/// # Errors
/// The first mistake, with its place, as cel-go words it.
pub fn check<'s>(
    expr: &Expr,
    text: &str,
    variables: &[(&str, Type<'s>)],
) -> Result<Checked<'s>, String> {
    check_composed(expr, text, variables, &[])
}

/// Judges an expression that may also name composed variables: those that have been judged before it.
///
/// # Errors
/// As [`check`]; also where it nests too deep with the variables that it names.
pub fn check_composed<'s>(
    expr: &Expr,
    text: &str,
    variables: &[(&str, Type<'s>)],
    composed: &[Composed<'s>],
) -> Result<Checked<'s>, String> {
    let scope = variables
        .iter()
        .map(|(name, ty)| ((*name).to_owned(), ty.clone()))
        .collect();
    let mut checker = Checker {
        text,
        scope,
        composed,
        deepest: 0,
        uses_old_self: false,
    };
    let (type_, cost) = checker.expr(expr)?;
    let depth = expr.depth() + checker.deepest;
    if depth > 2 * MAX_DEPTH {
        return checker.fail(0, "expression and its variables exceed the recursion limit");
    }
    Ok(Checked {
        type_,
        cost,
        depth,
        uses_old_self: checker.uses_old_self,
    })
}

struct Checker<'t, 's> {
    text: &'t str,
    scope: Vec<(String, Type<'s>)>,
    composed: &'t [Composed<'s>],
    deepest: usize,
    uses_old_self: bool,
}

type Known<'s> = Result<(Type<'s>, u64), String>;

/// What one round of a macro costs besides its body.
const ROUND: u64 = 2;

fn tenth(size: u64) -> u64 {
    size.div_ceil(10)
}

impl<'s> Checker<'_, 's> {
    fn fail<T>(&self, at: usize, why: impl AsRef<str>) -> Result<T, String> {
        Err(located(self.text, at, why.as_ref()))
    }

    fn no_overload<T>(&self, at: usize, name: &str, types: &[&Type<'s>]) -> Result<T, String> {
        let names: Vec<String> = types.iter().map(|ty| ty.name()).collect();
        self.fail(
            at,
            format!(
                "found no matching overload for '{name}' applied to '({})'",
                names.join(", ")
            ),
        )
    }

    fn expr(&mut self, expr: &Expr) -> Known<'s> {
        let at = expr.at;
        match &expr.node {
            Node::Literal(literal) => Ok((of_literal(literal), 0)),
            Node::Ident(name) => self.ident(at, name),
            Node::Select {
                of,
                field,
                optional,
            } => self.select(at, of, field, *optional),
            Node::Has { of, field } => {
                let (_, cost) = self.select(at, of, field, false)?;
                Ok((Type::Bool, cost))
            }
            Node::Index {
                of,
                place,
                optional,
            } => self.index(of, place, *optional),
            Node::Call { target, name, args } => self.call(at, target.as_deref(), name, args),
            Node::List(elements) => {
                let (mut element, mut cost) = (None, 10);
                for one in elements {
                    let (ty, own) = self.expr(one)?;
                    cost += own;
                    element = Some(match element {
                        None => ty,
                        Some(known) => Type::joined(known, ty),
                    });
                }
                Ok((
                    Type::List(
                        Box::new(element.unwrap_or(Type::Dyn)),
                        elements.len() as u64,
                    ),
                    cost,
                ))
            }
            Node::Map(entries) => {
                let mut cost = 30;
                for (key, value) in entries {
                    cost += self.expr(key)?.1 + self.expr(value)?.1;
                }
                let any = || Box::new(Type::Dyn);
                Ok((Type::Map(any(), any(), entries.len() as u64), cost))
            }
            Node::Not(inner) => {
                let (ty, cost) = self.expr(inner)?;
                match ty {
                    Type::Bool | Type::Dyn => Ok((Type::Bool, cost + 1)),
                    ty => self.no_overload(at, "!_", &[&ty]),
                }
            }
            Node::Negate(inner) => {
                let (ty, cost) = self.expr(inner)?;
                match ty {
                    Type::Int | Type::Double | Type::Dyn | Type::Duration => Ok((ty, cost + 1)),
                    ty => self.no_overload(at, "-_", &[&ty]),
                }
            }
            Node::And(parts) => self.logic(parts, "_&&_"),
            Node::Or(parts) => self.logic(parts, "_||_"),
            Node::Choice(condition, yes, no) => {
                let (ty, cost) = self.expr(condition)?;
                let (a, x) = self.expr(yes)?;
                let (b, y) = self.expr(no)?;
                if !matches!(ty, Type::Bool | Type::Dyn) {
                    return self.no_overload(at, "_?_:_", &[&ty, &a, &b]);
                }
                Ok((Type::joined(a, b), cost + x.max(y)))
            }
            Node::Binary(operator, left, right) => self.binary(at, *operator, left, right),
            Node::Fold {
                fold,
                range,
                var,
                second,
                filter,
                body,
            } => self.fold(
                at,
                *fold,
                range,
                (var, second.as_deref()),
                (filter.as_deref(), body),
            ),
            Node::OptionalMap {
                of,
                var,
                body,
                flat,
            } => {
                let (ty, cost) = self.expr(of)?;
                let inner = match ty {
                    Type::Optional(inner) => *inner,
                    Type::Dyn => Type::Dyn,
                    ty => return self.no_overload(at, "optMap", &[&ty]),
                };
                let (given, own) = self.with(&[(var.as_str(), inner)], |this| this.expr(body))?;
                let given = if *flat {
                    given
                } else {
                    Type::Optional(Box::new(given))
                };
                Ok((given, cost.saturating_add(own).saturating_add(1)))
            }
        }
    }

    fn with<T>(&mut self, variables: &[(&str, Type<'s>)], then: impl FnOnce(&mut Self) -> T) -> T {
        let known = self.scope.len();
        self.scope.extend(
            variables
                .iter()
                .map(|(name, ty)| ((*name).to_owned(), ty.clone())),
        );
        let result = then(self);
        self.scope.truncate(known);
        result
    }

    fn ident(&mut self, at: usize, name: &str) -> Known<'s> {
        if name == "oldSelf" {
            self.uses_old_self = true;
        }
        if let Some((_, ty)) = self.scope.iter().rev().find(|(own, _)| own == name) {
            return Ok((ty.clone(), 1));
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
        if kinds.contains(&name) {
            return Ok((Type::Kind, 1));
        }
        self.fail(
            at,
            format!("undeclared reference to '{name}' (in container '')"),
        )
    }

    /// The type of `variables.NAME`.
    fn composed(&mut self, at: usize, of: &Expr, field: &str) -> Option<Known<'s>> {
        let is_meant = matches!(&of.node, Node::Ident(own) if own == COMPOSED)
            && !self.composed.is_empty()
            && !self.scope.iter().any(|(own, _)| own == COMPOSED);
        if !is_meant {
            return None;
        }
        let found = self.composed.iter().find(|one| one.name == field);
        let Some(found) = found else {
            return Some(self.fail(at, format!("undefined field '{field}'")));
        };
        self.deepest = self.deepest.max(found.depth);
        Some(Ok((found.type_.clone(), 1)))
    }

    fn select(&mut self, at: usize, of: &Expr, field: &str, optional: bool) -> Known<'s> {
        if let Some(known) = self.composed(at, of, field) {
            return known;
        }
        let (ty, cost) = self.expr(of)?;
        let (ty, is_optional) = match ty {
            Type::Optional(inner) => (*inner, true),
            ty => (ty, optional),
        };
        let found = match &ty {
            Type::Dyn => Type::Dyn,
            Type::Map(_, value, _) => (**value).clone(),
            Type::Object(schema, is_resource) => {
                let name = unescaped(field);
                let property = schema.properties.get(name.as_ref());
                let of_meta = matches!(name.as_ref(), "apiVersion" | "kind" | "metadata");
                match (property, *is_resource && of_meta) {
                    (_, true) if name == "metadata" => Type::Dyn,
                    (_, true) => Type::Text(253),
                    (Some(property), _) => Type::of(property, property.is_resource),
                    (None, _) => match schema.additional_schema() {
                        Some(schema) => Type::of(schema, schema.is_resource),
                        None => return self.fail(at, format!("undefined field '{field}'")),
                    },
                }
            }
            ty => {
                return self.fail(
                    at,
                    format!("type '{}' does not support field selection", ty.name()),
                );
            }
        };
        let found = if is_optional {
            Type::Optional(Box::new(found))
        } else {
            found
        };
        Ok((found, cost.saturating_add(1)))
    }

    fn index(&mut self, of: &Expr, place: &Expr, optional: bool) -> Known<'s> {
        let (ty, cost) = self.expr(of)?;
        let (key, own) = self.expr(place)?;
        let (ty, is_optional) = match ty {
            Type::Optional(inner) => (*inner, true),
            ty => (ty, optional),
        };
        let found = match &ty {
            Type::List(element, _) if matches!(key, Type::Int | Type::Uint | Type::Dyn) => {
                (**element).clone()
            }
            Type::Map(_, value, _) => (**value).clone(),
            Type::Dyn => Type::Dyn,
            _ => return self.no_overload(place.at, "_[_]", &[&ty, &key]),
        };
        let found = if is_optional {
            Type::Optional(Box::new(found))
        } else {
            found
        };
        Ok((found, cost.saturating_add(own).saturating_add(1)))
    }

    fn logic(&mut self, parts: &[Expr], name: &str) -> Known<'s> {
        let mut cost: u64 = 0;
        for part in parts {
            let (ty, own) = self.expr(part)?;
            if !matches!(ty, Type::Bool | Type::Dyn) {
                return self.fail(
                    part.at,
                    format!("expected type 'bool' but found '{}' in '{name}'", ty.name()),
                );
            }
            cost = cost.saturating_add(own);
        }
        Ok((Type::Bool, cost))
    }

    fn binary(&mut self, at: usize, operator: Operator, left: &Expr, right: &Expr) -> Known<'s> {
        use Operator as Op;
        let (a, x) = self.expr(left)?;
        let (b, y) = self.expr(right)?;
        let cost = x.saturating_add(y);
        let number = |ty: &Type<'_>| matches!(ty, Type::Int | Type::Uint | Type::Double);
        let open = a.is_open() || b.is_open();
        let alike = std::mem::discriminant(&a) == std::mem::discriminant(&b);
        let size = a.size().min(b.size());
        let given = match operator {
            Op::Equal | Op::NotEqual if a.is_comparable(&b) => {
                return Ok((
                    Type::Bool,
                    cost.saturating_add(1).saturating_add(tenth(size)),
                ));
            }
            Op::In => match &b {
                Type::List(element, size) if a.is_comparable(element) => {
                    return Ok((Type::Bool, cost.saturating_add(1).saturating_add(*size)));
                }
                Type::Map(..) | Type::Dyn => Some(Type::Bool),
                _ => None,
            },
            Op::Less | Op::LessOrEqual | Op::Greater | Op::GreaterOrEqual => {
                let ordered = number(&a) && number(&b);
                let same = alike
                    && matches!(
                        a,
                        Type::Text(_)
                            | Type::Bytes(_)
                            | Type::Bool
                            | Type::Timestamp
                            | Type::Duration
                    );
                (ordered || same || open).then_some(Type::Bool)
            }
            Op::Add => self.sum(&a, &b, alike),
            Op::Subtract => match (&a, &b) {
                (Type::Timestamp, Type::Timestamp) => Some(Type::Duration),
                (Type::Timestamp, Type::Duration) => Some(Type::Timestamp),
                (Type::Duration, Type::Duration) => Some(Type::Duration),
                _ if alike && number(&a) => Some(a.clone()),
                _ if open => Some(Type::Dyn),
                _ => None,
            },
            Op::Multiply | Op::Divide if alike && number(&a) => Some(a.clone()),
            Op::Modulo if alike && matches!(a, Type::Int | Type::Uint) => Some(a.clone()),
            Op::Multiply | Op::Divide | Op::Modulo if open => Some(Type::Dyn),
            _ => None,
        };
        match given {
            Some(given) => Ok((given, cost.saturating_add(1))),
            None => self.no_overload(at, operator.symbol(), &[&a, &b]),
        }
    }

    fn sum(&self, a: &Type<'s>, b: &Type<'s>, alike: bool) -> Option<Type<'s>> {
        Some(match (a, b) {
            (Type::Text(x), Type::Text(y)) => Type::Text(x.saturating_add(*y)),
            (Type::Bytes(x), Type::Bytes(y)) => Type::Bytes(x.saturating_add(*y)),
            (Type::List(x, m), Type::List(y, n)) => Type::List(
                Box::new(Type::joined((**x).clone(), (**y).clone())),
                m.saturating_add(*n),
            ),
            (Type::Timestamp, Type::Duration) | (Type::Duration, Type::Timestamp) => {
                Type::Timestamp
            }
            (Type::Duration, Type::Duration) => Type::Duration,
            (Type::Int | Type::Uint | Type::Double, _) if alike => a.clone(),
            (Type::Dyn, _) | (_, Type::Dyn) => Type::Dyn,
            _ => return None,
        })
    }

    fn fold(
        &mut self,
        at: usize,
        fold: Fold,
        range: &Expr,
        (var, second): (&str, Option<&str>),
        (filter, body): (Option<&Expr>, &Expr),
    ) -> Known<'s> {
        let (ty, cost) = self.expr(range)?;
        let (first, other, size) = match &ty {
            Type::List(element, size) => match second {
                Some(_) => (Type::Int, (**element).clone(), *size),
                None => ((**element).clone(), Type::Dyn, *size),
            },
            Type::Map(key, value, size) => ((**key).clone(), (**value).clone(), *size),
            Type::Object(schema, _) => (Type::Text(253), Type::Dyn, schema.properties.len() as u64),
            Type::Dyn => (Type::Dyn, Type::Dyn, 1),
            ty => {
                let why = format!(
                    "expression of type '{}' cannot be range of a comprehension (must be list, map, or dynamic)",
                    ty.name()
                );
                return self.fail(at, why);
            }
        };
        let mut variables = vec![(var, first.clone())];
        variables.extend(second.map(|name| (name, other)));
        let ((given, own), sieve) = self.with(&variables, |this| {
            let sieve = filter.map(|filter| this.expr(filter)).transpose()?;
            Ok::<_, String>((this.expr(body)?, sieve))
        })?;
        let wants_bool = fold != Fold::Map;
        for ty in sieve
            .iter()
            .map(|(ty, _)| ty)
            .chain(wants_bool.then_some(&given))
        {
            if !matches!(ty, Type::Bool | Type::Dyn) {
                return self.fail(
                    body.at,
                    format!("expected type 'bool' but found '{}'", ty.name()),
                );
            }
        }
        let sieve = sieve.map_or(0, |(_, cost)| cost);
        let round = own.saturating_add(sieve).saturating_add(ROUND);
        let cost = cost
            .saturating_add(size.saturating_mul(round))
            .saturating_add(1);
        let given = match fold {
            Fold::Map => Type::List(Box::new(given), size),
            Fold::Filter => Type::List(Box::new(first), size),
            Fold::All | Fold::Exists | Fold::ExistsOne => Type::Bool,
        };
        Ok((given, cost))
    }

    fn call(&mut self, at: usize, target: Option<&Expr>, name: &str, args: &[Expr]) -> Known<'s> {
        let mut cost: u64 = 1;
        let mut types = Vec::new();
        for arg in args {
            let (ty, own) = self.expr(arg)?;
            cost = cost.saturating_add(own);
            types.push(ty);
        }
        let library = match target.map(|target| &target.node) {
            Some(Node::Ident(word)) => {
                let is_variable = self.scope.iter().any(|(own, _)| own == word);
                LIBRARIES
                    .into_iter()
                    .find(|library| library == word && !is_variable)
            }
            _ => None,
        };
        let mut all = Vec::new();
        let found = match (library, target) {
            (Some(library), _) => of_library(library, name, &types),
            (None, None) => global(name, &types),
            (None, Some(target)) => {
                let (ty, own) = self.expr(target)?;
                cost = cost.saturating_add(own);
                let found = method(&ty, name, &types);
                all.push(ty);
                found
            }
        };
        all.extend(types);
        let traversed = match name {
            "size" | "hasValue" | "value" | "orValue" | "type" | "dyn" | "none" | "of"
            | "duration" | "timestamp" | "int" | "uint" | "double" | "bool" => 0,
            "isSorted" | "sum" | "min" | "max" | "indexOf" | "lastIndexOf" | "distinct"
            | "sort" | "flatten" => all.first().map_or(0, Type::size),
            "matches" | "find" | "findAll" => {
                tenth(all.first().map_or(0, Type::size)).saturating_mul(2)
            }
            _ => tenth(all.first().map_or(0, Type::size)),
        };
        match found {
            Found::Gives(given) => Ok((given, cost.saturating_add(traversed))),
            Found::WrongArguments => self.no_overload(at, name, &all.iter().collect::<Vec<_>>()),
            Found::Unknown => self.fail(
                at,
                format!("undeclared reference to '{name}' (in container '')"),
            ),
        }
    }
}

fn of_literal<'s>(literal: &Literal) -> Type<'s> {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::Text(text) => Type::Text(text.len() as u64),
        Literal::Bytes(bytes) => Type::Bytes(bytes.len() as u64),
    }
}
