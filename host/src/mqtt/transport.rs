//! The transport to the broker: TCP, or TLS over TCP.

use std::{io, path::Path, sync::Arc, time::Duration};

use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

use super::{Settings, failure::Failure, identity, limits, permitted::Permitted, url::BrokerUrl};
use crate::{lease::SendPermit, report::Report};

/// The address of a broker, and the TLS configuration for it.
pub(super) struct Transport {
    url: BrokerUrl,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    permit: SendPermit,
}

/// An open connection.
pub(super) enum Stream {
    Plain(Permitted),
    Tls(Box<TlsStream<Permitted>>),
}

impl Transport {
    /// Reads the certificates if the URL uses TLS.
    ///
    /// # Errors
    /// Returns an error if a certificate cannot be used, or the URL's host cannot be verified with TLS.
    pub(super) fn new(url: &BrokerUrl, settings: &Settings) -> Result<Self, Report> {
        let url = url.clone();
        if !url.tls {
            return Ok(Self { url, tls: None, permit: settings.permit.clone() });
        }
        let what = || format!("no TLS connection to the broker `{url}` is possible");
        let host = ServerName::try_from(url.host.clone()).map_err(|error| Report::new(what()).chain(&error))?;
        let roots = trusted(settings.ca_file.as_deref()).map_err(|error| {
            let hint = "`ca_file` in `[mqtt]` must be a PEM file with a `BEGIN CERTIFICATE` line, which the user that runs Roost can \
                        read";
            Report::new(what()).cause(error).hint(hint)
        })?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Report::new(what()).chain(&error))?
            .with_root_certificates(roots);
        let config = match &settings.identity {
            None => config.with_no_client_auth(),
            Some((certificates, key)) => identity::add_client_certificate(config, certificates, key)?,
        };
        let tls = Some((TlsConnector::from(Arc::new(config)), host));
        Ok(Self { url, tls, permit: settings.permit.clone() })
    }

    pub(super) const fn url(&self) -> &BrokerUrl {
        &self.url
    }

    /// Connects to the first of the host's addresses that answers. `within` limits each try.
    async fn connect_tcp(&self, within: Duration) -> Result<TcpStream, Failure> {
        let no_answer = |what| Failure::NoAnswer { what, within };
        let found = timeout(within, lookup_host((self.url.host.as_str(), self.url.port))).await;
        let found = found.map_err(|_| no_answer("the lookup of the broker's address"))?;
        let mut failure = Failure::Unreachable(io::Error::new(io::ErrorKind::NotFound, "the host has no address"));
        for address in found.map_err(Failure::Unreachable)?.take(limits::ADDRESSES_OF_HOST) {
            match timeout(within, TcpStream::connect(address)).await {
                Ok(Ok(tcp)) => return Ok(tcp),
                Ok(Err(error)) => failure = Failure::Unreachable(error),
                Err(_) => failure = no_answer("the TCP connection"),
            }
        }
        Err(failure)
    }

    /// Opens a connection. `within` limits the address lookup, each TCP connection and the TLS handshake.
    pub(super) async fn open(&self, within: Duration) -> Result<Stream, Failure> {
        let no_answer = |what| move |_| Failure::NoAnswer { what, within };
        let tcp = self.connect_tcp(within).await?;
        // Messages must not wait until they fill a segment.
        tcp.set_nodelay(true).map_err(Failure::Unreachable)?;
        let tcp = Permitted::new(tcp, self.permit.clone());
        let Some((connector, host)) = &self.tls else { return Ok(Stream::Plain(tcp)) };
        let handshake = connector.connect(host.clone(), tcp);
        let tls = timeout(within, handshake).await.map_err(no_answer("the TLS handshake"))?;
        Ok(Stream::Tls(Box::new(tls.map_err(Failure::Tls)?)))
    }
}

/// Returns the system's certificate authorities and those in `ca_file`.
fn trusted(ca_file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    // A system may have certificates that rustls does not support. They are skipped.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        let wrong = |error: &dyn std::error::Error| format!("the certificates in `{}`: {error}", path.display());
        let pem = std::fs::read(path).map_err(|error| wrong(&error))?;
        let mut found = 0;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| wrong(&error))?;
            roots.add(certificate).map_err(|error| wrong(&error))?;
            found += 1;
        }
        if found == 0 {
            return Err(wrong(&io::Error::other("the file has no certificates in PEM format")));
        }
    }
    if roots.is_empty() {
        return Err("the system trusts no certificate authority; install `ca-certificates` or set `ca_file`".to_owned());
    }
    Ok(roots)
}
