//! Broker addresses: `mqtt://[user[:password]@]host[:port]`, or `mqtts://` for TLS.

use std::{borrow::Cow, fmt, str::FromStr};

use percent_encoding::percent_decode_str;
use url::{Host, ParseError, Url};

const RIGHT_FORM: &str = "write `mqtt://host`, `mqtt://host:1883` or, with TLS, `mqtts://host:8883`";

/// The address of a broker. `Display` and `Debug` leave out the user and the password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct BrokerUrl {
    /// Whether the connection is encrypted.
    pub(crate) tls: bool,
    /// A name or an IP address, without brackets.
    pub(crate) host: String,
    /// The port. The default is 1883, or 8883 with TLS.
    pub(crate) port: u16,
    /// The URL's user, decoded.
    pub(crate) user: Option<String>,
    /// The URL's password, decoded.
    pub(crate) password: Option<String>,
}

/// The error for a text that is not a broker address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{url}` is not the address of a broker: {why}; {RIGHT_FORM}")]
pub(crate) struct UrlError {
    /// The text without the user and the password.
    url: String,
    why: String,
}

impl FromStr for BrokerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        parse(text).map_err(|why| UrlError { url: without_login(text), why })
    }
}

const NO_SCHEME: &str = "it does not start with `mqtt://` or `mqtts://`";
const NO_HOST: &str = "the host is missing; an IPv6 address must be in brackets, as in `mqtt://[::1]:1883`";
const NO_PORT: &str = "its port is not a number from 1 to 65535; an IPv6 address must be in brackets, and in a user or a \
                       password `/`, `?` and `#` are written as `%2F`, `%3F` and `%23`";

fn parse(text: &str) -> Result<BrokerUrl, String> {
    let url = Url::parse(text).map_err(|error| match error {
        ParseError::RelativeUrlWithoutBase => NO_SCHEME.to_owned(),
        ParseError::EmptyHost => NO_HOST.to_owned(),
        ParseError::InvalidPort => NO_PORT.to_owned(),
        ParseError::InvalidIpv6Address => "what is in brackets is not an IPv6 address".to_owned(),
        other => other.to_string(),
    })?;
    let (tls, default_port) = match url.scheme() {
        "mqtt" => (false, 1883),
        "mqtts" => (true, 8883),
        _ => return Err(NO_SCHEME.to_owned()),
    };
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err("nothing can follow the port".to_owned());
    }
    let host = match url.host().ok_or(NO_HOST)? {
        Host::Ipv6(address) => address.to_string(),
        host => decoded(&host.to_string())?,
    };
    let port = url.port().unwrap_or(default_port);
    if port == 0 {
        return Err(NO_PORT.to_owned());
    }
    let login = |text: &str| decoded(text).map(|text| Some(text).filter(|text| !text.is_empty()));
    let (user, password) = (login(url.username())?, login(url.password().unwrap_or_default())?);
    Ok(BrokerUrl { tls, host, port, user, password })
}

fn decoded(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Cow::into_owned).map_err(|_| "the user, the password or the host is not UTF-8".to_owned())
}

/// Removes the user and the password from a text that may be a URL.
fn without_login(text: &str) -> String {
    let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
    match text.rsplit_once('@') {
        Some((_, address)) if scheme.is_empty() => format!("…@{address}"),
        Some((_, address)) => format!("{scheme}://…@{address}"),
        None => text.to_owned(),
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> BrokerUrl {
        text.parse().expect("a good URL")
    }

    #[test]
    fn good_urls_are_read() {
        for (text, shown) in [
            ("mqtt://broker", "mqtt://broker:1883"),
            ("mqtts://broker/", "mqtts://broker:8883"),
            ("MQTT://10.0.0.1:1884", "mqtt://10.0.0.1:1884"),
            ("mqtt://[::1]", "mqtt://[::1]:1883"),
            ("mqtts://ada:secret@[fe80::1]:9", "mqtts://[fe80::1]:9"),
        ] {
            assert_eq!(url(text).to_string(), shown, "{text}");
        }
        let login = url("mqtt://ada%40home:p%40ss:w%2Frd@broker");
        assert_eq!(login.user.as_deref(), Some("ada@home"));
        assert_eq!(login.password.as_deref(), Some("p@ss:w/rd"));
        assert_eq!(url("mqtt://ada@broker").password, None);
        assert_eq!(url("mqtt://:100%@broker").password.as_deref(), Some("100%"));
        assert_eq!(url("mqtt://k%C3%BCche.local").host, "k\u{fc}che.local");
        assert_eq!(url("mqtt://k\u{fc}che.local").host, "k\u{fc}che.local");
    }

    #[test]
    fn errors_for_bad_urls_name_the_fault_and_the_right_form() {
        for (text, part) in [
            ("broker", "does not start with `mqtt://`"),
            ("broker:1883", "does not start with `mqtt://`"),
            ("http://broker", "does not start with `mqtt://`"),
            ("mqtt://", "the host is missing"),
            ("mqtt://:1883", "the host is missing"),
            ("mqtt://bro ker", "invalid domain character"),
            ("mqtt://broker:0", "1 to 65535"),
            ("mqtt://broker:+1", "1 to 65535"),
            ("mqtt://broker:99999", "1 to 65535"),
            ("mqtt://::1:1883", "brackets"),
            ("mqtt://ada:p/w@broker", "`%2F`"),
            ("mqtt://[::1", "not an IPv6 address"),
            ("mqtt://[broker]", "not an IPv6 address"),
            ("mqtt://broker/topic", "nothing can follow the port"),
            ("mqtt://broker?a", "nothing can follow the port"),
            ("mqtt://a%ff:b@broker", "not UTF-8"),
        ] {
            let error = text.parse::<BrokerUrl>().expect_err(text).to_string();
            assert!(error.contains(part) && error.contains("`mqtts://host:8883`"), "{text}: {error}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let error = "http://ada:secret@broker".parse::<BrokerUrl>().expect_err("not MQTT").to_string();
        assert!(!error.contains("secret"), "{error}");
        let good = url("mqtt://ada:secret@broker");
        assert!(!format!("{good} {good:?}").contains("secret"));
    }
}
