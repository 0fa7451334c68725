use std::sync::Mutex;

use axum::body::to_bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UnixListener},
};

use super::*;
use crate::store::{Host, Look, OwnedCell};

const OWN: &str = "host-own";
const PEER: &str = "host-peer";

/// The host at a socket and at a port of this machine, and what it knows.
struct Setup {
    _folder: tempfile::TempDir,
    socket: UnixListener,
    peer: TcpListener,
    to: watch::Sender<View>,
    forwarder: Forwarder,
}

impl Setup {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let (socket, peer) = (UnixListener::bind(&path).unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let (to, view) = watch::channel(View::default());
        let forwarder = Forwarder { view, own: OWN.into(), cell: 0, socket: Arc::new(path) };
        Self { _folder: folder, socket, peer, to, forwarder }
    }

    /// Makes a host the owner, or none.
    fn owned_by(&self, owner: Option<&str>, epoch: i64) {
        let host = |id: &str| Host {
            id: id.into(),
            name: id.into(),
            address: Some(format!("http://{}", self.peer.local_addr().unwrap())),
            version: "1".into(),
            seen_ms: 0,
            unseen_ms: 0,
            clock_ahead_ms: 0,
        };
        let cell = OwnedCell { number: 0, epoch, beat: 0, is_owned: owner.is_some(), host: owner.map(str::to_owned) };
        let look = Look { hosts: vec![host(OWN), host(PEER)], cells: vec![cell], secret: "secret".into() };
        self.to.send_replace(View::of(look));
    }
}

fn request(method: Method, headers: &[(&'static str, &'static str)], body: &'static str) -> Request<Body> {
    let mut request = Request::new(Body::from(body));
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from_static("/path?query=1");
    for (name, value) in headers {
        request.headers_mut().append(*name, HeaderValue::from_static(value));
    }
    request
}

/// Reads a request with a body that ends in `end`, or none, and answers it.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, end: &str, head: &str) -> String {
    let mut received = Vec::new();
    while !received.ends_with(end.as_bytes()) {
        assert_ne!(stream.read_buf(&mut received).await.unwrap(), 0);
    }
    stream.write_all(head.as_bytes()).await.unwrap();
    String::from_utf8(received).unwrap().to_lowercase()
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nkeep-alive: timeout=5\r\nx-other: kept\r\n\r\nok";

#[tokio::test]
async fn a_client_cannot_say_what_only_a_gateway_says_and_its_token_is_not_passed_on() {
    let setup = Setup::new().await;
    let faked = [
        ("host", "roost.lan"),
        ("roost-forwarded", "faked"),
        ("roost-host", "faked"),
        ("authorization", "Bearer faked"),
        ("cookie", "roost-session-8080=faked"),
        ("connection", "close, x-hop"),
        ("x-hop", "faked"),
        ("x-other", "kept"),
    ];
    for (owner, epoch) in [(OWN, 1), (PEER, 2)] {
        setup.owned_by(Some(owner), epoch);
        let sent = setup.forwarder.pass(request(Method::GET, &faked, ""), Reach::Any, limits::HOLD);
        let received = async {
            if owner == OWN {
                answer(setup.socket.accept().await.unwrap().0, "\r\n\r\n", OK).await
            } else {
                answer(setup.peer.accept().await.unwrap().0, "\r\n\r\n", OK).await
            }
        };
        let (passed, received) = tokio::join!(sent, received);
        let response = passed.unwrap().into_response(0, (no_guard(), None));
        assert_eq!((response.status(), response.headers().get("keep-alive")), (StatusCode::OK, None));
        assert_eq!(response.headers()["x-other"], "kept");
        assert_eq!(to_bytes(response.into_body(), 100).await.unwrap(), "ok");
        assert!(received.starts_with("get /path?query=1 http/1.1\r\n") && received.contains("\r\nx-other: kept\r\n"));
        assert!(received.contains("\r\nhost: roost.lan\r\n") && !received.contains("faked"), "{received}");
        let of_gateway = ["\r\nroost-forwarded: secret\r\n", "\r\nroost-host: host-peer\r\n"];
        assert_eq!(of_gateway.map(|line| received.contains(line)), [owner == PEER; 2], "{received}");
    }
}

#[tokio::test]
async fn a_request_waits_for_an_owner_and_then_for_no_longer() {
    let setup = Setup::new().await;
    let pass = |hold| setup.forwarder.pass(request(Method::POST, &[], "body"), Reach::Any, hold);
    let problem = pass(Duration::ZERO).await.err().unwrap();
    assert_eq!((problem.status, problem.hint.as_deref()), (503, Some("try again; nothing was done")));
    let (sent, received) = tokio::join!(pass(limits::HOLD), async {
        setup.owned_by(None, 1);
        tokio::task::yield_now().await;
        setup.owned_by(Some(OWN), 2);
        answer(setup.socket.accept().await.unwrap().0, "body", OK).await
    });
    assert!(sent.is_ok() && received.starts_with("post "), "{received}");
}

#[tokio::test]
async fn only_a_request_that_changes_nothing_is_sent_again_after_its_connection_broke() {
    let setup = Setup::new().await;
    setup.owned_by(Some(OWN), 1);
    let times = Mutex::new(0);
    let serve = async {
        loop {
            let (mut stream, _) = setup.socket.accept().await.unwrap();
            *times.lock().unwrap() += 1;
            let mut received = [0; 4_096];
            assert_ne!(stream.read(&mut received).await.unwrap(), 0);
            if *times.lock().unwrap() > 2 {
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    };
    let ask = async {
        let write = setup.forwarder.pass(request(Method::DELETE, &[], ""), Reach::Any, limits::HOLD).await;
        let problem = write.err().unwrap();
        let hint = "it may have done what was asked: look before you ask again";
        assert_eq!((problem.status, problem.hint.as_deref()), (503, Some(hint)));
        assert_eq!(*times.lock().unwrap(), 1);
        assert!(setup.forwarder.pass(request(Method::GET, &[], ""), Reach::Any, limits::HOLD).await.is_ok());
        assert_eq!(*times.lock().unwrap(), 3);
    };
    tokio::select! {
        () = serve => {}
        () = ask => {}
    }
}

#[tokio::test]
async fn a_suspended_owner_holds_up_nothing_after_a_takeover() {
    let setup = Setup::new().await;
    setup.owned_by(Some(PEER), 1);
    let stream = async {
        let begun = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
        let mut streaming = setup.peer.accept().await.unwrap().0;
        answer(&mut streaming, "\r\n\r\n", begun).await;
        // It answers nothing any more, and its connections stay open.
        let waiting = setup.peer.accept().await.unwrap();
        setup.owned_by(Some(OWN), 2);
        answer(setup.socket.accept().await.unwrap().0, "\r\n\r\n", OK).await;
        drop((streaming, waiting));
    };
    let ask = async {
        let first = setup.forwarder.pass(request(Method::GET, &[], ""), Reach::Any, limits::HOLD).await.unwrap();
        let second = setup.forwarder.pass(request(Method::GET, &[], ""), Reach::Any, limits::HOLD).await.unwrap();
        assert_eq!(second.owner.host.id, OWN);
        let cut = to_bytes(first.into_response(0, (no_guard(), None)).into_body(), 100).await;
        assert!(cut.is_err(), "the stream ends");
    };
    tokio::join!(stream, ask);
}

#[tokio::test]
async fn a_forwarded_request_goes_no_further() {
    let setup = Setup::new().await;
    setup.owned_by(Some(PEER), 1);
    let passed = setup.forwarder.pass(request(Method::GET, &[], ""), Reach::Own, Duration::ZERO).await;
    assert_eq!(passed.err().unwrap().status, 503);
}

#[tokio::test]
async fn another_host_at_the_address_of_the_owner_is_reported() {
    let setup = Setup::new().await;
    setup.owned_by(Some(PEER), 1);
    let refused = "HTTP/1.1 421 Misdirected Request\r\nroost-forwarded: refused\r\ncontent-length: 0\r\n\r\n";
    let (passed, _) =
        tokio::join!(setup.forwarder.pass(request(Method::GET, &[], ""), Reach::Any, limits::HOLD), async {
            answer(setup.peer.accept().await.unwrap().0, "\r\n\r\n", refused).await
        });
    let problem = passed.err().unwrap();
    assert!(problem.status == 503 && problem.detail.contains("another host answers there"), "{}", problem.detail);
}

fn no_guard() -> Guard {
    Guard::none()
}
