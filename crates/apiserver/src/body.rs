//! Bodies of answers as hyper and in-process callers take them: the core's payloads with timers around them.

use crate::flow::Permit;
use crate::list::ListBody;
use crate::serve::StopSignal;
use crate::watch::WatchSession;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// A body could not be made to its end.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BodyError(pub String);

/// A body from elsewhere.
pub(crate) type Foreign = http_body_util::combinators::UnsyncBoxBody<Bytes, BodyError>;

enum Kind {
    Bytes(Option<Bytes>),
    List(Box<ListBody>),
    Watch(Box<WatchBody>),
    Foreign(Foreign),
}

struct WatchBody {
    session: WatchSession,
    bookmark: Pin<Box<Sleep>>,
    deadline: Pin<Box<Sleep>>,
    stop: StopSignal,
}

/// The body of an answer. Holds the request's place among those in flight until it is sent.
pub struct ReplyBody {
    kind: Kind,
    _permit: Option<Permit>,
}

impl ReplyBody {
    pub(crate) fn bytes(bytes: Bytes, permit: Option<Permit>) -> Self {
        Self { kind: Kind::Bytes(Some(bytes)), _permit: permit }
    }

    pub(crate) fn list(list: Box<ListBody>, permit: Option<Permit>) -> Self {
        Self { kind: Kind::List(list), _permit: permit }
    }

    pub(crate) fn foreign(body: Foreign, permit: Option<Permit>) -> Self {
        Self { kind: Kind::Foreign(body), _permit: permit }
    }

    pub(crate) fn watch(session: Box<WatchSession>, stop: StopSignal, permit: Option<Permit>) -> Self {
        let now = Instant::now();
        let bookmark =
            Box::pin(tokio::time::sleep_until(now + Duration::from_secs(session.bookmark_seconds())));
        let deadline = Box::pin(tokio::time::sleep_until(now + Duration::from_secs(session.seconds)));
        let watch = WatchBody { session: *session, bookmark, deadline, stop };
        Self { kind: Kind::Watch(Box::new(watch)), _permit: permit }
    }
}

impl WatchBody {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Poll::Ready(chunk) = self.session.poll_chunk(cx) {
            return Poll::Ready(chunk);
        }
        if Pin::new(&mut self.stop).poll(cx).is_ready() || self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        while self.bookmark.as_mut().poll(cx).is_ready() {
            let next = Instant::now() + Duration::from_secs(self.session.bookmark_seconds());
            self.bookmark.as_mut().reset(next);
            if let Some(bookmark) = self.session.bookmark() {
                return Poll::Ready(Some(bookmark));
            }
        }
        Poll::Pending
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.kind {
            Kind::Bytes(bytes) => {
                Poll::Ready(bytes.take().filter(|b| !b.is_empty()).map(|b| Ok(Frame::data(b))))
            }
            Kind::List(list) => {
                let chunk = list.next_chunk();
                Poll::Ready(chunk.map(|c| c.map(Frame::data).map_err(|e| BodyError(e.message))))
            }
            Kind::Watch(watch) => watch.poll(cx).map(|c| c.map(|c| Ok(Frame::data(c)))),
            Kind::Foreign(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Bytes(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Kind::Foreign(body) => body.is_end_stream(),
            _ => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Bytes(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Kind::List(list) => list.exact_size().map_or_else(SizeHint::new, SizeHint::with_exact),
            Kind::Foreign(body) => body.size_hint(),
            Kind::Watch(_) => SizeHint::new(),
        }
    }
}
