//! Functions of lists.

use std::cmp::Ordering;

use super::super::ast::Operator;
use super::super::eval::{EvalError, Outcome};
use super::super::value::Val;
use super::text::bounded;
use super::{arithmetic, refused, text_of};

pub(super) fn of_list<'a>(list: Vec<Val<'a>>, name: &str, args: &[Val<'a>]) -> Outcome<'a> {
    let ordered = |a: &Val<'a>, b: &Val<'a>| a.compare(b).ok_or(EvalError::NoOverload);
    match (name, args) {
        ("isSorted", []) => {
            for pair in list.windows(2) {
                if ordered(&pair[0], &pair[1])? == Ordering::Greater {
                    return Ok(Val::Bool(false));
                }
            }
            Ok(Val::Bool(true))
        }
        ("sum", []) => {
            let mut list = list.into_iter();
            let first = list.next().unwrap_or(Val::Int(0));
            list.try_fold(first, |sum, one| arithmetic(Operator::Add, &sum, &one))
        }
        ("min" | "max", []) => {
            let wanted = if name == "min" {
                Ordering::Less
            } else {
                Ordering::Greater
            };
            let mut list = list.into_iter();
            let Some(mut best) = list.next() else {
                return refused(format!("{name} called on empty list"));
            };
            for one in list {
                if ordered(&one, &best)? == wanted {
                    best = one;
                }
            }
            Ok(best)
        }
        ("indexOf", [value]) => Ok(Val::Int(at(list.iter().position(|one| one.same(value))))),
        ("lastIndexOf", [value]) => Ok(Val::Int(at(list.iter().rposition(|one| one.same(value))))),
        ("includes", [value]) => Ok(Val::Bool(list.iter().any(|one| one.same(value)))),
        ("join", separator) => {
            let separator = match separator {
                [Val::Text(separator)] => separator.to_string(),
                [] => String::new(),
                _ => return Err(EvalError::NoOverload),
            };
            let parts: Option<Vec<String>> = list.iter().map(text_of).collect();
            bounded(parts.ok_or(EvalError::NoOverload)?.join(&separator))
        }
        ("distinct", []) => {
            let mut kept: Vec<Val<'a>> = Vec::new();
            for one in list {
                if !kept.iter().any(|own| own.same(&one)) {
                    kept.push(one);
                }
            }
            Ok(Val::list(kept))
        }
        ("reverse", []) => Ok(Val::list(list.into_iter().rev().collect())),
        ("sort", []) => {
            for pair in list.windows(2) {
                ordered(&pair[0], &pair[1])?;
            }
            let mut list = list;
            list.sort_by(|a, b| a.compare(b).unwrap_or(Ordering::Equal));
            Ok(Val::list(list))
        }
        ("flatten", []) => {
            let flat = list
                .into_iter()
                .flat_map(|one| one.elements().unwrap_or_else(|| vec![one]));
            Ok(Val::list(flat.collect()))
        }
        ("slice", [Val::Int(from), Val::Int(to)]) => {
            let bound = |at: i64| usize::try_from(at).ok().filter(|at| *at <= list.len());
            match (bound(*from), bound(*to)) {
                (Some(from), Some(to)) if from <= to => Ok(Val::list(list[from..to].to_vec())),
                _ => refused(format!(
                    "cannot slice({from}, {to}), list is length {}",
                    list.len()
                )),
            }
        }
        _ => Err(EvalError::NoOverload),
    }
}

fn at(found: Option<usize>) -> i64 {
    found.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1)
}
