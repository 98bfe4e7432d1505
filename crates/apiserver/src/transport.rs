//! The door for callers in this process: the same way as over the network, with an identity in place of a connection.

use crate::body::ReplyBody;
use crate::server::ApiServer;
use crate::stage::Peer;
use bytes::Bytes;
use client::{Body, Transport, TransportError};
use futures::future::BoxFuture;
use http_body_util::BodyExt;
use meta::UserInfo;
use std::sync::Arc;

struct InProcess {
    server: Arc<ApiServer>,
    user: Arc<UserInfo>,
}

impl ApiServer {
    /// A transport whose requests come from `user`. They are authorized and admitted like anybody's.
    pub fn transport(self: &Arc<Self>, user: UserInfo) -> Arc<dyn Transport> {
        Arc::new(InProcess { server: self.clone(), user: Arc::new(user) })
    }
}

impl Transport for InProcess {
    fn call(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'static, Result<http::Response<Body>, TransportError>> {
        let (server, peer) = (self.server.clone(), Peer::Known(self.user.clone()));
        Box::pin(async move { Ok(server.handle(request, peer).await.map(boxed)) })
    }
}

fn boxed(body: ReplyBody) -> Body {
    body.map_err(TransportError::broken).boxed_unsync()
}
