//! Encrypted connections: rustls, with the server's certificate and name always checked.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::{PostgresError, Result};
use super::url::TlsFiles;

fn wrong(path: &Path, why: impl std::fmt::Display) -> PostgresError {
    PostgresError::Url(format!("{}: {why}", path.display()))
}

/// What makes connections of a configuration.
pub(super) fn connector(files: &TlsFiles) -> Result<MakeRustlsConnect> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| PostgresError::Other(error.to_string()))?
        .with_root_certificates(roots(files.root.as_deref())?);
    let config = match (&files.certificate, &files.key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(certificate), Some(key)) => {
            let own = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error))?;
            builder
                .with_client_auth_cert(certificates(certificate)?, own)
                .map_err(|error| wrong(certificate, error))?
        }
        _ => return Err(PostgresError::Url("`sslcert` and `sslkey` come together".into())),
    };
    Ok(MakeRustlsConnect::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(path, error))
}

fn roots(file: Option<&Path>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = file {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| wrong(path, error))?;
        }
        if roots.is_empty() {
            return Err(wrong(path, "there is no certificate in it"));
        }
        return Ok(roots);
    }
    // The system's store has odd ones at times; those are passed over.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(PostgresError::Url(
            "this system has no trusted certificates: name the server's authority by `sslrootcert=PATH`".into(),
        ));
    }
    Ok(roots)
}
