//! Bodies of answers: one piece, a list that is put together while it is sent, or a stream of frames.
//!
//! Refuses to know: what is in them.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use http_body::{Body, Frame, SizeHint};

use super::ListBody;

/// The body of an answer.
pub enum ResponseBody {
    /// All of it, at once.
    #[doc(hidden)]
    Full(Bytes),
    /// A list whose items are copied together piece by piece.
    #[doc(hidden)]
    List(ListBody),
    /// Frames as they come.
    #[doc(hidden)]
    Stream(BoxStream<'static, Bytes>),
}

impl ResponseBody {
    /// A body without bytes.
    pub(crate) const fn empty() -> Self {
        Self::Full(Bytes::new())
    }

    /// A body in one piece.
    pub(crate) fn full(bytes: impl Into<Bytes>) -> Self {
        Self::Full(bytes.into())
    }
}

impl std::fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "ResponseBody::Full",
            Self::List(_) => "ResponseBody::List",
            Self::Stream(_) => "ResponseBody::Stream",
        })
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match self.get_mut() {
            Self::Full(bytes) if bytes.is_empty() => None,
            Self::Full(bytes) => Some(std::mem::take(bytes)),
            Self::List(list) => list.next_piece(),
            Self::Stream(stream) => match stream.poll_next_unpin(cx) {
                Poll::Ready(next) => next,
                Poll::Pending => return Poll::Pending,
            },
        };
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_empty(),
            Self::List(list) => list.left() == 0,
            Self::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::List(list) => SizeHint::with_exact(list.left()),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}
