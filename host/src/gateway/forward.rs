//! Passes requests on to the owner: to this host's own cell process, or to the gateway of another host.

#[cfg(test)]
mod tests;

use std::{
    error::Error,
    fmt, io,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, request},
};
use bytes::Bytes;
use hyper::{
    body::{Frame, Incoming, SizeHint},
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{
    limits,
    view::{Owner, View},
};
use crate::{
    http::{Found, Guard, Problem},
    report::Report,
};

/// The header by which a gateway recognises that another one forwards a request. In a response it says that the request
/// was refused by the gateway.
pub(super) const SECRET: HeaderName = HeaderName::from_static("roost-forwarded");
/// The header with the id of the host that such a request is for.
pub(super) const TARGET: HeaderName = HeaderName::from_static("roost-host");

/// Headers that belong to a connection (RFC 9110, 7.6.1), and those by which a client logs in, which the gateway has
/// checked.
const NOT_PASSED_ON: [HeaderName; 11] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
    header::AUTHORIZATION,
    header::COOKIE,
    header::PROXY_AUTHORIZATION,
];

/// Passes requests on. Clones refer to the same state.
#[derive(Clone, Debug)]
pub(super) struct Forwarder {
    pub(super) view: watch::Receiver<View>,
    /// The id of this host.
    pub(super) own: Arc<str>,
    pub(super) cell: i64,
    /// The socket of this host's cell process.
    pub(super) socket: Arc<PathBuf>,
}

/// Which owner a request may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Any,
    /// Another host has forwarded the request: it does not go further.
    Own,
}

/// Why a request was not passed on.
#[derive(Debug)]
enum Failure {
    NoOwner,
    /// This host's own process: it is starting, or ending.
    Starting(io::Error),
    Unreachable(Owner, io::Error),
    /// The connection broke after it was sent.
    Lost(Owner),
    /// Another host is at the address of the owner.
    Misdirected(Owner),
}

impl Forwarder {
    /// Returns the owner, if there is one.
    pub(super) fn owner(&self) -> Option<Owner> {
        self.view.borrow().owner(self.cell)
    }

    pub(super) fn is_own(&self, owner: &Owner) -> bool {
        *owner.host.id == *self.own
    }

    /// Passes a request on as soon as there is an owner, at the latest within `hold`. A request that may have been sent
    /// is sent again only if it changes nothing.
    pub(super) async fn pass(&self, request: Request<Body>, reach: Reach, hold: Duration) -> Result<Passed, Problem> {
        let until = Instant::now() + hold;
        let (mut parts, body) = request.into_parts();
        strip(&mut parts.headers);
        let is_read = matches!(parts.method, Method::GET | Method::HEAD);
        if is_read {
            // It has no meaning, and could not be sent twice.
            parts.headers.remove(header::CONTENT_LENGTH);
        }
        let mut body = (!is_read).then_some(body);
        let mut view = self.view.clone();
        loop {
            let failure = match self.connect(reach).await {
                Ok((owner, sender)) => {
                    let sent = self.send(&owner, sender, &parts, body.take().unwrap_or_default(), &mut view).await;
                    match sent {
                        Ok(response) => return Ok(Passed { owner, response, view }),
                        Err(failure @ Failure::Misdirected(_)) => return Err(failure.into()),
                        Err(failure) if !is_read => return Err(failure.into()),
                        Err(failure) => failure,
                    }
                }
                Err(failure) => failure,
            };
            if Instant::now() >= until {
                return Err(failure.into());
            }
            tokio::select! {
                _ = view.changed() => {}
                () = sleep(limits::RETRY) => {}
            }
        }
    }

    async fn connect(&self, reach: Reach) -> Result<(Owner, SendRequest<Body>), Failure> {
        let owner = self.owner().ok_or(Failure::NoOwner)?;
        if self.is_own(&owner) {
            let connected = UnixStream::connect(&*self.socket).await;
            return match connected {
                Ok(stream) => Ok((owner, open(stream).await.map_err(Failure::Starting)?)),
                Err(error) => Err(Failure::Starting(error)),
            };
        }
        if reach == Reach::Own {
            return Err(Failure::NoOwner);
        }
        let unreachable = |error| Failure::Unreachable(owner.clone(), error);
        let nowhere = || io::Error::new(io::ErrorKind::AddrNotAvailable, "it listens on no port");
        let address = owner.host.address.as_deref().ok_or_else(nowhere).map_err(unreachable)?;
        let address = address.strip_prefix("http://").unwrap_or(address);
        let connected = timeout(limits::CONNECT, TcpStream::connect(address)).await;
        let stream = connected.map_err(io::Error::from).flatten().map_err(unreachable)?;
        let _ = stream.set_nodelay(true);
        let sender = open(stream).await.map_err(unreachable)?;
        Ok((owner, sender))
    }

    /// Sends a request, and waits for the response for as long as the owner stays the same.
    async fn send(
        &self,
        owner: &Owner,
        mut sender: SendRequest<Body>,
        parts: &request::Parts,
        body: Body,
        view: &mut watch::Receiver<View>,
    ) -> Result<Response<Incoming>, Failure> {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::new(body);
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = path.parse().unwrap_or(Uri::from_static("/"));
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = parts.headers.clone();
        let headers = request.headers_mut();
        headers.entry(header::HOST).or_insert(HeaderValue::from_static("localhost"));
        let is_own = self.is_own(owner);
        if !is_own {
            let secret = view.borrow().secret().map(HeaderValue::from_str);
            if let (Some(Ok(mut secret)), Ok(id)) = (secret, HeaderValue::from_str(&owner.host.id)) {
                secret.set_sensitive(true);
                headers.insert(SECRET, secret);
                headers.insert(TARGET, id);
            }
        }
        let response = tokio::select! {
            response = sender.send_request(request) => response.map_err(|_| Failure::Lost(owner.clone()))?,
            () = changed(view, self.cell, owner.epoch) => return Err(Failure::Lost(owner.clone())),
        };
        if response.headers().contains_key(SECRET) {
            return Err(Failure::Misdirected(owner.clone()));
        }
        Ok(response)
    }
}

/// A response of the owner.
pub(super) struct Passed {
    pub(super) owner: Owner,
    pub(super) response: Response<Incoming>,
    view: watch::Receiver<View>,
}

impl Passed {
    /// Returns the response for the client. Its body ends when the owner changes, because a host that is suspended ends
    /// no connection, and when the session of its request ends.
    pub(super) fn into_response(self, cell: i64, (guard, session): (Guard, Option<Found>)) -> Response<Body> {
        let Self { owner, response, mut view } = self;
        let (mut parts, body) = response.into_parts();
        for name in &NOT_PASSED_ON[..7] {
            parts.headers.remove(name);
        }
        let cut = async move {
            tokio::select! {
                () = changed(&mut view, cell, owner.epoch) => {}
                () = guard.session_ended(session.as_ref()) => {}
            }
        };
        Response::from_parts(parts, Body::new(Cut { body, cut: Box::pin(cut) }))
    }
}

/// Removes what is not passed on, and what only a gateway may say.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| *name != header::HOST)
        .collect();
    for name in named.iter().chain(&NOT_PASSED_ON).chain(&[SECRET, TARGET]) {
        headers.remove(name);
    }
}

async fn open(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> io::Result<SendRequest<Body>> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Waits until the cell is no longer owned in this epoch.
async fn changed(view: &mut watch::Receiver<View>, cell: i64, epoch: i64) {
    let is_other = |view: &View| view.owner(cell).is_none_or(|owner| owner.epoch != epoch);
    if view.wait_for(is_other).await.is_err() {
        // The gateway ends.
        std::future::pending::<()>().await;
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let unavailable = |report| Self::of(StatusCode::SERVICE_UNAVAILABLE, report);
        unavailable(match failure {
            Failure::NoOwner => Report::new("no host owns the cell at this moment: a takeover takes some seconds")
                .hint("try again; nothing was done"),
            Failure::Starting(error) => {
                Report::new("this host has taken over, and is loading").cause(error).hint("try again; nothing was done")
            }
            Failure::Unreachable(Owner { host, .. }, error) => {
                let address = host.address.as_deref().unwrap_or_default();
                Report::new(format!("this host cannot reach the owner, `{}`, at `{address}`", host.name))
                    .cause(error)
                    .hint("try again; nothing was done")
            }
            Failure::Lost(Owner { host, .. }) => {
                let what = format!("the owner, `{}`, was lost before it had answered", host.name);
                Report::new(what).hint("it may have done what was asked: look before you ask again")
            }
            Failure::Misdirected(Owner { host, .. }) => {
                let address = host.address.as_deref().unwrap_or_default();
                let what = format!(
                    "`{address}` is not the owner, `{}`: another host answers there, or one with another database",
                    host.name
                );
                Report::new(what).hint(
                    "set `advertise` below `[store]` in `roost.toml` of that host to an address at which all hosts reach it",
                )
            }
        })
    }
}

/// A body that ends with an error when a future completes.
struct Cut {
    body: Incoming,
    cut: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// The error of a body that was cut.
#[derive(Debug)]
struct OwnerChanged;

impl fmt::Display for OwnerChanged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the owner has changed, or the session has ended")
    }
}

impl Error for OwnerChanged {}

impl hyper::body::Body for Cut {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        self.cut.as_mut().poll(context).map(|()| Some(Err(OwnerChanged.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
