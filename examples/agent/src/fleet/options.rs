//! What the connection to the broker is told, from the configuration.

use std::path::Path;

use lavender_core::AgentIdentity;
use lavender_transport::nats::{Credentials, JetStreamOptions, Setup};

use crate::config::{TransportConfig, TransportUrl};
use crate::exit::{Exit, Failure};

/// A spool that is smaller holds no batch of telemetry beside what is delivered.
const SPOOL_BYTES_MIN: u64 = 1 << 20;

impl TransportConfig {
    /// Checks what can be checked without the broker.
    ///
    /// # Errors
    ///
    /// [`Exit::Configuration`].
    pub fn check(&self) -> Result<(), Failure> {
        let TransportUrl::Broker(url) = &self.url else { return Ok(()) };
        from_config(self, url).map(|_| ())
    }
}

pub(super) fn options(
    config: &TransportConfig,
    url: &str,
    identity: &AgentIdentity,
) -> Result<JetStreamOptions, Failure> {
    let mut options = from_config(config, url)?;
    let AgentIdentity { tenant, agent, .. } = identity;
    options.name = format!("lavender-agent {tenant}/{agent}");
    // Of its own, so that the broker can keep one agent from hearing what another is answered.
    options.inbox_prefix.get_or_insert_with(|| format!("_INBOX.{tenant}.{agent}"));
    for secret in secrets(&options) {
        check_secret(secret)?;
    }
    let certificate = options.tls.identity.as_ref().map(|(certificate, _)| certificate);
    for file in options.tls.ca.iter().chain(certificate) {
        std::fs::File::open(file).map_err(|error| unreadable(file, &error))?;
    }
    Ok(options)
}

fn from_config(config: &TransportConfig, url: &str) -> Result<JetStreamOptions, Failure> {
    let wrong = |why: &str| Failure::new(Exit::Configuration, format!("[transport]: {why}"));
    let mut options = JetStreamOptions::from_url(url)
        .map_err(|error| Failure::new(Exit::Configuration, error))?;
    // An agent may publish on its own subjects and do no more.
    options.setup = Setup::Skip;
    if config.spool_bytes_max < SPOOL_BYTES_MIN {
        return Err(wrong("`spool_bytes_max` is less than 1048576"));
    }
    if let Some(ca) = &config.ca_file {
        options.tls.ca = Some(ca.clone());
    }
    match (&config.certificate_file, &config.key_file) {
        (Some(certificate), Some(key)) => {
            options.tls.identity = Some((certificate.clone(), key.clone()));
        }
        (None, None) => {}
        _ => return Err(wrong("`certificate_file` and `key_file` go together")),
    }
    if let Some(nkey) = &config.nkey_file {
        options.credentials = Credentials::Nkey(nkey.clone());
    }
    if let Some(prefix) = &config.inbox_prefix {
        let token = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        if prefix.is_empty() || !prefix.bytes().all(token) {
            return Err(wrong("`inbox_prefix` is not of a-z A-Z 0-9 _ - ."));
        }
        options.inbox_prefix = Some(prefix.clone());
    }
    Ok(options)
}

/// The files that hold secrets.
fn secrets(options: &JetStreamOptions) -> Vec<&Path> {
    let mut secrets: Vec<&Path> = Vec::new();
    if let Credentials::Nkey(path) | Credentials::File(path) = &options.credentials {
        secrets.push(path);
    }
    secrets.extend(options.tls.identity.as_ref().map(|(_, key)| key.as_path()));
    secrets
}

/// A secret that everybody on the host may read is none.
#[cfg(unix)]
fn check_secret(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::MetadataExt as _;

    let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if metadata.mode() & 0o007 == 0 {
        return Ok(());
    }
    let why = format!("{}: anybody on this host may use this secret (chmod o= it)", path.display());
    Err(Failure::new(Exit::Configuration, why))
}

#[cfg(not(unix))]
fn check_secret(path: &Path) -> Result<(), Failure> {
    std::fs::metadata(path).map(|_| ()).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(
        Exit::Configuration,
        format!("{}: cannot be read: {error} ([transport])", path.display()),
    )
}
