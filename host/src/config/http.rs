//! Settings of the HTTP API.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    str::FromStr,
};

use super::{
    document::{Secret, Value},
    limits,
};
use crate::report::Report;

/// The default address: this machine alone.
const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const HTTP_KEYS: [&str; 3] = ["listen", "token_file", "hosts"];

/// Settings of the HTTP API. They are not `Debug`, because they have a token.
pub(crate) struct Http {
    pub(crate) listen: Listen,
    /// Whether the address is configured. If it is not, an occupied port is no error.
    pub(crate) is_configured: bool,
    /// The token that a client has to send.
    pub(crate) token: Option<String>,
    /// Names and addresses of the host that clients use, besides `localhost`.
    pub(crate) hosts: Vec<String>,
}

/// An address, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listen {
    Off,
    At(SocketAddr),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let wrong = |_| format!("`{text}` is not an address with a port: write it like `127.0.0.1:8080`, or `off`");
        text.parse().map(Self::At).map_err(wrong)
    }
}

/// `[http]` of `roost.toml`.
#[derive(Default)]
pub(super) struct HttpFile {
    listen: Option<Listen>,
    token: Option<String>,
    hosts: Vec<String>,
    /// A warning about the token's file.
    pub(super) warning: Option<Report>,
}

impl HttpFile {
    pub(super) fn read(folder: &Path, value: &Value<'_>) -> Result<Self, Report> {
        let table = value.table(&HTTP_KEYS)?;
        let hosts = table.get("hosts").map(|value| value.list()).transpose()?.unwrap_or_default();
        let secret = table.get("token_file").map(|file| read_token(folder, &file)).transpose()?;
        let (token, warning) = secret.map(|secret| (secret.text, secret.warning)).unzip();
        Ok(Self {
            listen: table.get("listen").map(|value| value.parsed(Listen::from_str)).transpose()?,
            token,
            warning: warning.flatten(),
            hosts: hosts.iter().map(|host| host.parsed(parse_host)).collect::<Result<_, _>>()?,
        })
    }
}

fn read_token(folder: &Path, file: &Value<'_>) -> Result<Secret, Report> {
    let secret = file.secret(folder, "token")?;
    let token = &secret.text;
    let least = limits::TOKEN_BYTES;
    if token.len() < least || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let what = format!("the token must have {least} or more letters, digits and signs, and nothing else");
        return Err(file.error(what).hint("`(umask 077; openssl rand -hex 32 > FILE)` makes one"));
    }
    Ok(secret)
}

/// Accepts a name or an address as in a URL.
fn parse_host(text: &str) -> Result<String, String> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let in_brackets = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let is_address = in_brackets.is_some_and(|text| text.parse::<Ipv6Addr>().is_ok());
    if is_address || (!text.is_empty() && text.bytes().all(is_name)) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(format!("`{text}` is not a host: write it without a port, such as `roost.lan` or `[fd00::1]`"))
}

impl Http {
    pub(super) fn new(flag: Option<Listen>, file: HttpFile) -> Result<Self, Report> {
        let HttpFile { listen, token, hosts, warning: _ } = file;
        let set = flag.or(listen);
        let http = Self { listen: set.unwrap_or(Listen::At(DEFAULT)), is_configured: set.is_some(), token, hosts };
        match http.listen {
            Listen::At(address) if !address.ip().is_loopback() && http.token.is_none() => {
                let what = format!("`{address}` can be reached from other machines, and there is no token");
                let report = Report::new(what).cause("a client that reaches the HTTP API can do everything with Roost");
                Err(report.hint(
                    "name a file with a secret by `token_file` below `[http]` in `roost.toml`, or listen on `127.0.0.1`",
                ))
            }
            _ => Ok(http),
        }
    }
}
