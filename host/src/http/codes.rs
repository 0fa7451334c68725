//! One-time codes, with which a browser logs in without the token being typed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    auth::{Access, LOGIN},
    limits,
    problem::{Answered, Problem},
};
use crate::clock;

/// The path at which codes are made. The guard refuses it over TCP.
pub(crate) const PATH: &str = "/api/v1/login-codes";

/// A one-time code to log in with.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct CodeRecord {
    /// The code
    #[schema(example = "7K3QX-M09TA")]
    pub(crate) code: String,
    /// When it becomes invalid
    #[schema(example = "2027-03-01T06:40:00Z")]
    pub(crate) expires: String,
    /// The addresses of the login page with the code in them, for browsers that reach the host there
    #[schema(example = json!(["http://192.168.1.5:8080/login#7K3QX-M09TA"]))]
    pub(crate) addresses: Vec<String>,
    /// Whether another machine, such as a phone, reaches one of the addresses
    pub(crate) is_reachable: bool,
}

/// Make a one-time code for a browser to log in with
///
/// Only over the socket in the data folder: over TCP the answer is 403. The code is valid once, and for ten minutes. It
/// is in the fragment of the addresses, which browsers do not send: so it is in no log of a proxy, and a program that
/// previews the address does not use it up.
#[utoipa::path(post, path = "/api/v1/login-codes", tag = "login",
    responses(
        (status = 200, body = CodeRecord),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "There is no token, or the host does not listen"),
    ))]
pub(crate) async fn make(State(Access { guard, zone }): State<Access>) -> Answered<CodeRecord> {
    let conflict = |detail: &str, hint: &str| Problem::new(StatusCode::CONFLICT, detail).hint(hint);
    let address = guard.address().ok_or_else(|| {
        let hint =
            "set `listen = \"0.0.0.0:8080\"` and `token_file` below `[http]` in `roost.toml`, and start Roost again";
        conflict("the host does not listen for browsers", hint)
    })?;
    let login = guard.login().ok_or_else(|| {
        let hint = format!(
            "browsers on this machine need no login: open `http://{address}/`. For a phone, make a token with `(umask 077; \
             openssl rand -hex 32 > token)`, set `listen = \"0.0.0.0:{}\"` and `token_file = \"token\"` below `[http]` in \
             `roost.toml`, and start Roost again",
            address.port()
        );
        conflict("the host has no token, so that only this machine can reach it", &hint)
    })?;
    let code =
        login.make_code(clock::monotonic()).map_err(|report| Problem::of(StatusCode::SERVICE_UNAVAILABLE, report))?;
    let expires = clock::now().plus_ms(limits::CODE_VALID.as_millis() as i64);
    let origins = origins(address, guard.hosts(), own_addresses);
    Ok(Json(CodeRecord {
        expires: expires.in_zone(zone),
        addresses: origins.iter().map(|origin| format!("{origin}{LOGIN}#{code}")).collect(),
        code,
        is_reachable: !address.ip().is_loopback() || !guard.hosts().is_empty(),
    }))
}

/// Returns the origins by which browsers reach the host, the best one first. If it listens on loopback alone, a name
/// that is configured is that of a proxy, which has TLS.
fn origins(address: SocketAddr, hosts: &[String], own: impl FnOnce(IpAddr) -> Vec<IpAddr>) -> Vec<String> {
    let (ip, port) = (address.ip(), address.port());
    let named = hosts.iter().map(|host| match ip.is_loopback() {
        true => format!("https://{host}"),
        false => format!("http://{host}:{port}"),
    });
    let addresses = if ip.is_unspecified() { own(ip) } else { vec![ip] };
    named.chain(addresses.into_iter().map(|ip| format!("http://{}", SocketAddr::new(ip, port)))).collect()
}

/// Returns the addresses by which this machine reaches others, and so most likely is reached. Nothing is sent: the
/// kernel only looks up its routes to addresses that are reserved for documentation (RFC 5737, RFC 3849).
fn own_addresses(unspecified: IpAddr) -> Vec<IpAddr> {
    let (v4, v6) = (Ipv4Addr::new(192, 0, 2, 1), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
    let route = |from: IpAddr, to: IpAddr| -> Option<IpAddr> {
        let socket = UdpSocket::bind((from, 0)).ok()?;
        socket.connect((to, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
    };
    let of_v4 = route(Ipv4Addr::UNSPECIFIED.into(), v4.into());
    // `[::]` takes both.
    let of_v6 = unspecified.is_ipv6().then(|| route(Ipv6Addr::UNSPECIFIED.into(), v6.into())).flatten();
    of_v4.into_iter().chain(of_v6).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_for_a_browser_follow_from_where_the_host_listens() {
        let own = |_| vec!["192.168.1.5".parse().unwrap(), "fd00::5".parse().unwrap()];
        let origins = |address: &str, hosts: &[&str]| {
            let hosts: Vec<_> = hosts.iter().map(|&host| host.to_owned()).collect();
            origins(address.parse().unwrap(), &hosts, own).join(" ")
        };
        assert_eq!(origins("127.0.0.1:8080", &[]), "http://127.0.0.1:8080");
        assert_eq!(origins("127.0.0.1:8080", &["roost.lan"]), "https://roost.lan http://127.0.0.1:8080");
        assert_eq!(origins("192.168.1.7:80", &["roost.lan"]), "http://roost.lan:80 http://192.168.1.7:80");
        assert_eq!(origins("[::]:8080", &[]), "http://192.168.1.5:8080 http://[fd00::5]:8080");
    }
}
