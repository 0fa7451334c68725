use std::{
    convert::Infallible,
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{body::Body, handler::Handler, routing::get};
use bytes::Bytes;
use hyper::body::Frame;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
/// More than fits into the pipe between client and server.
const RESPONSE_BYTES: usize = 1 << 20;

async fn large() -> String {
    "x".repeat(RESPONSE_BYTES)
}

/// Returns the client's end of a connection, the future that serves it, and whether it is busy.
fn connected<T: 'static>(handler: impl Handler<T, ()>) -> (DuplexStream, impl Future<Output = ()>, Arc<AtomicBool>) {
    let (client, server) = duplex(1_024);
    let router = Router::new().route("/", get(handler));
    let is_busy = Arc::new(AtomicBool::new(false));
    let (stop, stopped) = watch::channel(());
    let serving = serve_connection(Box::new(server), router, is_busy.clone(), stopped);
    let serving = async move {
        let _stop = stop;
        serving.await;
    };
    (client, serving, is_busy)
}

#[tokio::test]
async fn a_client_that_does_not_read_is_disconnected() {
    let (mut client, serving, is_busy) = connected(large);
    client.write_all(REQUEST).await.unwrap();
    serving.await;
    assert!(!is_busy.load(Ordering::Relaxed));
    let mut received = Vec::new();
    client.read_to_end(&mut received).await.unwrap();
    assert!(received.starts_with(b"HTTP/1.1 200 OK") && received.len() < RESPONSE_BYTES, "{}", received.len());
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_request_is_disconnected() {
    let (mut client, serving, is_busy) = connected(large);
    client.write_all(&REQUEST[..REQUEST.len() - 2]).await.unwrap();
    serving.await;
    assert!(!is_busy.load(Ordering::Relaxed), "it never was");
}

/// A body that begins and never ends.
struct Endless {
    has_begun: bool,
}

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if mem::replace(&mut self.has_begun, true) {
            Poll::Pending
        } else {
            Poll::Ready(Some(Ok(Frame::data("?".into()))))
        }
    }
}

#[tokio::test]
async fn a_connection_is_busy_for_as_long_as_its_response_is_sent() {
    let (mut client, serving, is_busy) = connected(|| async { Body::new(Endless { has_begun: false }) });
    let reads = async {
        client.write_all(REQUEST).await.unwrap();
        while client.read_u8().await.unwrap() != b'?' {}
        assert!(is_busy.load(Ordering::Relaxed));
        drop(client);
    };
    tokio::join!(reads, serving);
    assert!(!is_busy.load(Ordering::Relaxed));
}
