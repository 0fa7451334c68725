//! The certificate that Roost shows to a broker that asks for one.

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

/// Goes on with a certificate and its key.
///
/// # Errors
/// Where a file cannot be read, has nothing of the kind, or the two do not belong together.
pub(super) fn show(
    config: ConfigBuilder<ClientConfig, WantsClientCert>,
    certificates: &Path,
    key: &Path,
) -> Result<ClientConfig, Report> {
    let chain = chain(certificates)?;
    let private = private_key(key)?;
    config.with_client_auth_cert(chain, private).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            let what = format!("the key in `{}` is not that of the certificate in `{}`", key.display(), certificates.display());
            Report::new(what).hint(
                "`cert_file` and `key_file` in `[mqtt]` must belong together; where `cert_file` has several certificates, Roost's \
                 own is the first",
            )
        }
        error => Report::new(format!("the key in `{}` cannot be used", key.display()))
            .chain(&error)
            .hint("RSA, ECDSA (P-256, P-384) and Ed25519 can be"),
    })
}

fn read(path: &Path, what: &str) -> Result<Vec<u8>, Report> {
    fs::read(path).map_err(|error| {
        Report::new(format!("the {what} file `{}` cannot be read", path.display()))
            .cause(error)
            .hint("the user that runs Roost must be able to read it; a path in `roost.toml` counts from its folder")
    })
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Report> {
    let pem = read(path, "certificate")?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let wrong = |report: Report| report.hint("`cert_file` in `[mqtt]` is a PEM file: it has `BEGIN CERTIFICATE` in it");
    match chain {
        Ok(chain) if chain.is_empty() => {
            Err(wrong(Report::new(format!("`{}` has no certificate in it", path.display()))))
        }
        Ok(chain) => Ok(chain),
        Err(error) => {
            Err(wrong(Report::new(format!("`{}` has no certificate that can be read", path.display())).cause(error)))
        }
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Report> {
    let pem = read(path, "key")?;
    let text = String::from_utf8_lossy(&pem);
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        let plain = path.with_extension("plain.pem");
        let hint = format!(
            "Roost starts unattended and cannot ask for it: remove it with `openssl pkey -in {} -out {}`, and make that file \
             readable for the user that runs Roost alone",
            path.display(),
            plain.display()
        );
        return Err(Report::new(format!("the key in `{}` has a password", path.display())).hint(hint));
    }
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| {
        let report = match error {
            PemError::NoItemsFound => Report::new(format!("`{}` has no private key in it", path.display())),
            error => Report::new(format!("`{}` has no private key that can be read", path.display())).cause(error),
        };
        report.hint("`key_file` in `[mqtt]` is a PEM file: it has `BEGIN PRIVATE KEY`, or the like, in it")
    })
}
