//! Why there is no connection to the broker, and what the operator can do about it.

use std::{io, time::Duration};

use super::reason::{BAD_LOGIN, NOT_AUTHORIZED, Reason, TAKEN_OVER, UNSUPPORTED_VERSION};

/// The packet that the broker may leave unanswered, as [`Failure::NoAnswer`] names it.
pub(super) const CONNECT: &str = "CONNECT";

/// Why a connection could not be established, or ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Unreachable(io::Error),
    #[error("TLS: {0}")]
    Tls(io::Error),
    #[error("no answer to {what} within {} s", within.as_secs_f32())]
    NoAnswer { what: &'static str, within: Duration },
    #[error("the broker speaks neither MQTT 5 nor 3.1.1")]
    Version,
    #[error("the broker rejected the login: {0}")]
    Login(Reason),
    #[error("the broker refused the connection: {0}")]
    Refused(Reason),
    #[error("the broker closed the connection instead of answering")]
    ClosedAtOnce,
    #[error("the broker accepted the connection and closed it at once")]
    ClosedAfterConnack,
    #[error("the broker closed the connection")]
    Closed,
    #[error("the broker ended the connection: {0}")]
    Disconnected(Reason),
    #[error("the connection broke: {0}")]
    Broken(io::Error),
    #[error("the broker sent data that is not valid MQTT: {0}")]
    Malformed(String),
    #[error("the broker has sent nothing for {} s", .0.as_secs_f32())]
    Silent(Duration),
    #[error("the broker has not acknowledged a message or a subscription for {} s", .0.as_secs_f32())]
    Unacknowledged(Duration),
}

impl Failure {
    /// Returns the failure that a refusing CONNACK means.
    pub(super) fn refused(reason: Reason) -> Self {
        match reason.code {
            UNSUPPORTED_VERSION => Self::Version,
            BAD_LOGIN | NOT_AUTHORIZED => Self::Login(reason),
            _ => Self::Refused(reason),
        }
    }

    /// Checks whether the broker understood CONNECT and refused it.
    pub(super) const fn is_of_login(&self) -> bool {
        matches!(self, Self::Login(_) | Self::Refused(_))
    }

    /// Checks whether only the operator can resolve the failure, so that frequent retries would not help.
    pub(super) const fn needs_operator(&self) -> bool {
        matches!(self, Self::Version | Self::Login(_))
    }

    /// Returns what the operator can do about the failure. `tls` is whether the address uses TLS.
    pub(super) fn hint(&self, tls: bool) -> Option<&'static str> {
        Some(match self {
            Self::ClosedAtOnce if !tls => {
                "Roost tries MQTT 3.1.1 next, in case the broker does not support MQTT 5; if the broker closes that \
                 connection as well, it may require TLS: then the address starts with `mqtts://`"
            }
            Self::Version | Self::ClosedAtOnce => {
                "Roost needs a broker that speaks MQTT 5 or 3.1.1, such as Mosquitto; or leave `url` out of `[mqtt]` \
                 to use the built-in broker"
            }
            Self::Login(_) => {
                "set `user` and `password` in `[mqtt]`, and allow that user to publish to `status_topic` and the \
                 plugins' topics, and to read the topics on which devices report"
            }
            Self::ClosedAfterConnack => {
                "check the broker's log; the broker may reject this user, or the client id in the data folder \
                 (`client-id`)"
            }
            Self::Unreachable(_) => {
                "check that the broker runs and that host and port are correct, or leave `url` out of `[mqtt]` to use \
                 the built-in broker"
            }
            // rustls has no variant for this error, and openssl creates such certificates by default.
            Self::Tls(error) if error.to_string().contains("CaUsedAsEndEntity") => {
                "the broker uses the certificate of an authority as its own; give it one that the authority has \
                 signed, or create it with `openssl req -x509 … -addext basicConstraints=critical,CA:FALSE`"
            }
            Self::Tls(error) if error.to_string().contains("CertificateRequired") => {
                "the broker requires a client certificate: set `cert_file` and `key_file` in `[mqtt]` to a \
                 certificate that its authority has signed and to the certificate's key"
            }
            Self::Tls(error) if error.to_string().contains("received fatal alert") => {
                "the broker does not accept Roost's certificate: check that an authority that the broker trusts has \
                 signed `cert_file`, and that it is valid today"
            }
            Self::Tls(_) => {
                "check that the broker speaks TLS at this port and that its certificate is valid for the host in \
                 `url`; if no public authority signed the certificate, set `ca_file` in `[mqtt]` to the authority's \
                 certificate"
            }
            Self::Malformed(_) | Self::NoAnswer { .. } if !tls => {
                "check that a broker without TLS listens at this port; an address with TLS starts with `mqtts://`"
            }
            Self::Disconnected(reason) if reason.code == TAKEN_OVER => {
                "two hosts must not use copies of one data folder, because it contains the client id"
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio_rustls::rustls::{CertificateError, Error, OtherError};

    use expect_test::expect;

    use super::*;

    #[test]
    fn an_authority_as_server_certificate_has_its_own_hint() {
        let hint = |why: CertificateError| {
            let failure = Failure::Tls(io::Error::other(Error::InvalidCertificate(why)));
            failure.hint(true).unwrap_or_default()
        };
        let other = std::sync::Arc::new(io::Error::other("CaUsedAsEndEntity"));
        let hints = [hint(CertificateError::Other(OtherError(other))), hint(CertificateError::UnknownIssuer)];
        expect![[r#"
            the broker uses the certificate of an authority as its own; give it one that the authority has signed, or create it with `openssl req -x509 … -addext basicConstraints=critical,CA:FALSE`
            check that the broker speaks TLS at this port and that its certificate is valid for the host in `url`; if no public authority signed the certificate, set `ca_file` in `[mqtt]` to the authority's certificate"#]].assert_eq(&hints.join("\n"));
    }
}
