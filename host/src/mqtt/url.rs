//! Broker addresses: `mqtt://[user[:password]@]host[:port]`, or `mqtts://` for TLS.

use std::{fmt, str::FromStr};

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

fn parse(text: &str) -> Result<BrokerUrl, String> {
    let (scheme, rest) = text.split_once("://").ok_or("it does not start with `mqtt://`")?;
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "mqtt" => false,
        "mqtts" => true,
        other => return Err(format!("`{other}://` is not supported")),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#']) {
        return Err(
            "nothing can follow the port; in a user or a password, write `/`, `?` and `#` as `%2F`, `%3F` and `%23`"
                .to_owned(),
        );
    }
    let (login, address) = match authority.rsplit_once('@') {
        Some((login, address)) => (Some(login), address),
        None => (None, authority),
    };
    let (host, port) = split_port(address)?;
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err("the host is missing".to_owned());
    }
    let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
        Some((user, password)) => (percent_decoded(user)?, percent_decoded(password)?),
        None => (None, None),
    };
    let port = port.unwrap_or(if tls { 8883 } else { 1883 });
    Ok(BrokerUrl { tls, host: host.to_owned(), port, user, password })
}

fn split_port(address: &str) -> Result<(&str, Option<u16>), String> {
    let (host, port) = if let Some(rest) = address.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("the `[` of the IPv6 address is not closed")?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| format!("`{host}` is not an IPv6 address"))?;
        match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => return Err("only a port can follow `]`".to_owned()),
        }
    } else if address.matches(':').count() > 1 {
        return Err("an IPv6 address must be in brackets, as in `mqtt://[::1]:1883`".to_owned());
    } else {
        address.split_once(':').map_or((address, None), |(host, port)| (host, Some(port)))
    };
    let number = |port: &str| match port.parse::<u16>() {
        Ok(number) if number > 0 && port.bytes().all(|byte| byte.is_ascii_digit()) => Ok(number),
        _ => Err(format!("`{port}` is not a port, 1 to 65535")),
    };
    Ok((host, port.map(number).transpose()?))
}

/// Decodes `%xx` sequences. Returns `None` for an empty text.
fn percent_decoded(text: &str) -> Result<Option<String>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'%' {
            bytes.push(byte);
            rest = after;
            continue;
        }
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let decoded = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(decoded.ok_or("a `%` in the user or password is not followed by two hexadecimal digits")?);
        rest = &after[2..];
    }
    let text = String::from_utf8(bytes).map_err(|_| "the user or password is not UTF-8")?;
    Ok(Some(text).filter(|text| !text.is_empty()))
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
    use expect_test::expect;

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
    }

    #[test]
    fn errors_for_bad_urls_name_the_fault_and_the_right_form() {
        let faults = [
            "broker:1883",
            "http://broker",
            "mqtt://",
            "mqtt://:1883",
            "mqtt://broker:0",
            "mqtt://broker:+1",
            "mqtt://broker:99999",
            "mqtt://::1:1883",
            "mqtt://[::1",
            "mqtt://[broker]",
            "mqtt://broker/topic",
            "mqtt://a%4:b@broker",
        ]
        .map(|text| format!("{text}\n  {}\n", text.parse::<BrokerUrl>().expect_err(text)));
        expect![[r#"
            broker:1883
              `broker:1883` is not the address of a broker: it does not start with `mqtt://`; write `mqtt://host`, `mqtt://host:1883` or, with TLS, `mqtts://host:8883`
            http://broker
              `http://broker` is not the address of a broker: `http://` is not supported; write `mqtt://host`, `mqtt://host:1883` or, with TLS, `mqtts://host:8883`
            mqtt://
              `mqtt://` is not the address of a broker: the host is missing; write `mqtt://host`, `mqtt://host:1883` or, with TLS, `mqtts://host:8883`
            mqtt://:1883
              `mqtt://:1883` is not the address of a broker: the host is missing; write `mqtt://host`, `mqtt://host:1883` or, with TLS, `mqtts://host:8883`
            mqtt://broker:0
              `mqtt://broker:0` is not the address of a broker: `0` is not a port, 1 to 65535; write `mqtt://host`, `mqtt://host:1883` or, with TLS, `mqtts://host:8883`
            mqtt://broker:+1
              `mqtt://broker:+1` is not the address of a broker: `+1` is not a port, 1 to 65535; write `mqtt://host`, `mqtt://host:1883` or, with TLS, `mqtts://host:8883`
            mqtt://broker:99999
              `mqtt://broker:99999` is not the address of a broker: `99999` is not a port, 1 to 65535; write `mqtt://host`, `mqtt://host:1883` or, with TLS, `mqtts://host:8883`
            mqtt://::1:1883
              `mqtt://::1:1883` is not the address of a broker: an IPv6 address must be in brackets, as in `mqtt://[::1]:1883`; write `mqtt://host`, `mqtt://host:1883` or, with TLS, `mqtts://host:8883`
            mqtt://[::1
              `mqtt://[::1` is not the address of a broker: the `[` of the IPv6 address is not closed; write `mqtt://host`, `mqtt://host:1883` or, with TLS, `mqtts://host:8883`
            mqtt://[broker]
              `mqtt://[broker]` is not the address of a broker: `broker` is not an IPv6 address; write `mqtt://host`, `mqtt://host:1883` or, with TLS, `mqtts://host:8883`
            mqtt://broker/topic
              `mqtt://broker/topic` is not the address of a broker: nothing can follow the port; in a user or a password, write `/`, `?` and `#` as `%2F`, `%3F` and `%23`; write `mqtt://host`, `mqtt://host:1883` or, with TLS, `mqtts://host:8883`
            mqtt://a%4:b@broker
              `mqtt://…@broker` is not the address of a broker: a `%` in the user or password is not followed by two hexadecimal digits; write `mqtt://host`, `mqtt://host:1883` or, with TLS, `mqtts://host:8883`
        "#]].assert_eq(&faults.concat());
    }

    #[test]
    fn a_password_is_never_shown() {
        let error = "http://ada:secret@broker".parse::<BrokerUrl>().expect_err("not MQTT").to_string();
        assert!(!error.contains("secret"), "{error}");
        let good = url("mqtt://ada:secret@broker");
        assert!(!format!("{good} {good:?}").contains("secret"));
    }
}
