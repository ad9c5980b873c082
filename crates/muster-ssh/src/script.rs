//! The two small shell scripts that run on the other machine, and the quoting of words for a shell there.
//!
//! They are POSIX sh and use nothing but what every Linux has. They contain neither single quotes, backslashes nor
//! exclamation marks, so that every login shell (sh, bash, zsh, fish, csh) passes them on unchanged.

/// Runs `argv` with the first `$2` bytes of standard input as its input, and ends it when standard input ends before it.
///
/// Arguments: a nonce, the number of bytes, then the command. It says on both streams that it has begun; what stands
/// before that comes from somebody else (a login shell's profile, sudo). The first part of the pipeline, which feeds the
/// command, stays to watch the rest of standard input: its end means that nobody waits for the command any more.
/// The shell itself gets no standard error: it would report there that the feeder was killed.
pub(crate) const RUN: &str = concat!(
    r#"n=$1 c=$2; shift 2; "#,
    r#"PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH; "#,
    r#"if command -v "$1" >/dev/null 2>&1; then echo muster-ready-$n; echo muster-ready-$n >&2; "#,
    r#"else echo muster-missing-$n >&2; exit 127; fi; "#,
    r#"exec 3>&2 2>/dev/null; "#,
    r#"{ read -r me rest </proc/self/stat; echo "$me"; "#,
    r#"if [ "$c" -gt 0 ]; then dd bs=1 count="$c" 2>/dev/null; fi; "#,
    r#"exec >/dev/null 3>&-; while read -r rest; do :; done; "#,
    r#"trap "" TERM; kill -s TERM 0; sleep 5; kill -s KILL 0; } | "#,
    r#"{ read -r feeder; (exec "$@" 2>&3 3>&-); code=$?; kill -s KILL "$feeder"; exit "$code"; }"#,
);

/// Brings standard input into a file, whole or not at all.
///
/// Arguments: a nonce, the path, its SHA-256 in hexadecimal, its mode. It answers `same`, or asks with `send-new` or
/// `send-old` (something else stands there) and ends with `done`. Exit statuses: [`CANNOT_WRITE`], [`DAMAGED`].
pub(crate) const UPLOAD: &str = concat!(
    r#"n=$1 path=$2 sum=$3 mode=$4; umask 077; "#,
    r#"PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH; "#,
    r#"echo muster-ready-$n; echo muster-ready-$n >&2; "#,
    r#"if [ -d "$path" ]; then echo "$path is a directory" >&2; exit 73; fi; "#,
    r#"have= was=new; if [ -e "$path" ]; then was=old; have=$(sha256sum <"$path") || exit 73; fi; "#,
    r#"if [ "${have%% *}" = "$sum" ]; then chmod "$mode" "$path" || exit 73; echo same; exit 0; fi; "#,
    r#"dir=$(dirname "$path"); (umask 022; mkdir -p "$dir") || exit 73; "#,
    r#"tmp=$path.$n; clean() { rm -f "$tmp"; }; trap clean EXIT; trap "exit 73" HUP INT TERM; "#,
    r#": >"$tmp" || exit 73; echo send-$was; cat >"$tmp" || exit 73; "#,
    r#"got=$(sha256sum <"$tmp") || exit 73; [ "${got%% *}" = "$sum" ] || exit 75; "#,
    r#"chmod "$mode" "$tmp" || exit 73; sync "$tmp" 2>/dev/null; "#,
    r#"mv -f "$tmp" "$path" || exit 73; echo done"#,
);

/// The upload script could not write.
pub(crate) const CANNOT_WRITE: u32 = 73;
/// What arrived has another checksum.
pub(crate) const DAMAGED: u32 = 75;

/// The line that says that the script has begun.
pub(crate) fn ready(nonce: &str) -> String {
    format!("muster-ready-{nonce}")
}

/// The line that says that there is no such program.
pub(crate) fn missing(nonce: &str) -> String {
    format!("muster-missing-{nonce}")
}

/// sudo's question.
pub(crate) fn prompt(nonce: &str) -> String {
    format!("muster-sudo-{nonce}:")
}

/// A word as a shell must be given it to pass it on unchanged.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r#"'"'"'"#))
}

/// A command line of whole words.
pub(crate) fn command_line(argv: &[String]) -> String {
    let words: Vec<String> = argv.iter().map(|word| quoted(word)).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_scripts_pass_every_login_shell() {
        for script in [RUN, UPLOAD] {
            assert!(!script.contains(['\'', '\\', '!', '\n']), "{script}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_shell_reads_a_quoted_word_as_it_was(words in proptest::collection::vec("[^\0]{0,20}", 1..4)) {
            let mut argv = vec!["printf".to_owned(), "%s|".to_owned()];
            argv.extend(words.clone());
            let output = std::process::Command::new("sh")
                .args(["-c", &command_line(&argv)])
                .output()
                .unwrap();
            let expected: String = words.iter().map(|word| format!("{word}|")).collect();
            prop_assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
        }
    }
}
