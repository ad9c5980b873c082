//! The grammar of label selector text.

use std::collections::BTreeSet;

use super::super::lexer::{Token, tokens};
use super::{LabelSelectorError, Operator, Requirement};

/// The requirements of a selector, in the order of the text.
pub(super) fn requirements(text: &str) -> Result<Vec<Requirement>, LabelSelectorError> {
    Parser {
        tokens: tokens(text),
        at: 0,
    }
    .requirements()
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).unwrap_or(&Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn requirements(&mut self) -> Result<Vec<Requirement>, LabelSelectorError> {
        let mut requirements = Vec::new();
        loop {
            match self.peek() {
                token if token.is_word() || *token == Token::DoesNotExist => {
                    requirements.push(self.requirement()?);
                    match self.next() {
                        Token::End => return Ok(requirements),
                        Token::Comma => {
                            let next = self.peek();
                            if !next.is_word() && *next != Token::DoesNotExist {
                                let found = next.text().to_owned();
                                return Err(LabelSelectorError::DanglingComma { found });
                            }
                        }
                        other => {
                            let found = other.text().to_owned();
                            return Err(LabelSelectorError::Unseparated { found });
                        }
                    }
                }
                Token::End => return Ok(requirements),
                other => {
                    return Err(LabelSelectorError::Unexpected {
                        found: other.text().to_owned(),
                    });
                }
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, LabelSelectorError> {
        let negated = *self.peek() == Token::DoesNotExist;
        if negated {
            self.at += 1;
        }
        let key = match self.next() {
            token if token.is_word() => token.text().to_owned(),
            other => {
                return Err(LabelSelectorError::Syntax(format!(
                    "found '{}', expected: identifier",
                    other.text()
                )));
            }
        };
        if negated {
            return Requirement::new(key, Operator::DoesNotExist, []);
        }
        if matches!(self.peek(), Token::End | Token::Comma) {
            return Requirement::new(key, Operator::Exists, []);
        }
        let operator = self.operator()?;
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => BTreeSet::from([self.exact_value()?]),
        };
        Requirement::new(key, operator, values)
    }

    fn operator(&mut self) -> Result<Operator, LabelSelectorError> {
        Ok(match self.next() {
            Token::In => Operator::In,
            Token::NotIn => Operator::NotIn,
            Token::Equals => Operator::Equals,
            Token::DoubleEquals => Operator::DoubleEquals,
            Token::NotEquals => Operator::NotEquals,
            Token::GreaterThan => Operator::GreaterThan,
            Token::LessThan => Operator::LessThan,
            other => {
                return Err(LabelSelectorError::Syntax(format!(
                    "found '{}', expected: in, notin, =, ==, !=, gt, lt",
                    other.text()
                )));
            }
        })
    }

    fn values(&mut self) -> Result<BTreeSet<String>, LabelSelectorError> {
        let opening = self.next();
        if opening != Token::Open {
            return Err(LabelSelectorError::Syntax(format!(
                "found '{}' expected: '('",
                opening.text()
            )));
        }
        let mut values = BTreeSet::new();
        loop {
            // An empty place between commas is the empty value, as upstream reads it.
            match self.peek() {
                token if token.is_word() => {
                    values.insert(token.text().to_owned());
                    self.at += 1;
                }
                Token::Comma | Token::Close => {
                    values.insert(String::new());
                }
                other => {
                    return Err(LabelSelectorError::Syntax(format!(
                        "found '{}', expected: ',', or identifier",
                        other.text()
                    )));
                }
            }
            match self.next() {
                Token::Close => return Ok(values),
                Token::Comma => {}
                other => {
                    return Err(LabelSelectorError::Syntax(format!(
                        "found '{}', expected: ',' or ')'",
                        other.text()
                    )));
                }
            }
        }
    }

    fn exact_value(&mut self) -> Result<String, LabelSelectorError> {
        match self.peek() {
            Token::End | Token::Comma => Ok(String::new()),
            token if token.is_word() => {
                let value = token.text().to_owned();
                self.at += 1;
                Ok(value)
            }
            other => Err(LabelSelectorError::Syntax(format!(
                "found '{}', expected: identifier",
                other.text()
            ))),
        }
    }
}
