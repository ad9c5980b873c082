//! PEM as OpenSSL, Go and kubeadm write it (RFC 7468): blocks with a label, text around them ignored.
//!
//! It refuses to know what a label means.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::secret::Secret;

/// Largest text that is looked at, in bytes.
pub const MAX_LEN: usize = 1024 * 1024;
/// Most blocks in one text.
pub const MAX_BLOCKS: usize = 1024;
const LINE: usize = 64;

/// One PEM block: what stands between its BEGIN and END lines, decoded. It may be a private key, so it is
/// kept secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PemBlock {
    /// The label, such as `CERTIFICATE`.
    pub label: String,
    /// The decoded content.
    pub der: Secret<Vec<u8>>,
}

/// Why a text is not PEM; the caller should look where it came from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// Longer than 1 MiB.
    #[error("PEM text of {length} bytes is longer than {MAX_LEN}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// More than 1024 blocks.
    #[error("PEM text has more than {MAX_BLOCKS} blocks")]
    TooMany,
    /// A BEGIN line has no END line of its label: the text was cut.
    #[error("the PEM block {label:?} is not closed")]
    NotClosed {
        /// Its label.
        label: String,
    },
    /// What stands in a block is not base64.
    #[error("the PEM block {label:?} is not base64")]
    NotBase64 {
        /// Its label.
        label: String,
    },
    /// The block is encrypted with a passphrase (RFC 1421 headers); decrypt it first.
    #[error("the PEM block {label:?} is encrypted")]
    Encrypted {
        /// Its label.
        label: String,
    },
}

/// Reads all blocks of a text, in order. A text without any is an empty list.
///
/// # Errors
/// [`PemError`] at the first broken block, and beyond the limits.
pub fn parse(text: &[u8]) -> Result<Vec<PemBlock>, PemError> {
    if text.len() > MAX_LEN {
        return Err(PemError::TooLong { length: text.len() });
    }
    let mut blocks = Vec::new();
    let mut lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    while let Some(line) = lines.next() {
        let Some(label) = boundary(line, b"-----BEGIN ") else {
            continue;
        };
        if blocks.len() == MAX_BLOCKS {
            return Err(PemError::TooMany);
        }
        blocks.push(read_block(label, &mut lines)?);
    }
    Ok(blocks)
}

/// Writes one block: 64 characters to a line, closed by a line feed.
pub fn encode(label: &str, der: &[u8]) -> String {
    let body = Secret::new(STANDARD.encode(der));
    let body = body.expose();
    let mut text = String::with_capacity(body.len() + body.len() / LINE + 2 * label.len() + 40);
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

fn boundary(line: &[u8], opening: &[u8]) -> Option<String> {
    let label = line.strip_prefix(opening)?.strip_suffix(b"-----")?;
    std::str::from_utf8(label)
        .ok()
        .map(|label| label.chars().take(64).collect())
}

fn read_block<'a>(
    label: String,
    lines: &mut impl Iterator<Item = &'a [u8]>,
) -> Result<PemBlock, PemError> {
    let mut body = Secret::new(Vec::new());
    let mut encrypted = false;
    for line in lines {
        if let Some(closing) = boundary(line, b"-----END ") {
            if closing != label {
                break;
            }
            if encrypted {
                return Err(PemError::Encrypted { label });
            }
            return match STANDARD.decode(body.expose()) {
                Ok(der) => Ok(PemBlock {
                    label,
                    der: Secret::new(der),
                }),
                Err(_) => Err(PemError::NotBase64 { label }),
            };
        }
        if line.contains(&b':') {
            encrypted |= line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED");
        } else {
            body.expose_mut()
                .extend(line.iter().filter(|byte| !byte.is_ascii_whitespace()));
        }
    }
    Err(PemError::NotClosed { label })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn blocks_are_read_in_order_and_text_around_them_is_ignored() {
        let text = format!(
            "subject=CN = x\n{}\r\nmore\n{}",
            encode("A", b"one"),
            encode("B B", &[7; 200])
        );
        let blocks = parse(text.as_bytes()).unwrap();
        assert_eq!(blocks.len(), 2);
        assert_eq!(
            (blocks[0].label.as_str(), blocks[0].der.expose().as_slice()),
            ("A", &b"one"[..])
        );
        assert_eq!(
            (blocks[1].label.as_str(), blocks[1].der.expose().len()),
            ("B B", 200)
        );
    }

    #[test]
    fn windows_line_ends_are_read() {
        let text = encode("A", &[1; 100]).replace('\n', "\r\n");
        assert_eq!(parse(text.as_bytes()).unwrap()[0].der.expose(), &[1; 100]);
    }

    #[test]
    fn broken_blocks_are_told_apart() {
        let label = || "A".to_owned();
        let cases = [
            (
                "-----BEGIN A-----\nAAAA\n",
                PemError::NotClosed { label: label() },
            ),
            (
                "-----BEGIN A-----\nAAAA\n-----END B-----\n",
                PemError::NotClosed { label: label() },
            ),
            (
                "-----BEGIN A-----\nA*AA\n-----END A-----\n",
                PemError::NotBase64 { label: label() },
            ),
            (
                "-----BEGIN A-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END A-----\n",
                PemError::Encrypted { label: label() },
            ),
        ];
        for (text, error) in cases {
            assert_eq!(parse(text.as_bytes()), Err(error));
        }
    }

    #[test]
    fn a_text_beyond_the_limit_is_not_looked_at() {
        assert!(matches!(
            parse(&vec![b'\n'; MAX_LEN + 1]),
            Err(PemError::TooLong { .. })
        ));
        let many = "-----BEGIN A-----\n-----END A-----\n".repeat(MAX_BLOCKS + 1);
        assert_eq!(parse(many.as_bytes()), Err(PemError::TooMany));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn what_is_written_reads_back(der in prop::collection::vec(any::<u8>(), 0..300)) {
            let blocks = parse(encode("X", &der).as_bytes()).unwrap();
            prop_assert_eq!(blocks[0].der.expose(), &der);
        }

        #[test]
        fn any_bytes_are_read_or_refused(text in "(-----(BEGIN|END) A-----\n|[A-Za-z0-9+/=: ]{0,70}\n){0,8}") {
            let _ = parse(text.as_bytes());
        }
    }
}
