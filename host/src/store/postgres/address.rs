//! The address of a database, from the settings.

use std::{fmt, str::FromStr};

use tokio_postgres::{
    Config,
    config::{Host, SslMode, TargetSessionAttrs},
};

use crate::store::limits;

/// The address of a database: `postgres://USER:PASSWORD@HOST/DATABASE`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(super) config: Config,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err("it must begin with `postgres://`".to_owned());
        }
        let mut config: Config = text.parse().map_err(|error: tokio_postgres::Error| {
            std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)
        })?;
        if config.get_hosts().is_empty() {
            return Err("it names no host".to_owned());
        }
        if config.get_dbname().is_none() {
            return Err("it names no database: end it with `/roost`".to_owned());
        }
        if config.get_user().is_none() {
            return Err("it names no user: begin it with `postgres://roost@`".to_owned());
        }
        // Nothing of it leaves this machine, or the certificate is checked.
        let is_here = config.get_hosts().iter().all(is_local);
        config.ssl_mode(if is_here && config.get_ssl_mode() != SslMode::Require {
            SslMode::Disable
        } else {
            config.get_ssl_mode()
        });
        if config.get_ssl_mode() == SslMode::Prefer {
            config.ssl_mode(SslMode::Require);
        }
        // One of several servers is a standby, and becomes the one that writes when that fails.
        if config.get_hosts().len() > 1 {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        config.application_name("roost").connect_timeout(limits::CONNECT).tcp_user_timeout(limits::CONNECT);
        Ok(Self { config })
    }
}

/// Quotes a name, unless it is a plain word.
fn quoted(name: &str) -> String {
    let is_plain = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name.chars().all(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || one == '_');
    if is_plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback()),
        Host::Unix(_) => true,
    }
}

impl Address {
    /// Returns the name of the role, as SQL has it.
    pub(super) fn role(&self) -> String {
        quoted(self.config.get_user().unwrap_or_default())
    }

    /// Returns the name of the database, as SQL has it.
    pub(super) fn database(&self) -> String {
        quoted(self.config.get_dbname().unwrap_or_default())
    }

    /// Checks whether the address itself has a password.
    pub(crate) fn has_password(&self) -> bool {
        self.config.get_password().is_some()
    }
}

/// Without user and password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        for (at, host) in self.config.get_hosts().iter().enumerate() {
            let separator = if at == 0 { "" } else { "," };
            let port = match self.config.get_ports() {
                [port] => Some(port),
                ports => ports.get(at),
            };
            match host {
                Host::Tcp(name) => write!(f, "{separator}{name}")?,
                Host::Unix(path) => write!(f, "{separator}{}", path.display())?,
            }
            if let Some(port) = port {
                write!(f, ":{port}")?;
            }
        }
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        let shown = |text: &str| {
            text.parse::<Address>()
                .map_or_else(|error| error, |address| format!("{address} {:?}", address.config.get_ssl_mode()))
        };
        let all = [
            "postgres://roost:secret@db.example/roost",
            "postgres://roost:secret@127.0.0.1:5433/roost",
            "postgres://roost@localhost/roost?sslmode=require",
            "postgres://roost@db.example/roost?sslmode=disable",
            "postgres://roost@one:5432,two:5433/roost",
            "mysql://roost@db.example/roost",
            "postgres://roost@db.example",
            "postgres://db.example/roost",
            "postgres:///roost",
            "postgres://roost@db.example:port/roost",
        ];
        expect_test::expect![[r#"
            postgres://db.example:5432/roost Require
            postgres://127.0.0.1:5433/roost Disable
            postgres://localhost:5432/roost Require
            postgres://db.example:5432/roost Disable
            postgres://one:5432,two:5433/roost Require
            it must begin with `postgres://`
            it names no database: end it with `/roost`
            it names no user: begin it with `postgres://roost@`
            it names no host
            invalid value for option `port`"#]]
        .assert_eq(&all.map(shown).join("\n"));
    }
}
