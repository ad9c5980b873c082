//! Bytes into lines, as they come. Bounded: a line without an end is handed over in pieces.

/// The longest line that is handed over whole, in bytes.
pub(crate) const LONGEST_LINE: usize = 64 << 10;

/// Collects bytes of one stream until they are lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    /// Takes bytes in and hands over each line that is whole.
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(String)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            self.keep(line, &mut each);
            self.end(&mut each);
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.keep(bytes, &mut each);
    }

    /// What has come of a line that has no end yet.
    pub(crate) fn pending(&self) -> &[u8] {
        &self.pending
    }

    /// Forgets what has come of an unfinished line.
    pub(crate) fn forget(&mut self) {
        self.pending.clear();
    }

    /// The stream is at its end: hands over the last line if it has no end.
    pub(crate) fn finish(&mut self, mut each: impl FnMut(String)) {
        if !self.pending.is_empty() {
            self.end(&mut each);
        }
    }

    fn keep(&mut self, bytes: &[u8], each: &mut impl FnMut(String)) {
        for piece in bytes.chunks(LONGEST_LINE) {
            if self.pending.len() + piece.len() > LONGEST_LINE {
                self.end(each);
            }
            self.pending.extend_from_slice(piece);
        }
    }

    fn end(&mut self, each: &mut impl FnMut(String)) {
        if self.pending.last() == Some(&b'\r') {
            self.pending.pop();
        }
        each(String::from_utf8_lossy(&self.pending).into_owned());
        self.pending.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines_of(pieces: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for piece in pieces {
            lines.push(piece, |line| found.push(line));
        }
        lines.finish(|line| found.push(line));
        found
    }

    #[test]
    fn a_last_line_without_an_end_counts_and_carriage_returns_do_not() {
        assert_eq!(lines_of(&[b"a\r\nb", b"c\n\n", b"d"]), ["a", "bc", "", "d"]);
        assert!(lines_of(&[]).is_empty());
    }

    #[test]
    fn a_line_without_an_end_comes_in_pieces() {
        let long = vec![b'x'; 2 * LONGEST_LINE + 5];
        let found = lines_of(&[&long, b"\ny"]);
        let lengths: Vec<usize> = found.iter().map(String::len).collect();
        assert_eq!(lengths, [LONGEST_LINE, LONGEST_LINE, 5, 1]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn how_the_bytes_are_cut_does_not_matter(text in "[a-c\n]{0,60}", cut in 0usize..60) {
            let bytes = text.as_bytes();
            let (front, back) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(lines_of(&[front, back]), lines_of(&[bytes]));
        }
    }
}
