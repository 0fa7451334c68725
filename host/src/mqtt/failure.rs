//! Why there is no connection to the broker, and what a person can do about it.

use std::{io, time::Duration};

use super::reason::{BAD_LOGIN, NOT_AUTHORIZED, Reason, TAKEN_OVER, UNSUPPORTED_VERSION};

/// What a broker may not answer to.
pub(super) const CONNECT: &str = "CONNECT";

/// Why a connection could not be made, or ended.
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
    #[error("the broker did not let Roost in: {0}")]
    Login(Reason),
    #[error("the broker refused the connection: {0}")]
    Refused(Reason),
    #[error("the broker closed the connection instead of answering")]
    ClosedAtOnce,
    #[error("the broker let Roost in, and closed the connection at once")]
    ClosedAfterConnack,
    #[error("the broker closed the connection")]
    Closed,
    #[error("the broker ended the connection: {0}")]
    Disconnected(Reason),
    #[error("the connection broke: {0}")]
    Broken(io::Error),
    #[error("the broker sent what is not MQTT: {0}")]
    Malformed(String),
    #[error("the broker has sent nothing for {} s", .0.as_secs_f32())]
    Silent(Duration),
    #[error("the broker has not acknowledged a message or a subscription for {} s", .0.as_secs_f32())]
    Unacknowledged(Duration),
}

impl Failure {
    /// What a refusing CONNACK means.
    pub(super) fn refused(reason: Reason) -> Self {
        match reason.code {
            UNSUPPORTED_VERSION => Self::Version,
            BAD_LOGIN | NOT_AUTHORIZED => Self::Login(reason),
            _ => Self::Refused(reason),
        }
    }

    /// Whether the broker understood CONNECT, and refused it.
    pub(super) const fn is_of_login(&self) -> bool {
        matches!(self, Self::Login(_) | Self::Refused(_))
    }

    /// Whether it will stay so until a person does something: trying often would not help.
    pub(super) const fn needs_a_person(&self) -> bool {
        matches!(self, Self::Version | Self::Login(_))
    }

    /// What to do.
    pub(super) fn hint(&self, tls: bool) -> Option<&'static str> {
        Some(match self {
            Self::ClosedAtOnce if !tls => {
                "a broker that closes because it does not know MQTT 5 is tried in 3.1.1 next; if it closes then, too, it may \
                 want TLS: then the address starts with `mqtts://`"
            }
            Self::Version | Self::ClosedAtOnce => {
                "Roost needs a broker that speaks MQTT 5 or 3.1.1, such as Mosquitto; or leave `url` out of `[mqtt]` to use \
                 the built-in broker"
            }
            Self::Login(_) => {
                "set `user` and `password` in `[mqtt]`, and let the user publish to `status_topic` and to the topics of the \
                 plugins, and read those on which devices report"
            }
            Self::ClosedAfterConnack => {
                "the broker's log may say why; it may not accept this user, or the client id that is kept in the data folder \
                 (`client-id`)"
            }
            Self::Unreachable(_) => {
                "see that the broker runs and that host and port are right, or leave `url` out of `[mqtt]` to use the \
                 built-in broker"
            }
            // rustls has no variant for it, and openssl makes such certificates unless told otherwise.
            Self::Tls(error) if error.to_string().contains("CaUsedAsEndEntity") => {
                "the broker shows an authority's certificate as its own; give it one that the authority has signed, or make \
                 it with `openssl req -x509 … -addext basicConstraints=critical,CA:FALSE`"
            }
            Self::Tls(error) if error.to_string().contains("CertificateRequired") => {
                "the broker asks for a certificate: name one that its authority has signed, and its key, as `cert_file` and \
                 `key_file` in `[mqtt]`"
            }
            Self::Tls(error) if error.to_string().contains("received fatal alert") => {
                "the broker does not accept Roost's certificate: see that an authority that the broker trusts has signed \
                 `cert_file`, and that it is valid today"
            }
            Self::Tls(_) => {
                "see that the broker speaks TLS at this port; the certificate must be valid for the host in `url`; where it is not signed by a public authority, \
                 name the authority's certificate as `ca_file` in `[mqtt]`"
            }
            Self::Malformed(_) | Self::NoAnswer { .. } if !tls => {
                "see that a broker without TLS listens at this port; with TLS the address starts with `mqtts://`"
            }
            Self::Disconnected(reason) if reason.code == TAKEN_OVER => {
                "two hosts must not use copies of one data folder: the client id is kept in it"
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio_rustls::rustls::{CertificateError, Error, OtherError};

    use super::*;

    #[test]
    fn a_broker_with_an_authority_for_a_certificate_is_told_apart() {
        let hint = |why: CertificateError| {
            let failure = Failure::Tls(io::Error::other(Error::InvalidCertificate(why)));
            failure.hint(true).map(|hint| hint.contains("CA:FALSE"))
        };
        let other = std::sync::Arc::new(io::Error::other("CaUsedAsEndEntity"));
        assert_eq!(hint(CertificateError::Other(OtherError(other))), Some(true));
        assert_eq!(hint(CertificateError::UnknownIssuer), Some(false));
    }
}
