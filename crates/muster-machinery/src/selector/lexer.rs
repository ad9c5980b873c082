//! Words and signs of the label selector language.

/// One word or sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A key or a value (also `in` and `notin` until the parser reads them in place).
    Word(String),
    In,
    NotIn,
    Equals,
    DoubleEquals,
    NotEquals,
    DoesNotExist,
    GreaterThan,
    LessThan,
    Open,
    Close,
    Comma,
    End,
    /// A sign that is none of the above, as it was found.
    Unknown(String),
}

impl Token {
    /// The text as upstream quotes it in errors.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Word(word) | Self::Unknown(word) => word,
            Self::In => "in",
            Self::NotIn => "notin",
            Self::Equals => "=",
            Self::DoubleEquals => "==",
            Self::NotEquals => "!=",
            Self::DoesNotExist => "!",
            Self::GreaterThan => ">",
            Self::LessThan => "<",
            Self::Open => "(",
            Self::Close => ")",
            Self::Comma => ",",
            Self::End => "",
        }
    }

    /// A word, whether or not it is also an operator.
    pub(super) const fn is_word(&self) -> bool {
        matches!(self, Self::Word(_) | Self::In | Self::NotIn)
    }
}

const fn is_sign(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

const fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// Splits the text into tokens, ending with [`Token::End`].
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while let Some(first) = rest.chars().next() {
        let length = if is_sign(first) {
            sign_length(rest)
        } else {
            word_length(rest)
        };
        let (taken, tail) = rest.split_at(length);
        tokens.push(if is_sign(first) {
            sign(taken)
        } else {
            word(taken)
        });
        rest = tail.trim_start_matches(is_space);
    }
    tokens.push(Token::End);
    tokens
}

fn word_length(text: &str) -> usize {
    text.find(|c| is_sign(c) || is_space(c))
        .unwrap_or(text.len())
}

/// The longest operator at the start; `==` and `!=` are the only ones of two characters.
fn sign_length(text: &str) -> usize {
    if text.starts_with("==") || text.starts_with("!=") {
        2
    } else {
        1
    }
}

fn word(text: &str) -> Token {
    match text {
        "in" => Token::In,
        "notin" => Token::NotIn,
        _ => Token::Word(text.to_owned()),
    }
}

fn sign(text: &str) -> Token {
    match text {
        "=" => Token::Equals,
        "==" => Token::DoubleEquals,
        "!=" => Token::NotEquals,
        "!" => Token::DoesNotExist,
        "(" => Token::Open,
        ")" => Token::Close,
        "," => Token::Comma,
        ">" => Token::GreaterThan,
        "<" => Token::LessThan,
        other => Token::Unknown(other.to_owned()),
    }
}
