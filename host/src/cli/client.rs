//! The other end of the HTTP API: a command that asks.

pub(super) mod stream;

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    runtime::{Builder, Runtime},
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, pki_types::ServerName},
};

use super::output;
use crate::{
    config::{self, DataFlags, nearest::nearest},
    http::{DeviceRecord, Page, PluginRecord, Problem, socket_path},
    report::Report,
    store,
};

/// Where the host is that is asked, instead of in the data folder.
const URL: &str = "ROOST_URL";
/// What is shown there.
const TOKEN: &str = "ROOST_TOKEN";
/// How long an answer may take: longer than the host takes for one.
const PATIENCE: Duration = Duration::from_secs(40);
/// How long one is waited for that need not be there.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);
/// The same where a plugin is uploaded, which has to be compiled.
const PATIENCE_WITH_UPLOADS: Duration = Duration::from_secs(620);
/// Bytes of an answer at the most: it is held in memory.
const ANSWER_BYTES: usize = 256 << 20;
/// Items that are asked for at a time.
const PAGE: usize = 1_000;

/// A body, and what it is.
type Content = (&'static str, Bytes);
const WASM: &str = "application/wasm";

/// Asks a host.
pub(super) struct Client {
    place: Endpoint,
    runtime: Runtime,
}

/// Where it is.
enum Endpoint {
    /// On this machine, by its data folder.
    Folder(PathBuf),
    Url {
        tls: bool,
        /// As it stands in the URL: host and port.
        authority: String,
        token: Option<String>,
    },
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Client {
    /// The host that the environment names, or the one of the data folder.
    pub(super) fn new(data: DataFlags) -> Result<Self, Report> {
        let place = match std::env::var(URL) {
            Ok(url) if !url.is_empty() => Endpoint::parse(&url)?,
            _ => Endpoint::Folder(config::load(&data.into())?.data),
        };
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Report::new("the runtime cannot be started").cause(error))?;
        Ok(Self { place, runtime })
    }

    /// Whether somebody can be asked: a host that the environment names, whether it answers or not, or one that runs here and
    /// does.
    pub(super) fn has_host(&self) -> bool {
        let asked = async {
            let stream = self.place.connect().await?;
            self.place.send(stream, Method::GET, "/healthz", None).await
        };
        match &self.place {
            Endpoint::Folder(_) => {
                self.runtime.block_on(async { timeout(SIGN_OF_LIFE, asked).await.is_ok_and(|sent| sent.is_ok()) })
            }
            Endpoint::Url { .. } => true,
        }
    }

    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Report> {
        self.ask(Method::GET, path, None)
    }

    pub(super) fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Report> {
        let body = serde_json::to_vec(body).map_err(|error| Report::new("the request is no JSON").cause(error))?;
        self.ask(Method::POST, path, Some(("application/json", body.into())))
    }

    /// Without a body. What is answered with nothing is `()`.
    pub(super) fn order<T: DeserializeOwned>(&self, method: Method, path: &str) -> Result<T, Report> {
        self.ask(method, path, None)
    }

    /// A plugin.
    pub(super) fn upload<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        component: Vec<u8>,
    ) -> Result<T, Report> {
        self.ask(method, path, Some((WASM, component.into())))
    }

    /// With a query behind the path.
    pub(super) fn ask_about<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T, Report> {
        let query: Vec<String> = query.iter().map(|(key, value)| format!("{key}={}", encoded(value))).collect();
        self.get(&format!("{path}?{}", query.join("&")))
    }

    pub(super) fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Report> {
        self.ask(Method::DELETE, path, None)
    }

    /// Page after page, up to so many items, and whether there are more.
    pub(super) fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
        most: usize,
        mut take: impl FnMut(T) -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        let (mut left, mut next) = (most, None);
        loop {
            let limit = ("limit", left.min(PAGE).to_string());
            let cursor = next.map(|cursor| ("cursor", cursor));
            let query: Vec<_> = query.iter().cloned().chain([limit]).chain(cursor).collect();
            let page: Page<T> = self.ask_about(path, &query)?;
            left = left.saturating_sub(page.items.len());
            page.items.into_iter().try_for_each(&mut take)?;
            if page.next.is_none() || left == 0 {
                return Ok(page.next.is_some());
            }
            next = page.next;
        }
    }

    /// Says on standard error what was named and is not there now: then it is no wonder that nothing was found. A host that does
    /// not run knows nothing of that.
    pub(super) fn tell_missing(&self, plugin: Option<&str>, device: Option<&str>) -> io::Result<()> {
        let told = match (plugin, device) {
            // It is there from the first job on that is made by hand.
            (None | Some("roost"), _) => None,
            (Some(plugin), device) => self.missing(plugin, device),
        };
        told.map_or(Ok(()), |told| writeln!(output::stderr(), "{told}"))
    }

    fn missing(&self, plugin: &str, device: Option<&str>) -> Option<String> {
        let meant = |name: &str, known: &[String]| {
            let meant = nearest(name, known.iter().map(String::as_str));
            meant.map(|meant| format!(": did you mean `{meant}`?")).unwrap_or_default()
        };
        let mut known = Vec::new();
        let name = |plugin: PluginRecord| {
            known.push(plugin.plugin);
            Ok(())
        };
        self.list("/api/v1/plugins", &[], usize::MAX, name).ok()?;
        if !known.iter().any(|name| name == plugin) {
            return Some(format!("there is no plugin `{plugin}` now{}", meant(plugin, &known)));
        }
        let mut known = Vec::new();
        let name = |device: DeviceRecord| {
            known.push(device.device);
            Ok(())
        };
        self.list("/api/v1/devices", &[("plugin", plugin.to_owned())], usize::MAX, name).ok()?;
        let device = device.filter(|device| !known.iter().any(|name| name == device))?;
        Some(format!("plugin `{plugin}` has no device `{device}` now{}", meant(device, &known)))
    }

    /// Reads events until the host ends that, or `take` has enough of them. Nothing for so long: the host is not there any more.
    pub(super) fn follow(&self, path: &str, mut take: impl FnMut(stream::Event) -> bool) -> Result<(), Report> {
        let silent = || Report::new(format!("{} says nothing any more", self.place));
        self.runtime.block_on(async {
            let asked = async {
                let stream = self.place.connect().await?;
                self.place.send(stream, Method::GET, path, None).await
            };
            let answer = timeout(PATIENCE, asked).await.map_err(|_| silent())??;
            if !answer.status().is_success() {
                let (status, bytes) = self.place.read(answer).await?;
                return Err(self.refused(status, &bytes));
            }
            let (mut body, mut parser) = (answer.into_body(), stream::Parser::default());
            loop {
                let frame = match timeout(PATIENCE, body.frame()).await {
                    Ok(None) => return Ok(()),
                    Ok(Some(frame)) => frame.map_err(|error| self.place.gone(&error))?,
                    Err(_) => return Err(silent()),
                };
                let Ok(bytes) = frame.into_data() else { continue };
                parser.put(&bytes);
                while let Some(event) = parser.next() {
                    if !take(event) {
                        return Ok(());
                    }
                }
            }
        })
    }

    fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Option<Content>) -> Result<T, Report> {
        let is_upload = body.as_ref().is_some_and(|(kind, _)| *kind == WASM);
        let patience = if is_upload { PATIENCE_WITH_UPLOADS } else { PATIENCE };
        let asked = async {
            let stream = self.place.connect().await?;
            let answer = self.place.send(stream, method, path, body).await?;
            self.place.read(answer).await
        };
        let (status, bytes) = self.runtime.block_on(async {
            timeout(patience, asked).await.unwrap_or_else(|_| {
                let report = Report::new(format!("{} did not answer within {} s", self.place, patience.as_secs()));
                Err(report.hint("`roost runs` shows what became of runs; the host's log says what holds it up"))
            })
        })?;
        if status.is_success() {
            let text: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
            return serde_json::from_slice(text).map_err(|error| self.strange(status, error));
        }
        Err(self.refused(status, &bytes))
    }

    fn strange(&self, status: StatusCode, error: serde_json::Error) -> Report {
        let report = Report::new(format!("what {} answered is not understood: {status}", self.place)).cause(error);
        report.hint("it is no Roost, or one of another version")
    }

    fn refused(&self, status: StatusCode, bytes: &[u8]) -> Report {
        let Problem { detail, hint, .. } = match serde_json::from_slice(bytes) {
            Ok(problem) => problem,
            Err(error) => return self.strange(status, error),
        };
        let report = Report::new(detail);
        match hint {
            _ if status == StatusCode::UNAUTHORIZED => {
                report.hint(format!("put what is in its token file into `{TOKEN}`"))
            }
            Some(hint) => report.hint(hint),
            None => report,
        }
    }
}

/// As it stands in a query.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(data) => write!(f, "the Roost on `{}`", data.display()),
            Self::Url { tls, authority, .. } => {
                write!(f, "the Roost at `http{}://{authority}`", if *tls { "s" } else { "" })
            }
        }
    }
}

impl Endpoint {
    fn parse(url: &str) -> Result<Self, Report> {
        let wrong = || {
            let report = Report::new(format!("`{url}` is not where a Roost can be"));
            report.hint(format!("write `{URL}` like `http://127.0.0.1:8080`, or `https://roost.example`"))
        };
        let (scheme, authority) = url.split_once("://").ok_or_else(wrong)?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(wrong()),
        };
        if authority.is_empty() || authority.contains(['/', '?', '#', '@', ' ']) {
            return Err(wrong());
        }
        let token = std::env::var(TOKEN).ok().map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
        Ok(Self::Url { tls, authority: authority.to_owned(), token })
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, Report> {
        match self {
            Self::Folder(data) => match UnixStream::connect(socket_path(data)).await {
                Ok(stream) => Ok(Box::new(stream)),
                Err(error) => Err(not_there(data, &error)),
            },
            Self::Url { tls, authority, .. } => {
                let (host, port) = host_and_port(authority, *tls);
                let not_there = |error: io::Error| {
                    let report = Report::new(format!("{self} cannot be reached")).cause(error);
                    report.hint(format!("`{URL}` says where it is"))
                };
                let stream = TcpStream::connect((host, port)).await.map_err(not_there)?;
                if *tls { secured(stream, host).await.map_err(not_there) } else { Ok(Box::new(stream)) }
            }
        }
    }

    fn gone(&self, error: &dyn std::error::Error) -> Report {
        let report = Report::new(format!("{self} did not answer")).chain(error);
        report.hint("`roost runs` shows what became of runs; the host's log says what is wrong")
    }

    async fn send(
        &self,
        stream: Box<dyn Stream>,
        method: Method,
        path: &str,
        body: Option<Content>,
    ) -> Result<Response<Incoming>, Report> {
        let gone = |error: &dyn std::error::Error| self.gone(error);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| gone(&error))?;
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path);
        match self {
            Self::Folder(_) => request = request.header(HOST, "localhost"),
            Self::Url { authority, token, .. } => {
                request = request.header(HOST, authority);
                if let Some(token) = token {
                    request = request.header(AUTHORIZATION, format!("Bearer {token}"));
                }
            }
        }
        if let Some((kind, _)) = body {
            request = request.header(CONTENT_TYPE, kind);
        }
        let body = body.map(|(_, bytes)| bytes).unwrap_or_default();
        let request = request.body(Full::new(body)).map_err(|error| gone(&error))?;
        sender.send_request(request).await.map_err(|error| gone(&error))
    }

    async fn read(&self, answer: Response<Incoming>) -> Result<(StatusCode, Bytes), Report> {
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| self.gone(&*error))?;
        Ok((status, body.to_bytes()))
    }
}

fn host_and_port(authority: &str, tls: bool) -> (&str, u16) {
    let usual = if tls { 443 } else { 80 };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().unwrap_or(usual)),
        _ => (authority, usual),
    };
    (host.trim_matches(['[', ']']), port)
}

async fn secured(stream: TcpStream, host: &str) -> io::Result<Box<dyn Stream>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    Ok(Box::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
}

fn not_there(data: &Path, error: &io::Error) -> Report {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused if store::is_in_use(data) => {
            let report = Report::new(format!("the Roost on `{}` cannot be asked", data.display()));
            let cause = format!("it does not listen at `{}`", socket_path(data).display());
            report.cause(cause).hint("if it has just started, try again; else its log says why it does not")
        }
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            let report = Report::new(format!("no Roost is running on `{}`", data.display()));
            report.hint(format!(
                "start it with `roost run`, or name the data folder of the one that runs with `--data DIR`, or where it is by \
                 `{URL}`"
            ))
        }
        io::ErrorKind::PermissionDenied => {
            let report = Report::new(format!("the Roost on `{}` may not be asked", data.display())).cause(error);
            report.hint("only the user that runs it may")
        }
        _ => Report::new(format!("the Roost on `{}` cannot be asked", data.display())).cause(error).hint(
            "if its log says that it cannot be listened on, name a data folder with a shorter path by `--data DIR`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_host_is_is_a_url() {
        for (url, expected) in [
            ("http://127.0.0.1:8080", Some(("127.0.0.1", 8080))),
            ("http://roost.lan/", Some(("roost.lan", 80))),
            ("https://roost.lan", Some(("roost.lan", 443))),
            ("http://[::1]:8080", Some(("::1", 8080))),
            ("http://[::1]", Some(("::1", 80))),
            ("127.0.0.1:8080", None),
            ("ftp://a", None),
            ("http://", None),
            ("http://a/b", None),
            ("http://me@a", None),
        ] {
            match (Endpoint::parse(url), expected) {
                (Ok(Endpoint::Url { tls, authority, .. }), Some(expected)) => {
                    assert_eq!(host_and_port(&authority, tls), expected, "{url}");
                }
                (Err(_), None) => {}
                _ => panic!("{url}"),
            }
        }
    }

    #[test]
    fn a_host_that_is_not_there_is_told_apart() {
        let data = tempfile::tempdir().unwrap();
        let error = |kind: io::ErrorKind| not_there(data.path(), &kind.into()).to_string();
        assert!(error(io::ErrorKind::NotFound).starts_with("no Roost is running on `"));
        assert!(error(io::ErrorKind::ConnectionRefused).starts_with("no Roost is running on `"));
        assert!(error(io::ErrorKind::PermissionDenied).contains("only the user that runs it may"));
        assert!(error(io::ErrorKind::InvalidInput).contains("name a data folder with a shorter path"));
    }

    #[test]
    fn queries_are_encoded() {
        assert_eq!(encoded("2027-03-01T06:30:00+01:00 é"), "2027-03-01T06%3A30%3A00%2B01%3A00%20%C3%A9");
    }
}
