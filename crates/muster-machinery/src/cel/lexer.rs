//! Words and signs of an expression.

use super::parser::SyntaxError;

/// One word or sign.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Ident(String),
    /// A name in backquotes: taken as it is.
    Quoted(String),
    Int(i64),
    /// The magnitude of the smallest integer, which only a minus makes one.
    IntMin,
    Uint(u64),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
    Sign(&'static str),
}

const SIGNS: [&str; 27] = [
    "==", "!=", "<=", ">=", "&&", "||", "?.", "[?", "<", ">", "!", "+", "-", "*", "/", "%", "?",
    ":", ".", ",", "(", ")", "[", "]", "{", "}", "=",
];

/// Splits a text into tokens with their places.
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, SyntaxError> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next()? {
        tokens.push(token);
    }
    Ok(tokens)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn fail<T>(&self, at: usize, why: impl Into<String>) -> Result<T, SyntaxError> {
        Err(SyntaxError::new(self.text, at, why))
    }

    fn next(&mut self) -> Result<Option<(usize, Token)>, SyntaxError> {
        loop {
            self.take_while(char::is_whitespace);
            if !self.rest().starts_with("//") {
                break;
            }
            self.take_while(|c| c != '\n');
        }
        let at = self.at;
        let Some(first) = self.rest().chars().next() else {
            return Ok(None);
        };
        if let Some(token) = self.string()? {
            return Ok(Some((at, token)));
        }
        if first.is_ascii_digit()
            || (first == '.' && self.rest()[1..].starts_with(|c: char| c.is_ascii_digit()))
        {
            return self.number().map(|token| Some((at, token)));
        }
        if first == '_' || first.is_ascii_alphabetic() {
            let name = self.take_while(|c| c == '_' || c.is_ascii_alphanumeric());
            return Ok(Some((at, Token::Ident(name.to_owned()))));
        }
        if first == '`' {
            self.at += 1;
            let name = self.take_while(|c| c != '`' && c != '\n').to_owned();
            if !self.rest().starts_with('`') || name.is_empty() {
                return self.fail(at, "token recognition error at: '`'");
            }
            self.at += 1;
            return Ok(Some((at, Token::Quoted(name))));
        }
        match SIGNS.into_iter().find(|sign| self.rest().starts_with(sign)) {
            Some("=") => self.fail(
                at,
                format!("token recognition error at: '{}'", head(self.rest())),
            ),
            Some(sign) => {
                self.at += sign.len();
                Ok(Some((at, Token::Sign(sign))))
            }
            None => self.fail(at, format!("token recognition error at: '{first}'")),
        }
    }

    fn number(&mut self) -> Result<Token, SyntaxError> {
        let start = self.at;
        if let Some(hex) = self
            .rest()
            .strip_prefix("0x")
            .or_else(|| self.rest().strip_prefix("0X"))
        {
            let end = hex
                .find(|c: char| !c.is_ascii_hexdigit())
                .unwrap_or(hex.len());
            self.at += 2 + end;
            let number = u64::from_str_radix(&hex[..end], 16);
            return self.whole(start, number.ok());
        }
        self.take_while(|c| c.is_ascii_digit());
        let mut is_double = false;
        if self.rest().starts_with('.')
            && self.rest()[1..].starts_with(|c: char| c.is_ascii_digit())
        {
            self.at += 1;
            self.take_while(|c| c.is_ascii_digit());
            is_double = true;
        }
        if self.rest().starts_with(['e', 'E']) {
            let exponent = self.rest()[1..].trim_start_matches(['+', '-']);
            if exponent.starts_with(|c: char| c.is_ascii_digit()) {
                self.at = self.text.len() - exponent.len();
                self.take_while(|c| c.is_ascii_digit());
                is_double = true;
            }
        }
        let text = &self.text[start..self.at];
        if is_double {
            return match text.parse() {
                Ok(number) => Ok(Token::Double(number)),
                Err(_) => self.fail(start, "invalid double literal"),
            };
        }
        self.whole(start, text.parse().ok())
    }

    fn whole(&mut self, start: usize, number: Option<u64>) -> Result<Token, SyntaxError> {
        let unsigned = self.rest().starts_with(['u', 'U']);
        match number {
            Some(number) if unsigned => {
                self.at += 1;
                Ok(Token::Uint(number))
            }
            Some(number) if number == 1 << 63 => Ok(Token::IntMin),
            Some(number) => match i64::try_from(number) {
                Ok(number) => Ok(Token::Int(number)),
                Err(_) => self.fail(start, "invalid int literal"),
            },
            None => self.fail(start, "invalid int literal"),
        }
    }

    /// A text or bytes, with what may stand before the quotes.
    fn string(&mut self) -> Result<Option<Token>, SyntaxError> {
        let start = self.at;
        let rest = self.rest();
        let quote_at = rest.find(['"', '\'']).unwrap_or(rest.len());
        let prefix = rest.get(..quote_at).unwrap_or_default();
        let lower = prefix.to_ascii_lowercase();
        if quote_at == rest.len() || !matches!(lower.as_str(), "" | "r" | "b" | "rb" | "br") {
            return Ok(None);
        }
        let (raw, bytes) = (lower.contains('r'), lower.contains('b'));
        let body = &rest[quote_at..];
        let quote = &body[..1];
        let long = quote.repeat(3);
        let (quote, is_long) = if body.starts_with(&long) {
            (long.as_str(), true)
        } else {
            (quote, false)
        };
        self.at += quote_at + quote.len();
        let mut out = Vec::new();
        loop {
            let rest = self.rest();
            if rest.starts_with(quote) {
                self.at += quote.len();
                break;
            }
            let Some(c) = rest
                .chars()
                .next()
                .filter(|c| is_long || !matches!(c, '\n' | '\r'))
            else {
                return self.fail(
                    start,
                    format!(
                        "token recognition error at: '{}'",
                        head(&self.text[start..])
                    ),
                );
            };
            self.at += c.len_utf8();
            if c == '\\' && !raw {
                self.escape(bytes, &mut out)?;
            } else {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        Ok(Some(if bytes {
            Token::Bytes(out)
        } else {
            match String::from_utf8(out) {
                Ok(text) => Token::Text(text),
                Err(_) => return self.fail(start, "invalid text literal"),
            }
        }))
    }

    fn escape(&mut self, bytes: bool, out: &mut Vec<u8>) -> Result<(), SyntaxError> {
        let at = self.at;
        let Some(c) = self.rest().chars().next() else {
            return self.fail(at, "unterminated escape");
        };
        self.at += c.len_utf8();
        let plain = match c {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 11,
            '\\' | '?' | '"' | '\'' | '`' => c as u8,
            'x' | 'X' => return self.code(2, 16, bytes, out),
            'u' if !bytes => return self.code(4, 16, false, out),
            'U' if !bytes => return self.code(8, 16, false, out),
            '0'..='3' => {
                self.at = at;
                return self.code(3, 8, bytes, out);
            }
            _ => return self.fail(at, format!("unknown escape '\\{c}'")),
        };
        out.push(plain);
        Ok(())
    }

    fn code(
        &mut self,
        digits: usize,
        radix: u32,
        bytes: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), SyntaxError> {
        let at = self.at;
        let code = self
            .rest()
            .get(..digits)
            .and_then(|text| u32::from_str_radix(text, radix).ok());
        self.at = (self.at + digits).min(self.text.len());
        match (code, bytes) {
            (Some(code), true) if code < 256 => out.push(code as u8),
            (Some(code), false) if char::from_u32(code).is_some() => {
                let c = char::from_u32(code).unwrap_or_default();
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            _ => return self.fail(at, "invalid escape"),
        }
        Ok(())
    }
}

fn head(text: &str) -> String {
    text.chars().take(2).collect()
}
