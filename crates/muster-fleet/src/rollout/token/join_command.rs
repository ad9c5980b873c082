//! What `kubeadm token create --print-join-command` prints, read: endpoint, token, pins.
//!
//! Several pins, line breaks, tabs, quotes and flags that we do not know are understood, also when other lines stand
//! around the command. What is secret stays in a [`Secret`]; no error repeats any of the text.

use muster_identity::{BootstrapToken, CaPin, Endpoint, Secret};

/// The longest output that is read, in bytes.
const LONGEST: usize = 64 * 1024;
/// The port of an API server that is named without one.
const API_PORT: u16 = 6443;

/// A join command.
#[derive(Clone, Debug)]
pub(crate) struct JoinCommand {
    /// The API server.
    pub(crate) endpoint: Endpoint,
    /// The token.
    pub(crate) token: BootstrapToken,
    /// The pins; at least one.
    pub(crate) pins: Vec<CaPin>,
}

/// Why an output is no join command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JoinCommandError {
    /// No line has `join` followed by an endpoint: it is the output of something else.
    #[error("it holds no `kubeadm join` line")]
    Absent,
    /// It is longer than any such output.
    #[error("it is longer than {LONGEST} bytes")]
    TooLong,
    /// Something that a worker needs is missing or malformed.
    #[error("its {what} is missing or malformed")]
    Part {
        /// Which part.
        what: &'static str,
    },
}

impl JoinCommand {
    /// Finds the command in an output.
    ///
    /// # Errors
    /// [`JoinCommandError`].
    pub(crate) fn parse(output: &str) -> Result<Self, JoinCommandError> {
        if output.len() > LONGEST {
            return Err(JoinCommandError::TooLong);
        }
        let words = words(output);
        let begin = words
            .windows(2)
            .position(|pair| is_program(pair[0].expose()) && pair[1].expose() == "join")
            .ok_or(JoinCommandError::Absent)?;
        Self::of_words(&words[begin + 2..])
    }

    fn of_words(words: &[Secret<String>]) -> Result<Self, JoinCommandError> {
        let missing = |what| JoinCommandError::Part { what };
        let mut endpoint = None;
        let mut token = None;
        let mut pins = Vec::new();
        let mut words = words.iter().map(|word| word.expose().as_str());
        while let Some(word) = words.next() {
            let (name, attached) = match word.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name, Some(value)),
                _ => (word, None),
            };
            match name {
                "--token" | "--tls-bootstrap-token" => {
                    token = attached.or_else(|| words.next());
                }
                "--discovery-token-ca-cert-hash" => {
                    let value = attached.or_else(|| words.next());
                    let value = value.ok_or_else(|| missing("CA pin"))?;
                    for pin in value.split(',') {
                        pins.push(CaPin::parse(pin).map_err(|_| missing("CA pin"))?);
                    }
                }
                _ if name.starts_with('-') => {}
                _ if endpoint.is_none() && is_endpoint(word) => endpoint = Some(word),
                // The value of a flag that we do not know.
                _ => {}
            }
        }
        let endpoint = endpoint.ok_or_else(|| missing("endpoint"))?;
        let endpoint = endpoint.trim_start_matches("https://");
        let token = token.ok_or_else(|| missing("token"))?;
        if pins.is_empty() {
            return Err(missing("CA pin"));
        }
        Ok(Self {
            endpoint: Endpoint::parse_with_default_port(endpoint, API_PORT)
                .map_err(|_| missing("endpoint"))?,
            token: BootstrapToken::parse(token).map_err(|_| missing("token"))?,
            pins,
        })
    }
}

fn is_program(word: &str) -> bool {
    let name = word.rsplit('/').next().unwrap_or(word);
    matches!(name, "kubeadm" | "muster")
}

/// A flag that we do not know may stand before the endpoint with a value: only what has a port, or is the first word.
fn is_endpoint(word: &str) -> bool {
    Endpoint::parse_with_default_port(word.trim_start_matches("https://"), API_PORT).is_ok()
}

/// The words as a shell would see them: broken lines joined, quotes taken away.
fn words(text: &str) -> Vec<Secret<String>> {
    let text = Secret::new(text.replace("\\\r\n", " ").replace("\\\n", " "));
    let unquoted = |word: &str| Secret::new(word.trim_matches(['"', '\'']).to_owned());
    let words = text
        .expose()
        .split_whitespace()
        .filter(|word| *word != "\\");
    words.map(unquoted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOKEN: &str = "abcdef.0123456789abcdef";
    const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn read(output: &str) -> (String, String, usize) {
        let command = JoinCommand::parse(output).unwrap();
        (
            command.endpoint.to_string(),
            command.token.to_text().expose().clone(),
            command.pins.len(),
        )
    }

    #[test]
    fn every_form_in_which_kubeadm_printed_it_is_understood() {
        let h = "--discovery-token-ca-cert-hash";
        let table = [
            (
                format!("kubeadm join 192.168.60.10:6443 --token {TOKEN} {h} {A} \n"),
                "192.168.60.10:6443",
                1,
            ),
            (
                format!("kubeadm join cp:6443 --token {TOKEN} {h} {A} {h} {B}"),
                "cp:6443",
                2,
            ),
            (
                format!("kubeadm join cp:6443 --token {TOKEN} \\\n\t{h} {A} \\\n\t{h} {B} \n"),
                "cp:6443",
                2,
            ),
            (
                format!("kubeadm join cp:6443 --token {TOKEN} \\\r\n    {h} {A}\r\n"),
                "cp:6443",
                1,
            ),
            (
                format!("kubeadm join --token={TOKEN} {h}={A} cp:6443"),
                "cp:6443",
                1,
            ),
            (
                format!("kubeadm join [fd00::10]:6443 --token {TOKEN} {h} {A},{B}"),
                "[fd00::10]:6443",
                2,
            ),
            (
                format!(
                    "W1121 12:00:00 1 configset.go:202] WARNING: kubeadm cannot validate\nkubeadm join cp:8443 --token {TOKEN} {h} {A} \n"
                ),
                "cp:8443",
                1,
            ),
            (
                format!(
                    "Then run:\n\n  sudo /usr/bin/kubeadm join cp:6443 --token {TOKEN} \\\n  {h} {A} \\\n  --control-plane --certificate-key 0123 -v 5\n"
                ),
                "cp:6443",
                1,
            ),
            (
                format!(
                    "kubeadm join cp --token \"{TOKEN}\" {h} '{A}' --cri-socket unix:///run/x.sock"
                ),
                "cp:6443",
                1,
            ),
            (
                format!("kubeadm join https://cp:6443 --token {TOKEN} {h} {A}"),
                "cp:6443",
                1,
            ),
        ];
        for (output, endpoint, pins) in table {
            assert_eq!(
                read(&output),
                (endpoint.to_owned(), TOKEN.to_owned(), pins),
                "{output}"
            );
        }
    }

    #[test]
    fn what_lacks_a_part_is_refused_and_the_refusal_repeats_nothing() {
        let h = "--discovery-token-ca-cert-hash";
        for (output, part) in [
            (String::new(), None),
            ("error: x".to_owned(), None),
            (
                format!("kubeadm join cp:6443 --token {TOKEN}"),
                Some("CA pin"),
            ),
            (format!("kubeadm join cp:6443 {h} {A}"), Some("token")),
            (
                format!("kubeadm join cp:6443 --token abc.def {h} {A}"),
                Some("token"),
            ),
            (
                format!("kubeadm join --token {TOKEN} {h} {A}"),
                Some("endpoint"),
            ),
            (
                format!("kubeadm join cp:6443 --token {TOKEN} {h} sha256:1"),
                Some("CA pin"),
            ),
        ] {
            let error = JoinCommand::parse(&output).unwrap_err();
            let expected = part.map_or(JoinCommandError::Absent, |what| JoinCommandError::Part {
                what,
            });
            assert_eq!(error, expected, "{output}");
            assert!(!error.to_string().contains(TOKEN));
        }
        assert_eq!(
            JoinCommand::parse(&"x".repeat(LONGEST + 1)).unwrap_err(),
            JoinCommandError::TooLong
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn no_output_makes_it_panic(output in "(kubeadm |join |--token |=|,|\\\\\n|sha256:|[a-z0-9:.\\-\" ]|\\PC){0,60}") {
            let _ = JoinCommand::parse(&output);
        }
    }
}
