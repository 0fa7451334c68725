//! The client certificate, for brokers that require one.

use std::{fs, path::Path};

use tokio_rustls::rustls::{
    ClientConfig, ConfigBuilder, Error, InconsistentKeys,
    client::WantsClientCert,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{Error as PemError, PemObject},
    },
};

use crate::report::Report;

/// Adds a client certificate and its key to a TLS configuration.
///
/// # Errors
/// Returns an error if a file cannot be read or does not contain the expected data, or if the key does not belong to
/// the certificate.
pub(super) fn add_client_certificate(
    config: ConfigBuilder<ClientConfig, WantsClientCert>,
    certificates: &Path,
    key: &Path,
) -> Result<ClientConfig, Report> {
    let chain = chain(certificates)?;
    let private = private_key(key)?;
    config.with_client_auth_cert(chain, private).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            let what = format!(
                "the key in `{}` does not belong to the certificate in `{}`",
                key.display(),
                certificates.display()
            );
            Report::new(what).hint(
                "`cert_file` and `key_file` in `[mqtt]` must belong together; if `cert_file` has several \
                 certificates, Roost's own must be the first",
            )
        }
        error => Report::new(format!("the key in `{}` cannot be used", key.display()))
            .chain(&error)
            .hint("supported keys are RSA, ECDSA (P-256, P-384) and Ed25519"),
    })
}

fn read(path: &Path, what: &str) -> Result<Vec<u8>, Report> {
    fs::read(path).map_err(|error| {
        Report::new(format!("the {what} file `{}` cannot be read", path.display())).cause(error).hint(
            "the user that runs Roost must be able to read it; a path in `roost.toml` is relative to that file's \
                 folder",
        )
    })
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Report> {
    let pem = read(path, "certificate")?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let wrong =
        |report: Report| report.hint("`cert_file` in `[mqtt]` must be a PEM file with a `BEGIN CERTIFICATE` line");
    match chain {
        Ok(chain) if chain.is_empty() => {
            Err(wrong(Report::new(format!("`{}` does not contain a certificate", path.display()))))
        }
        Ok(chain) => Ok(chain),
        Err(error) => {
            Err(wrong(Report::new(format!("the certificate in `{}` cannot be read", path.display())).cause(error)))
        }
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Report> {
    let pem = read(path, "key")?;
    let text = String::from_utf8_lossy(&pem);
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        let plain = path.with_extension("plain.pem");
        let hint = format!(
            "Roost starts unattended and cannot prompt for a password: remove it with `openssl pkey -in {} -out {}`, \
             and make the new file readable only for the user that runs Roost",
            path.display(),
            plain.display()
        );
        return Err(Report::new(format!("the key in `{}` has a password", path.display())).hint(hint));
    }
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| {
        let report = match error {
            PemError::NoItemsFound => Report::new(format!("`{}` does not contain a private key", path.display())),
            error => Report::new(format!("the private key in `{}` cannot be read", path.display())).cause(error),
        };
        report.hint("`key_file` in `[mqtt]` must be a PEM file with a `BEGIN PRIVATE KEY` line or a similar one")
    })
}
