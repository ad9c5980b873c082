//! Where the token of a join comes from, and which worker profile goes with a join token of k0s.
//!
//! One source only: an argument, a file, standard input or the environment. It does not look into the token, except to
//! know whether it ends with its first line.

use crate::args::join::{CredentialFlags, Join};
use crate::exit::Failure;
use muster_identity::{Secret, TokenKind};
use muster_plan::parse_labels;
use std::io::{BufRead, IsTerminal as _, Read as _};
use std::path::Path;

/// Where k0s has its join token in the environment.
const VARIABLE: &str = "K0S_TOKEN";
/// The label by which k0s says which profile is whose.
const LABEL: &str = "k0s.k0sproject.io/worker-profile";
/// Most of a file or of standard input that is read, in bytes: a little more than a token may have.
const MOST: u64 = 513 * 1024;

/// The token's text, without white space around it; `None` when nobody gave one.
pub(crate) fn text(flags: &CredentialFlags) -> Result<Option<Secret<String>>, Failure> {
    let of_environment = of_environment();
    let given = match (&flags.token, &flags.token_file) {
        (Some(_), _) => Some("--token (or $MUSTER_TOKEN)"),
        (None, Some(_)) => Some("--token-file"),
        (None, None) => None,
    };
    if let (Some(given), Some(_)) = (given, &of_environment) {
        return Err(Failure::usage(format!(
            "a token was given in two ways: {given} and ${VARIABLE}"
        ))
        .cure("say it in one way only"));
    }
    let text = match (&flags.token, &flags.token_file) {
        (Some(text), _) if text == "-" => of_standard_input()?,
        (Some(text), _) => Secret::new(text.clone()),
        (None, Some(path)) => of_file(path)?,
        (None, None) => return Ok(of_environment),
    };
    Ok(Some(text))
}

/// A join token of k0s in the environment.
pub(crate) fn of_environment() -> Option<Secret<String>> {
    let text = std::env::var(VARIABLE).ok().map(Secret::new)?;
    (!text.expose().trim().is_empty()).then_some(text)
}

/// The profile by its flag, else by the label that the node is to have. None counts where no join token is used.
pub(crate) fn profile(join: &Join) -> Result<Option<String>, Failure> {
    let labels = parse_labels(&join.node.node_labels)
        .map_err(|error| Failure::usage("--node-labels cannot be used").because(&error))?;
    let by_label = labels.into_iter().find(|(key, _)| key == LABEL);
    match (&join.credential.profile, by_label) {
        (Some(flag), Some((_, label))) if *flag != label => Err(Failure::usage(format!(
            "--profile says {flag}, and the label {LABEL} says {label}"
        ))
        .cure("let both say the same, or leave one out")),
        (Some(flag), _) => Ok(Some(flag.clone())),
        (None, label) => Ok(label.map(|(_, name)| name)),
    }
}

/// The token in a file: all of it for a join token, which may be folded, and the first line for a short one.
pub(crate) fn of_file(path: &Path) -> Result<Secret<String>, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::usage(format!("{} cannot be read", path.display())).because(&error)
    };
    if path == Path::new("-") {
        return of_standard_input();
    }
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let text = whole(file).map_err(unreadable)?;
    if text.expose().trim().is_empty() {
        return Err(
            Failure::usage(format!("the token file {} is empty", path.display()))
                .cure("write the token into it, or name another file"),
        );
    }
    Ok(as_token(&text))
}

/// One line where a person types; what was piped in is taken as a file is, but for what stands behind a short token:
/// that is for whoever reads the next secret (`--certificate-key -`).
fn of_standard_input() -> Result<Secret<String>, Failure> {
    if std::io::stdin().is_terminal() {
        return crate::entropy::line_of_standard_input().map(Secret::new);
    }
    of_lines(&mut std::io::stdin().lock())
        .map_err(|error| Failure::usage("standard input cannot be read").because(&error))
}

fn of_lines(source: &mut impl BufRead) -> std::io::Result<Secret<String>> {
    let mut text = Secret::new(String::new());
    let mut limited = source.take(MOST);
    limited.read_line(text.expose_mut())?;
    if TokenKind::of(text.expose().trim().as_bytes()) != Some(TokenKind::Bootstrap) {
        limited.read_to_string(text.expose_mut())?;
    }
    Ok(as_token(&text))
}

fn whole(source: impl std::io::Read) -> std::io::Result<Secret<String>> {
    let mut text = Secret::new(String::new());
    source.take(MOST).read_to_string(text.expose_mut())?;
    Ok(text)
}

fn as_token(text: &Secret<String>) -> Secret<String> {
    let text = text.expose().trim();
    let first = text.lines().next().unwrap_or_default();
    let whole = TokenKind::of(first.as_bytes()) != Some(TokenKind::Bootstrap);
    Secret::new(if whole { text } else { first.trim() }.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: &str) -> String {
        as_token(&Secret::new(text.to_owned())).expose().clone()
    }

    #[test]
    fn a_short_token_is_the_first_line_and_a_join_token_is_all_of_it() {
        assert_eq!(
            taken("abcdef.0123456789abcdef\n# of Monday\n"),
            "abcdef.0123456789abcdef"
        );
        assert_eq!(taken("\n H4sIAAAA\nBBBB\n\n"), "H4sIAAAA\nBBBB");
        assert_eq!(taken(" \n"), "");
    }

    #[test]
    fn what_stands_behind_a_short_token_is_left_for_the_next_reader() {
        let mut piped = "abcdef.0123456789abcdef\nthe certificate key\n".as_bytes();
        let token = of_lines(&mut piped).unwrap();
        assert_eq!(token.expose(), "abcdef.0123456789abcdef");
        assert_eq!(piped, b"the certificate key\n");
        let mut folded = "H4sIAAAA\nBBBB\n".as_bytes();
        assert_eq!(of_lines(&mut folded).unwrap().expose(), "H4sIAAAA\nBBBB");
    }
}
