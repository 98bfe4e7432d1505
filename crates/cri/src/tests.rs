//! A fake runtime behind the real server, called through the real client.

use std::sync::Arc;

use futures::StreamExt;

use crate::*;

struct Fake;

impl ContainerRuntime for Fake {
    fn version(&self, request: VersionRequest) -> CallFuture<'_, VersionResponse> {
        Box::pin(async move { Ok(VersionResponse { version: request.version, ..Default::default() }) })
    }

    fn pod_sandbox_status(&self, _: PodSandboxStatusRequest) -> CallFuture<'_, PodSandboxStatusResponse> {
        Box::pin(async { Err(CriError::not_found("could not find pod \"x\"")) })
    }

    fn exec_sync(&self, _: ExecSyncRequest) -> CallFuture<'_, ExecSyncResponse> {
        let stdout = vec![b'x'; EXEC_OUTPUT_LIMIT];
        Box::pin(async { Ok(ExecSyncResponse { stderr: stdout.clone(), stdout, exit_code: 3 }) })
    }

    fn get_container_events(&self, _: GetEventsRequest) -> CallFuture<'_, EventStream> {
        let event =
            |id: &str| Ok(ContainerEventResponse { container_id: id.to_owned(), ..Default::default() });
        let stream: EventStream = Box::pin(futures::stream::iter([event("a"), event("b")]));
        Box::pin(async { Ok(stream) })
    }
}

fn client() -> (tempfile::TempDir, GrpcRuntime) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("cri.sock");
    let listener = tokio::net::UnixListener::bind(&path).expect("a socket");
    tokio::spawn(serve(listener, Arc::new(Fake)));
    (dir, GrpcRuntime::new(path))
}

#[tokio::test]
async fn a_call_travels_both_ways() {
    let (_dir, client) = client();
    let answer = client.version(VersionRequest { version: "v1".into() }).await;
    assert_eq!(answer.map(|a| a.version), Ok("v1".to_owned()));
}

#[tokio::test]
async fn errors_keep_code_and_message() {
    let (_dir, client) = client();
    let error = client.pod_sandbox_status(Default::default()).await.expect_err("no such pod");
    assert_eq!(error, CriError::not_found("could not find pod \"x\""));
    let error = client.list_images(Default::default()).await.expect_err("not implemented");
    assert_eq!(error.code, Code::Unimplemented);
}

#[tokio::test]
async fn the_largest_exec_answer_fits() {
    let (_dir, client) = client();
    let answer = client.exec_sync(Default::default()).await.expect("an answer");
    assert_eq!((answer.stdout.len(), answer.stderr.len()), (EXEC_OUTPUT_LIMIT, EXEC_OUTPUT_LIMIT));
}

#[tokio::test]
async fn events_stream_and_end() {
    let (_dir, client) = client();
    let events = client.get_container_events(Default::default()).await.expect("a stream");
    let ids: Vec<_> = events.map(|e| e.expect("an event").container_id).collect().await;
    assert_eq!(ids, ["a", "b"]);
}

#[tokio::test]
async fn nobody_listening_is_unavailable() {
    let client = GrpcRuntime::new("/nonexistent/cri.sock");
    let error = client.version(Default::default()).await.expect_err("no socket");
    assert_eq!(error.code, Code::Unavailable);
}
