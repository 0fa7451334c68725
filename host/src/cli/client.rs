//! The client of the HTTP API that the commands use.

pub(super) mod stream;

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, IF_MATCH, IF_NONE_MATCH},
};
use hyper_util::rt::TokioIo;
use roost_scheduler::suggest::{did_you_mean, nearest};
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
use url::{Url, form_urlencoded};

use super::{limits, output};
use crate::{
    config::{self, DataFlags},
    http::{DeviceRecord, Page, PluginRecord, Problem, socket_path},
    report::Report,
    store,
};

/// Environment variable with the address of the host. Without it, the host is found by its data folder.
const URL: &str = "ROOST_URL";
/// Environment variable with the bearer token for that host.
const TOKEN: &str = "ROOST_TOKEN";

/// A content type and a body.
type Content = (&'static str, Bytes);
const WASM: &str = "application/wasm";

/// A client of one host.
pub(super) struct Client {
    endpoint: Endpoint,
    runtime: Runtime,
}

/// The address of a host.
enum Endpoint {
    /// The host on this machine with this data folder, by its Unix socket.
    Folder(PathBuf),
    Url {
        url: Url,
        token: Option<String>,
    },
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Client {
    /// Returns a client of the host at `ROOST_URL`, or else of the host of the data folder. Does not connect yet.
    pub(super) fn new(data: DataFlags) -> Result<Self, Report> {
        match std::env::var(URL) {
            Ok(url) if !url.is_empty() => Self::of(Endpoint::parse(&url)?),
            _ => Self::local(data),
        }
    }

    /// Returns a client of the host of the data folder, by its socket. Does not connect yet.
    pub(super) fn local(data: DataFlags) -> Result<Self, Report> {
        Self::of(Endpoint::Folder(config::load(&data.into())?.data))
    }

    fn of(endpoint: Endpoint) -> Result<Self, Report> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Report::new("the runtime cannot be started").cause(error))?;
        Ok(Self { endpoint, runtime })
    }

    /// Checks whether there is a host to query: always if `ROOST_URL` is set, or else if the local host responds.
    pub(super) fn has_host(&self) -> bool {
        let probe = async {
            let stream = self.endpoint.connect().await?;
            self.endpoint.send(stream, Method::GET, "/healthz", None, None).await
        };
        match &self.endpoint {
            Endpoint::Folder(_) => self
                .runtime
                .block_on(async { timeout(limits::PROBE_TIMEOUT, probe).await.is_ok_and(|sent| sent.is_ok()) }),
            Endpoint::Url { .. } => true,
        }
    }

    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Report> {
        self.request(Method::GET, path, None)
    }

    pub(super) fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Report> {
        let body = serde_json::to_vec(body)
            .map_err(|error| Report::new("the request cannot be written as JSON").cause(error))?;
        self.request(Method::POST, path, Some(("application/json", body.into())))
    }

    /// Sends a request without a body. A response without a body is `()`.
    pub(super) fn send<T: DeserializeOwned>(&self, method: Method, path: &str) -> Result<T, Report> {
        self.request(method, path, None)
    }

    /// Uploads a component.
    pub(super) fn upload<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        component: Vec<u8>,
    ) -> Result<T, Report> {
        self.request(method, path, Some((WASM, component.into())))
    }

    /// Checks whether there is something at a path.
    pub(super) fn exists(&self, path: &str) -> Result<bool, Report> {
        match self.exchange(Method::GET, path, None, None)? {
            (StatusCode::NOT_FOUND, _) => Ok(false),
            (status, _) if status.is_success() => Ok(true),
            (status, bytes) => Err(self.problem(status, &bytes)),
        }
    }

    /// Writes a settings file: a new one, or with `replaces` one that takes the place of another.
    pub(super) fn put_settings(&self, path: &str, text: Vec<u8>, replaces: bool) -> Result<(), Report> {
        let condition = if replaces { IF_MATCH } else { IF_NONE_MATCH };
        match self.exchange(Method::PUT, path, Some(("application/toml", text.into())), Some(condition))? {
            (status, _) if status.is_success() => Ok(()),
            (status, bytes) => Err(self.problem(status, &bytes)),
        }
    }

    /// Sends a GET request with query parameters.
    pub(super) fn query<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T, Report> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        self.get(&format!("{path}?{query}"))
    }

    pub(super) fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Report> {
        self.request(Method::DELETE, path, None)
    }

    /// Passes up to `most` items of a paginated list to `take`. Returns whether there are more.
    pub(super) fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
        most: usize,
        mut take: impl FnMut(T) -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        let (mut left, mut next) = (most, None);
        loop {
            let limit = ("limit", left.min(limits::PAGE).to_string());
            let cursor = next.map(|cursor| ("cursor", cursor));
            let query: Vec<_> = query.iter().cloned().chain([limit]).chain(cursor).collect();
            let page: Page<T> = self.query(path, &query)?;
            left = left.saturating_sub(page.items.len());
            page.items.into_iter().try_for_each(&mut take)?;
            if page.next.is_none() || left == 0 {
                return Ok(page.next.is_some());
            }
            next = page.next;
        }
    }

    /// Prints a note to standard error if a filter names a plugin or a device that does not exist. Prints nothing if
    /// the host is not running.
    pub(super) fn note_missing(&self, plugin: Option<&str>, device: Option<&str>) -> io::Result<()> {
        let note = match (plugin, device) {
            // The built-in plugin is listed only once there is an ad-hoc job.
            (None | Some("roost"), _) => None,
            (Some(plugin), device) => self.missing(plugin, device),
        };
        note.map_or(Ok(()), |note| writeln!(output::stderr(), "{note}"))
    }

    fn missing(&self, plugin: &str, device: Option<&str>) -> Option<String> {
        let suggestion = |name: &str, known: &[String]| {
            let nearest = nearest(name, known.iter().map(String::as_str));
            nearest.map(|nearest| format!(": {}", did_you_mean(nearest))).unwrap_or_default()
        };
        let mut known = Vec::new();
        let name = |plugin: PluginRecord| {
            known.push(plugin.plugin);
            Ok(())
        };
        self.list("/api/v1/plugins", &[], usize::MAX, name).ok()?;
        if !known.iter().any(|name| name == plugin) {
            return Some(format!("there is no plugin `{plugin}` now{}", suggestion(plugin, &known)));
        }
        let mut known = Vec::new();
        let name = |device: DeviceRecord| {
            known.push(device.device);
            Ok(())
        };
        self.list("/api/v1/devices", &[("plugin", plugin.to_owned())], usize::MAX, name).ok()?;
        let device = device.filter(|device| !known.iter().any(|name| name == device))?;
        Some(format!("plugin `{plugin}` has no device `{device}` now{}", suggestion(device, &known)))
    }

    /// Passes server-sent events to `take` until the host ends the stream or `take` returns false. Fails if the host
    /// sends nothing for [`limits::REQUEST_TIMEOUT`].
    pub(super) fn follow(&self, path: &str, mut take: impl FnMut(stream::Event) -> bool) -> Result<(), Report> {
        let silent = || Report::new(format!("{} has stopped responding", self.endpoint));
        self.runtime.block_on(async {
            let exchange = async {
                let stream = self.endpoint.connect().await?;
                self.endpoint.send(stream, Method::GET, path, None, None).await
            };
            let response = timeout(limits::REQUEST_TIMEOUT, exchange).await.map_err(|_| silent())??;
            if !response.status().is_success() {
                let (status, bytes) = self.endpoint.read(response).await?;
                return Err(self.problem(status, &bytes));
            }
            let (mut body, mut parser) = (response.into_body(), stream::Parser::default());
            loop {
                let frame = match timeout(limits::REQUEST_TIMEOUT, body.frame()).await {
                    Ok(None) => return Ok(()),
                    Ok(Some(frame)) => frame.map_err(|error| self.endpoint.no_response(&error))?,
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

    fn request<T: DeserializeOwned>(&self, method: Method, path: &str, body: Option<Content>) -> Result<T, Report> {
        let (status, bytes) = self.exchange(method, path, body, None)?;
        if status.is_success() {
            let text: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
            return serde_json::from_slice(text).map_err(|error| self.not_understood(status, error));
        }
        Err(self.problem(status, &bytes))
    }

    /// Sends a request, and returns the status and the body of the response. `condition` is a header that requires some
    /// file, or none.
    fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<Content>,
        condition: Option<HeaderName>,
    ) -> Result<(StatusCode, Bytes), Report> {
        // The host tries what is uploaded.
        let is_upload = body.as_ref().is_some_and(|(kind, _)| *kind != "application/json");
        let limit = if is_upload { limits::UPLOAD_TIMEOUT } else { limits::REQUEST_TIMEOUT };
        let exchange = async {
            let stream = self.endpoint.connect().await?;
            let response = self.endpoint.send(stream, method, path, body, condition).await?;
            self.endpoint.read(response).await
        };
        self.runtime.block_on(async {
            timeout(limit, exchange).await.unwrap_or_else(|_| {
                let report = Report::new(format!("{} did not respond within {} s", self.endpoint, limit.as_secs()));
                Err(report.hint("see the host's log for the reason, and `roost runs` for the state of the runs"))
            })
        })
    }

    fn not_understood(&self, status: StatusCode, error: serde_json::Error) -> Report {
        let report = Report::new(format!("the response of {} is not understood: {status}", self.endpoint)).cause(error);
        report.hint("the program there is not Roost, or another version of it")
    }

    /// Returns the problem details of a response as a report.
    fn problem(&self, status: StatusCode, bytes: &[u8]) -> Report {
        let Problem { detail, hint, .. } = match serde_json::from_slice(bytes) {
            Ok(problem) => problem,
            Err(error) => return self.not_understood(status, error),
        };
        let report = Report::new(detail);
        match hint {
            _ if status == StatusCode::UNAUTHORIZED => {
                report.hint(format!("set `{TOKEN}` to the content of the host's token file"))
            }
            Some(hint) => report.hint(hint),
            None => report,
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(data) => write!(f, "the host on `{}`", data.display()),
            Self::Url { url, .. } => write!(f, "the host at `{}`", url.origin().ascii_serialization()),
        }
    }
}

impl Endpoint {
    fn parse(url: &str) -> Result<Self, Report> {
        let is_origin = |url: &Url| url.as_str().strip_suffix('/') == Some(url.origin().ascii_serialization().as_str());
        let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && is_origin(url));
        let url = parsed.ok_or_else(|| {
            let report = Report::new(format!("`{url}` is not the URL of a host"));
            report.hint(format!("set `{URL}` to a URL such as `http://127.0.0.1:8080`, or `https://roost.example`"))
        })?;
        let token = std::env::var(TOKEN).ok().map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
        Ok(Self::Url { url, token })
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, Report> {
        match self {
            Self::Folder(data) => match UnixStream::connect(socket_path(data)).await {
                Ok(stream) => Ok(Box::new(stream)),
                Err(error) => Err(unreachable(data, &error)),
            },
            Self::Url { url, .. } => {
                let (host, port) = host_and_port(url);
                let unreachable = |error: io::Error| {
                    let report = Report::new(format!("{self} cannot be reached")).cause(error);
                    report.hint(format!("check the address in `{URL}`"))
                };
                let stream = TcpStream::connect((host, port)).await.map_err(unreachable)?;
                match url.scheme() {
                    "https" => secured(stream, host).await.map_err(unreachable),
                    _ => Ok(Box::new(stream)),
                }
            }
        }
    }

    fn no_response(&self, error: &dyn std::error::Error) -> Report {
        let report = Report::new(format!("{self} did not respond")).chain(error);
        report.hint("see the host's log for the reason, and `roost runs` for the state of the runs")
    }

    async fn send(
        &self,
        stream: Box<dyn Stream>,
        method: Method,
        path: &str,
        body: Option<Content>,
        condition: Option<HeaderName>,
    ) -> Result<Response<Incoming>, Report> {
        let no_response = |error: &dyn std::error::Error| self.no_response(error);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| no_response(&error))?;
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path);
        match self {
            Self::Folder(_) => request = request.header(HOST, "localhost"),
            Self::Url { url, token } => {
                request = request.header(HOST, url.authority());
                if let Some(token) = token {
                    request = request.header(AUTHORIZATION, format!("Bearer {token}"));
                }
            }
        }
        if let Some((kind, _)) = body {
            request = request.header(CONTENT_TYPE, kind);
        }
        if let Some(condition) = condition {
            request = request.header(condition, "*");
        }
        let body = body.map(|(_, bytes)| bytes).unwrap_or_default();
        let request = request.body(Full::new(body)).map_err(|error| no_response(&error))?;
        sender.send_request(request).await.map_err(|error| no_response(&error))
    }

    async fn read(&self, response: Response<Incoming>) -> Result<(StatusCode, Bytes), Report> {
        let status = response.status();
        let body = Limited::new(response.into_body(), limits::RESPONSE_BYTES).collect().await;
        let body = body.map_err(|error| self.no_response(&*error))?;
        Ok((status, body.to_bytes()))
    }
}

fn host_and_port(url: &Url) -> (&str, u16) {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    (host, url.port_or_known_default().unwrap_or_default())
}

async fn secured(stream: TcpStream, host: &str) -> io::Result<Box<dyn Stream>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    Ok(Box::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
}

/// Returns the report for a host that cannot be reached by the socket in its data folder.
fn unreachable(data: &Path, error: &io::Error) -> Report {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused if store::is_in_use(data) => {
            let report = Report::new(format!("the host on `{}` cannot be reached", data.display()));
            let cause = format!("it is running, but does not listen at `{}`", socket_path(data).display());
            report.cause(cause).hint("if it has just started, try again; otherwise see its log for the reason")
        }
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            let report = Report::new(format!("no host is running on `{}`", data.display()));
            report.hint(format!(
                "start it with `roost run`, or select a running host by its data folder with `--data DIR` or by its address \
                 with `{URL}`"
            ))
        }
        io::ErrorKind::PermissionDenied => {
            let report = Report::new(format!("access to the host on `{}` is denied", data.display())).cause(error);
            report.hint("run the command as the user that runs the host")
        }
        _ => Report::new(format!("the host on `{}` cannot be reached", data.display()))
            .cause(error)
            .hint("if the path of its socket is too long, use a data folder with a shorter path: `--data DIR`"),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use roost_tests::redact;

    use super::*;

    #[test]
    fn the_address_of_a_host_is_a_url() {
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
            ("http://a?b", None),
            ("http://a:99999", None),
        ] {
            match (Endpoint::parse(url), expected) {
                (Ok(Endpoint::Url { url, .. }), Some(expected)) => assert_eq!(host_and_port(&url), expected, "{url}"),
                (Err(_), None) => {}
                _ => panic!("{url}"),
            }
        }
    }

    #[test]
    fn the_reasons_why_a_host_is_unreachable_are_distinguished() {
        let data = tempfile::tempdir().unwrap();
        let error = |kind: io::ErrorKind| redact(&unreachable(data.path(), &kind.into()).to_string());
        assert_eq!(error(io::ErrorKind::NotFound), error(io::ErrorKind::ConnectionRefused));
        let kinds = [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied, io::ErrorKind::InvalidInput];
        expect![[r#"
            no host is running on `[FOLDER]`
            hint: start it with `roost run`, or select a running host by its data folder with `--data DIR` or by its address with `ROOST_URL`
            access to the host on `[FOLDER]` is denied
              caused by: permission denied
            hint: run the command as the user that runs the host
            the host on `[FOLDER]` cannot be reached
              caused by: invalid input parameter
            hint: if the path of its socket is too long, use a data folder with a shorter path: `--data DIR`"#]].assert_eq(&kinds.map(error).join("\n"));
    }
}
