//! A command line as cobra and pflag read it.
//!
//! Flags may stand anywhere, underscores are dashes, booleans take `=false`, letters may carry their value. It refuses
//! to know what a flag means.

use super::pages::{self, Flag, Takes};
use super::refusal::Refusal;
use muster_identity::{DurationError, GoDuration};

/// Why a command line is not run.
pub(super) enum Stop {
    /// Help was asked for.
    Page(String),
    /// Help was asked for about what is not there; no error, as with cobra.
    Astray(String),
    /// A group of commands was called without one.
    Group(String),
    /// It is wrong.
    Refused(Refusal),
}

/// A command line that can be run.
#[derive(Clone, Debug)]
pub(super) struct Parsed {
    /// The command without `kubeadm`.
    pub(super) path: Vec<String>,
    /// What is no flag.
    pub(super) arguments: Vec<String>,
    flags: Vec<Flag>,
    given: Vec<(String, String)>,
}

fn refused<T>(text: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Refused(Refusal::usage(text)))
}

/// Reads the words behind the program's name.
pub(super) fn parse(words: &[String]) -> Result<Parsed, Stop> {
    let (mut path, rest) = command_of(words);
    if path.first().is_some_and(|first| first == "help") {
        path.remove(0);
        return help_for(path, &rest);
    }
    let Some(page) = pages::page(&path) else {
        // Listed but not answered; what it would take is not known here.
        return Ok(Parsed {
            path,
            arguments: Vec::new(),
            flags: Vec::new(),
            given: Vec::new(),
        });
    };
    let mut parsed = Parsed {
        flags: pages::flags_of(&path),
        path,
        arguments: Vec::new(),
        given: Vec::new(),
    };
    if parsed.take(&rest)? {
        return Err(Stop::Page(page));
    }
    parsed.check_arguments(&page)?;
    let group = pages::children(&page);
    let runs_itself =
        matches!(parsed.path.as_slice(), [one] if ["join", "reset"].contains(&one.as_str()));
    if group.is_empty() || runs_itself {
        return Ok(parsed);
    }
    // These two groups are content to show their page.
    if parsed.path.is_empty() || parsed.path == ["kubeconfig"] {
        return Err(Stop::Page(page));
    }
    if parsed.path == ["init"] {
        return Ok(parsed);
    }
    Err(Stop::Group(page))
}

/// `kubeadm help COMMAND`.
fn help_for(path: Vec<String>, rest: &[String]) -> Result<Parsed, Stop> {
    let topic: Vec<String> = path
        .into_iter()
        .chain(rest.iter().filter(|word| !word.starts_with('-')).cloned())
        .collect();
    let mut known = Vec::new();
    for word in &topic {
        match child(&known, word) {
            Some(name) => known.push(name),
            None => {
                let page = pages::page(&[]).unwrap_or_default();
                let usage = page.find("Usage:").map_or("", |at| &page[at..]);
                let named: Vec<String> = topic.iter().map(|word| format!("`{word}`")).collect();
                let named = named.join(" ");
                return Err(Stop::Astray(format!(
                    "Unknown help topic [{named}]\n{usage}"
                )));
            }
        }
    }
    Err(Stop::Page(pages::page(&known).unwrap_or_default()))
}

/// The command that the words lead to, and the words that are no part of it.
fn command_of(words: &[String]) -> (Vec<String>, Vec<String>) {
    let mut path: Vec<String> = Vec::new();
    let mut rest = Vec::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        if word == "--" {
            rest.push(word.clone());
            break;
        }
        if word.starts_with('-') && word.len() > 1 {
            rest.push(word.clone());
            if takes_next_word(&path, word)
                && let Some(value) = words.next()
            {
                rest.push(value.clone());
            }
            continue;
        }
        match child(&path, word) {
            Some(name) => path.push(name),
            None => {
                rest.push(word.clone());
                break;
            }
        }
    }
    rest.extend(words.cloned());
    (path, rest)
}

/// The sub-command of this name or alias.
fn child(path: &[String], word: &str) -> Option<String> {
    let page = pages::page(path)?;
    let children = pages::children(&page);
    if path.is_empty() && word == "help" {
        return Some(word.to_owned());
    }
    let is_meant = |child: &&String| {
        if *child == word {
            return true;
        }
        let mut below = path.to_vec();
        below.push((*child).clone());
        pages::page(&below)
            .is_some_and(|page| pages::aliases(&page).iter().any(|name| name == word))
    };
    children.iter().find(is_meant).cloned()
}

/// Whether a flag before the command takes the next word as its value.
fn takes_next_word(path: &[String], word: &str) -> bool {
    if word.contains('=') {
        return false;
    }
    let flags = pages::flags_of(path);
    let flag = match word.strip_prefix("--") {
        Some(name) => flags
            .iter()
            .find(|flag| flag.name == name.replace('_', "-")),
        None if word.len() == 2 => {
            let letter = word.chars().nth(1);
            flags.iter().find(|flag| flag.short == letter)
        }
        None => return false,
    };
    flag.is_none_or(|flag| flag.takes != Takes::Bool) && word != "--help" && word != "-h"
}

impl Parsed {
    /// Takes flags and arguments in; whether help was asked for.
    fn take(&mut self, words: &[String]) -> Result<bool, Stop> {
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--" {
                self.arguments.extend(words.by_ref().cloned());
            } else if let Some(long) = word.strip_prefix("--") {
                let (name, value) = match long.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (long, None),
                };
                if name == "help" {
                    return Ok(true);
                }
                let normal = name.replace('_', "-");
                let Some(flag) = self.flags.iter().find(|flag| flag.name == normal).cloned() else {
                    return refused(format!("unknown flag: --{name}"));
                };
                let value = match value {
                    Some(value) => value,
                    None if flag.takes == Takes::Bool => "true".to_owned(),
                    None => match words.next() {
                        Some(value) => value.clone(),
                        None => return refused(format!("flag needs an argument: --{name}")),
                    },
                };
                self.give(&flag, value)?;
            } else if word.len() > 1 && word.starts_with('-') {
                if self.letters(&word[1..], &mut words)? {
                    return Ok(true);
                }
            } else {
                self.arguments.push(word.clone());
            }
        }
        Ok(false)
    }

    /// `-v5`, `-v=5`, `-v 5`, `-fo json`.
    fn letters<'w>(
        &mut self,
        group: &str,
        words: &mut impl Iterator<Item = &'w String>,
    ) -> Result<bool, Stop> {
        for (at, letter) in group.char_indices() {
            if letter == 'h'
                && !self
                    .flags
                    .iter()
                    .any(|flag| flag.short == Some('h') && flag.name != "help")
            {
                return Ok(true);
            }
            let Some(flag) = self
                .flags
                .iter()
                .find(|flag| flag.short == Some(letter))
                .cloned()
            else {
                return refused(format!("unknown shorthand flag: {letter:?} in -{group}"));
            };
            let after = &group[at + letter.len_utf8()..];
            if let Some(value) = after.strip_prefix('=') {
                self.give(&flag, value.to_owned())?;
                return Ok(false);
            }
            if flag.takes == Takes::Bool {
                self.give(&flag, "true".to_owned())?;
                continue;
            }
            let value = match (after.is_empty(), words.next()) {
                (false, _) => after.to_owned(),
                (true, Some(value)) => value.clone(),
                (true, None) => {
                    return refused(format!("flag needs an argument: {letter:?} in -{group}"));
                }
            };
            self.give(&flag, value)?;
            return Ok(false);
        }
        Ok(false)
    }

    fn give(&mut self, flag: &Flag, value: String) -> Result<(), Stop> {
        let shown = match flag.short {
            Some(letter) => format!("-{letter}, --{}", flag.name),
            None => format!("--{}", flag.name),
        };
        let wrong = |why: String| {
            refused(format!(
                "invalid argument {value:?} for \"{shown}\" flag: {why}"
            ))
        };
        match flag.takes {
            Takes::Bool if boolean(&value).is_none() => {
                return wrong(format!(
                    "strconv.ParseBool: parsing {value:?}: invalid syntax"
                ));
            }
            Takes::Number if value.parse::<i32>().is_err() => {
                return wrong(format!(
                    "strconv.ParseInt: parsing {value:?}: invalid syntax"
                ));
            }
            Takes::Duration => match GoDuration::parse(&value) {
                Ok(_) => {}
                Err(DurationError::MissingUnit { .. }) => {
                    return wrong(format!("time: missing unit in duration {value:?}"));
                }
                Err(_) => return wrong(format!("time: invalid duration {value:?}")),
            },
            _ => {}
        }
        self.given.push((flag.name.to_owned(), value));
        Ok(())
    }

    fn check_arguments(&self, page: &str) -> Result<(), Stop> {
        let Some(first) = self.arguments.first() else {
            return Ok(());
        };
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let limit = match path.as_slice() {
            ["join"]
            | ["join", "phase", "preflight" | "kubelet-start"]
            | [
                "join",
                "phase",
                "control-plane-prepare",
                "all" | "download-certs" | "certs" | "kubeconfig",
            ] => 1,
            // Taken and left aside, as by kubeadm.
            ["reset", ..]
            | [
                "join",
                "phase",
                "kubelet-wait-bootstrap" | "wait-control-plane",
            ] => usize::MAX,
            ["completion"] | ["token", "create" | "delete"] => usize::MAX,
            _ => 0,
        };
        if limit == 0 {
            let command = ["kubeadm"]
                .iter()
                .chain(&path)
                .copied()
                .collect::<Vec<_>>()
                .join(" ");
            let mut text = format!("unknown command {first:?} for {command:?}");
            if path.is_empty() {
                text.push_str(&suggestions(first, &pages::children(page)));
            }
            return refused(text);
        }
        if self.arguments.len() > limit {
            return refused(format!(
                "accepts at most {limit} arg(s), received {}",
                self.arguments.len()
            ));
        }
        Ok(())
    }

    /// Gives a flag that was not given, if the command has it.
    pub(super) fn prefer(&mut self, name: &str, value: &str) {
        if self.knows(name) && !self.is_given(name) {
            self.given.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Whether a flag was given.
    pub(super) fn is_given(&self, name: &str) -> bool {
        self.given.iter().any(|(given, _)| given == name)
    }

    /// Whether the command has such a flag.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.flags.iter().any(|flag| flag.name == name)
    }

    /// The last value given.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.given
            .iter()
            .rfind(|(given, _)| given == name)
            .map(|(_, value)| value.as_str())
    }

    /// The last value given, or the default that help names.
    pub(super) fn text_or_default(&self, name: &str) -> &str {
        let default = || {
            self.flags
                .iter()
                .find(|flag| flag.name == name)
                .map(|flag| flag.default)
        };
        self.text(name).or_else(default).unwrap_or_default()
    }

    /// Whether a switch is on.
    pub(super) fn is_on(&self, name: &str) -> bool {
        boolean(self.text_or_default(name)).unwrap_or(false)
    }

    /// All values of a list.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        self.given
            .iter()
            .filter(|(given, _)| given == name)
            .flat_map(|(_, value)| value.split(','))
            .map(|item| item.trim_matches('"').to_owned())
            .filter(|item| !item.is_empty())
            .collect()
    }

    /// A number.
    pub(super) fn number(&self, name: &str) -> Option<i32> {
        self.text_or_default(name).parse().ok()
    }

    /// How much is logged.
    pub(super) fn verbosity(&self) -> i64 {
        self.text("v")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    }

    /// Refuses flags that may not stand beside `--config`.
    pub(super) fn check_mixture(&self) -> Result<(), Refusal> {
        const ALLOWED: [&str; 15] = [
            "config",
            "ignore-preflight-errors",
            "dry-run",
            "kubeconfig",
            "kubeconfig-dir",
            "node-name",
            "upload-certs",
            "print-manifest",
            "print-join-command",
            "allow-missing-template-keys",
            "output",
            "show-managed-fields",
            "rootfs",
            "v",
            "yes",
        ];
        if !self.is_given("config") {
            return Ok(());
        }
        let mut mixed: Vec<&str> = self
            .given
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| !ALLOWED.contains(name) && !name.starts_with("skip-"))
            .collect();
        mixed.sort_unstable();
        mixed.dedup();
        if mixed.is_empty() {
            return Ok(());
        }
        Err(Refusal::usage(format!(
            "can not mix '--config' with arguments [{}]",
            mixed.join(" ")
        )))
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn suggestions(word: &str, commands: &[String]) -> String {
    let near: Vec<&String> = commands
        .iter()
        .filter(|name| distance(word, name) <= 2 || name.starts_with(&word.to_lowercase()))
        .collect();
    if near.is_empty() {
        return String::new();
    }
    let lines: String = near.iter().map(|name| format!("\t{name}\n")).collect();
    format!("\n\nDid you mean this?\n{lines}")
}

/// Levenshtein's distance.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.to_lowercase().chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn parsed(text: &str) -> Parsed {
        parse(&words(text)).unwrap_or_else(|_| panic!("{text}"))
    }

    fn told(text: &str) -> String {
        match parse(&words(text)) {
            Err(Stop::Refused(refusal)) => refusal
                .render(0)
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
            Err(Stop::Page(_)) => "page".to_owned(),
            Err(Stop::Astray(text)) => {
                format!("astray: {}", text.lines().next().unwrap_or_default())
            }
            Err(Stop::Group(_)) => "group".to_owned(),
            Ok(_) => "ok".to_owned(),
        }
    }

    #[test]
    fn flags_stand_anywhere_and_letters_carry_values() {
        let line = parsed(
            "--v=5 join 1.2.3.4:6443 --token a.b --discovery-token-ca-cert-hash x,y --discovery-token-ca-cert-hash z --dry_run",
        );
        assert_eq!(line.path, ["join"]);
        assert_eq!(line.arguments, ["1.2.3.4:6443"]);
        assert_eq!(line.text("token"), Some("a.b"));
        assert_eq!(line.list("discovery-token-ca-cert-hash"), ["x", "y", "z"]);
        assert!(line.is_on("dry-run"));
        assert_eq!(line.verbosity(), 5);
        assert_eq!(parsed("reset -fv3").verbosity(), 3);
        assert!(!parsed("reset --force=false").is_on("force"));
        assert_eq!(parsed("token list -o json").text("output"), Some("json"));
        assert_eq!(parsed("token --kubeconfig x list").path, ["token", "list"]);
        assert_eq!(
            parsed("certificates certificate-key").path,
            ["certs", "certificate-key"]
        );
        assert_eq!(
            parsed("reset phase cleanupnode").path,
            ["reset", "phase", "cleanup-node"]
        );
    }

    #[test]
    fn what_is_wrong_is_told_in_kubeadms_words() {
        for (line, text) in [
            ("foo", "error: unknown command \"foo\" for \"kubeadm\""),
            ("join --foo", "error: unknown flag: --foo"),
            ("join a b", "error: accepts at most 1 arg(s), received 2"),
            ("join --token", "error: flag needs an argument: --token"),
            (
                "token generate -v",
                "error: flag needs an argument: 'v' in -v",
            ),
            (
                "token list extra",
                "error: unknown command \"extra\" for \"kubeadm token list\"",
            ),
            (
                "token foo",
                "error: unknown command \"foo\" for \"kubeadm token\"",
            ),
            (
                "join phase foo",
                "error: unknown command \"foo\" for \"kubeadm join phase\"",
            ),
            (
                "join phase etcd-join x",
                "error: unknown command \"x\" for \"kubeadm join phase etcd-join\"",
            ),
            (
                "token create --ttl x",
                "error: invalid argument \"x\" for \"--ttl\" flag: time: invalid duration \"x\"",
            ),
            (
                "join --dry-run=x",
                "error: invalid argument \"x\" for \"--dry-run\" flag: strconv.ParseBool: parsing \"x\": invalid syntax",
            ),
            ("", "page"),
            ("kubeconfig", "page"),
            ("help join", "page"),
            ("join -h", "page"),
            ("token", "group"),
            ("join phase", "group"),
            ("join phase control-plane-prepare", "group"),
            ("upgrade plan", "ok"),
            ("reset node-1 --force", "ok"),
            ("join phase kubelet-wait-bootstrap 1.2.3.4:6443", "ok"),
            ("help nope", "astray: Unknown help topic [`nope`]"),
        ] {
            assert_eq!(told(line), text, "{line}");
        }
        let Err(Stop::Refused(refusal)) = parse(&words("jion")) else {
            panic!()
        };
        assert!(
            refusal
                .render(0)
                .contains("\n\nDid you mean this?\n\tjoin\n")
        );
    }

    #[test]
    fn what_may_not_stand_beside_a_file_is_named() {
        let mixture = |text: &str| parsed(text).check_mixture().err().map(|r| r.render(0));
        let told = mixture("join --config x --cri-socket y --control-plane --node-name z").unwrap();
        assert!(told.starts_with(
            "error: can not mix '--config' with arguments [control-plane cri-socket]"
        ));
        assert!(mixture("join --config x --node-name z --skip-phases a --dry-run -v5").is_none());
        assert!(mixture("reset --config x --force").is_some());
    }
}
