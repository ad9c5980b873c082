//! Answers in gzip (RFC 1952): large ones, for clients that take it, while they are sent. Level and threshold are
//! kube-apiserver's: the least work, from 128 KiB. Watches are never compressed.
//!
//! Refuses to know: what is in the answer.

use std::io::Write as _;

use bytes::{BufMut as _, Bytes, BytesMut};
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, header};
use http_body::Body as _;

use super::{Response, ResponseBody};

/// Answers below this are sent as they are, in bytes.
const THRESHOLD: u64 = 128 * 1024;
/// How much is put in at once, in bytes.
const PIECE: usize = 64 * 1024;

/// Whether a client takes gzip.
pub(crate) fn takes_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .any(|value| {
            let text = value.to_str().unwrap_or_default();
            text.split(',').any(|coding| {
                let (name, quality) = coding.split_once(';').unwrap_or((coding, ""));
                let refused = matches!(quality.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000");
                name.trim() == "gzip" && !refused
            })
        })
}

/// The answer in gzip, if it is worth the work.
pub(crate) fn compressed(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let is_large = match &body {
        ResponseBody::Stream(_) => false,
        whole => whole.size_hint().lower() > THRESHOLD,
    };
    if !is_large || parts.headers.contains_key(header::CONTENT_ENCODING) {
        return Response::from_parts(parts, body);
    }
    let headers = &mut parts.headers;
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.remove(header::CONTENT_LENGTH);
    let packed = futures::stream::unfold(Some(Packing::new(body)), |packing| async {
        let mut packing = packing?;
        let (bytes, goes_on) = packing.next().await;
        Some((bytes, goes_on.then_some(packing)))
    });
    Response::from_parts(parts, ResponseBody::Stream(Box::pin(packed)))
}

/// A body on its way through the encoder.
struct Packing {
    body: ResponseBody,
    left: Bytes,
    encoder: GzEncoder<Vec<u8>>,
}

impl Packing {
    fn new(body: ResponseBody) -> Self {
        Self {
            body,
            left: Bytes::new(),
            encoder: GzEncoder::new(Vec::with_capacity(PIECE), Compression::new(1)),
        }
    }

    /// The next packed bytes, and whether more follow.
    async fn next(&mut self) -> (Bytes, bool) {
        loop {
            if self.left.is_empty() {
                match self.unpacked().await {
                    Some(bytes) => self.left = bytes,
                    None => return (self.finished(), false),
                }
            }
            let piece = self.left.split_to(self.left.len().min(PIECE));
            // Writing into memory cannot fail.
            let _ = self.encoder.write_all(&piece);
            let packed = self.encoder.get_mut();
            if packed.len() >= PIECE / 4 {
                let bytes = Bytes::copy_from_slice(packed);
                packed.clear();
                return (bytes, true);
            }
            // A large answer must not hold the thread until it is packed as a whole.
            tokio::task::yield_now().await;
        }
    }

    async fn unpacked(&mut self) -> Option<Bytes> {
        use http_body_util::BodyExt as _;
        loop {
            let Ok(frame) = self.body.frame().await?;
            if let Ok(bytes) = frame.into_data()
                && !bytes.is_empty()
            {
                return Some(bytes);
            }
        }
    }

    fn finished(&mut self) -> Bytes {
        let mut rest = BytesMut::new();
        if self.encoder.try_finish().is_ok() {
            rest.put_slice(self.encoder.get_ref());
        }
        rest.freeze()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use http_body_util::BodyExt as _;

    use super::*;

    fn headers(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))])
    }

    #[test]
    fn gzip_is_taken_where_it_is_named_and_not_refused() {
        for yes in ["gzip", "deflate, gzip", "br;q=1.0, gzip;q=0.8"] {
            assert!(takes_gzip(&headers(yes)), "{yes}");
        }
        for no in ["", "identity", "gzip;q=0", "x-gzip", "br"] {
            assert!(!takes_gzip(&headers(no)), "{no}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn a_large_answer_is_packed_and_a_small_one_is_not() {
        let text: String = (0..60_000).map(|n| format!("{n},")).collect();
        let answer = compressed(Response::new(ResponseBody::full(text.clone())));
        assert_eq!(answer.headers()[header::CONTENT_ENCODING], "gzip");
        assert_eq!(answer.headers()[header::VARY], "Accept-Encoding");
        let packed = answer.into_body().collect().await.expect("sent").to_bytes();
        assert!(packed.len() < text.len() / 2);
        let mut unpacked = String::new();
        flate2::read::GzDecoder::new(&*packed)
            .read_to_string(&mut unpacked)
            .expect("gzip");
        assert!(unpacked == text);

        let answer = compressed(Response::new(ResponseBody::full("x".repeat(128 * 1024))));
        assert!(!answer.headers().contains_key(header::CONTENT_ENCODING));
        let stream = ResponseBody::Stream(Box::pin(futures::stream::empty()));
        let answer = compressed(Response::new(stream));
        assert!(!answer.headers().contains_key(header::CONTENT_ENCODING));
    }
}
