//! A store's URL: where the server is, and how the connection to it is kept safe.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::error::{PostgresError, Result};

/// Where to connect, and how. Its `Debug` and `Display` say where, without user or password.
pub(super) struct Target {
    pub(super) config: Config,
    pub(super) tls: Option<TlsFiles>,
    place: String,
}

/// The files of an encrypted connection.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct TlsFiles {
    /// Whose certificates are trusted; the system's own without it.
    pub(super) root: Option<PathBuf>,
    /// The client's certificate.
    pub(super) certificate: Option<PathBuf>,
    /// The client's key.
    pub(super) key: Option<PathBuf>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Target").field(&self.place).finish()
    }
}

/// What the parameters of a URL ask for that tokio-postgres leaves to its user.
#[derive(Default)]
struct Asked {
    mode: Option<String>,
    files: TlsFiles,
}

impl Target {
    /// Reads a URL.
    pub(super) fn parse(url: &str) -> Result<Self> {
        let (rest, asked) = split(url)?;
        // What the parser says of a URL that it cannot read holds nothing of the URL but names of parameters.
        let mut config: Config = rest
            .parse()
            .map_err(|error: tokio_postgres::Error| PostgresError::Url(whole(&error)))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(PostgresError::Url("it names no host".into()));
        }
        let local = is_local(&config);
        let encrypted = match asked.mode.as_deref() {
            None => !local,
            Some("disable") if local => false,
            Some("disable") => {
                return Err(PostgresError::Url(
                    "`sslmode=disable` is for a server on this host: over a network, telemetry and password would \
                     be open to read; leave it out, and name the authority by `sslrootcert=PATH`"
                        .into(),
                ));
            }
            Some("require" | "verify-ca" | "verify-full") => true,
            Some(_) => {
                return Err(PostgresError::Url(
                    "`sslmode` is one of `verify-full`, `verify-ca`, `require` and, on one host, `disable`".into(),
                ));
            }
        };
        config.ssl_mode(if encrypted { SslMode::Require } else { SslMode::Disable });
        if config.get_application_name().is_none() {
            config.application_name("lavender");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(10));
        }
        // A host that is gone without a word is noticed in this time.
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(Duration::from_secs(30));
        }
        config.keepalives_idle(Duration::from_secs(30));
        let place = place(&config);
        Ok(Self { config, tls: encrypted.then_some(asked.files), place })
    }
}

/// The URL without the parameters that say how the connection is encrypted, and those.
fn split(url: &str) -> Result<(String, Asked)> {
    let mut asked = Asked::default();
    let Some((base, parameters)) = url.split_once('?') else {
        return Ok((url.to_owned(), asked));
    };
    let mut others = Vec::new();
    for parameter in parameters.split('&') {
        let Some((name, value)) = parameter.split_once('=') else {
            return Err(PostgresError::Url("a parameter has no value".into()));
        };
        match name {
            "sslmode" => asked.mode = Some(value.to_owned()),
            "sslrootcert" => asked.files.root = Some(path(value)?),
            "sslcert" => asked.files.certificate = Some(path(value)?),
            "sslkey" => asked.files.key = Some(path(value)?),
            _ => others.push(parameter),
        }
    }
    let separator = if others.is_empty() { "" } else { "?" };
    Ok((format!("{base}{separator}{}", others.join("&")), asked))
}

/// A path out of a URL, with what stands behind `%` put back.
fn path(value: &str) -> Result<PathBuf> {
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.ok_or_else(|| {
            PostgresError::Url("a `%` in a path stands before two hexadecimal digits".into())
        })?);
        rest = &after[2..];
    }
    let path = String::from_utf8(bytes)
        .map_err(|_| PostgresError::Url("a path in it is not UTF-8".into()))?;
    Ok(path.into())
}

fn whole(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Whether nothing leaves the host.
fn is_local(config: &Config) -> bool {
    let loopback = |name: &str| name.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    let hosts = config.get_hosts().iter().all(|host| match host {
        Host::Tcp(name) => name == "localhost" || loopback(name),
        #[cfg(unix)]
        Host::Unix(_) => true,
    });
    hosts && config.get_hostaddrs().iter().all(IpAddr::is_loopback)
}

/// The server and the database, as errors show them.
fn place(config: &Config) -> String {
    let ports = config.get_ports();
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .enumerate()
        .map(|(index, host)| {
            let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
            match host {
                Host::Tcp(name) => format!("{name}:{port}"),
                #[cfg(unix)]
                Host::Unix(path) => format!("{}:{port}", path.display()),
            }
        })
        .collect();
    format!("postgres://{}/{}", hosts.join(","), config.get_dbname().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str) -> String {
        Target::parse(url).unwrap_err().to_string()
    }

    #[test]
    fn what_leaves_the_host_is_encrypted_unless_it_is_refused() {
        for (url, encrypted) in [
            ("postgres://db.example/lavender", true),
            ("postgres://db.example/lavender?sslmode=require", true),
            ("postgres://10.0.0.1/lavender?sslmode=verify-ca", true),
            ("postgres://localhost/lavender", false),
            ("postgres://127.0.0.1/lavender?sslmode=disable", false),
            ("postgres://[::1]/lavender", false),
            ("postgres://127.0.0.1/lavender?sslmode=verify-full", true),
            ("postgres://localhost,db.example/lavender", true),
            ("postgres://%2Frun%2Fpostgresql/lavender", false),
            ("postgres://localhost/lavender?hostaddr=10.0.0.1", true),
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!(target.tls.is_some(), encrypted, "{url}");
            let expected = if encrypted { SslMode::Require } else { SslMode::Disable };
            assert_eq!(target.config.get_ssl_mode(), expected, "{url}");
        }
        for url in [
            "postgres://db.example/x?sslmode=disable",
            "postgres://localhost,db.example/x?sslmode=disable",
            "postgres://localhost/x?hostaddr=10.0.0.1&sslmode=disable",
        ] {
            assert!(refusal(url).contains("for a server on this host"), "{url}");
        }
        for mode in ["prefer", "allow", "", "verify-fulll"] {
            let text = refusal(&format!("postgres://db.example/x?sslmode={mode}"));
            assert!(text.contains("one of `verify-full`"), "{text}");
        }
    }

    #[test]
    fn files_are_named_in_the_url() {
        let url = "postgres://db.example/x?sslrootcert=%2Fetc%2Fca%20one.pem&connect_timeout=3&sslcert=/c&sslkey=/k";
        let target = Target::parse(url).unwrap();
        let files = TlsFiles {
            root: Some("/etc/ca one.pem".into()),
            certificate: Some("/c".into()),
            key: Some("/k".into()),
        };
        assert_eq!(target.tls, Some(files));
        assert_eq!(target.config.get_connect_timeout(), Some(&Duration::from_secs(3)));
        assert!(refusal("postgres://db.example/x?sslcert=%4").contains("hexadecimal"));
    }

    #[test]
    fn a_password_is_never_shown() {
        for url in [
            "postgres://ana:s3cret@db.example:5433/lavender",
            "postgres://db.example/lavender?user=ana&password=s3cret",
            "postgres://ana:s3%63ret@localhost/lavender",
        ] {
            let target = Target::parse(url).unwrap();
            for text in [target.to_string(), format!("{target:?}")] {
                assert!(!text.contains("s3cret") && text.contains("lavender"), "{text}");
            }
        }
        for url in [
            "postgres://ana:s3cret@db.example/x?sslmode=s3cret",
            "postgres://ana:s3cret@db.example:s3cret/x",
            "postgres://ana:s3cret@db.example/x?s3cret",
            "postgres://ana:s3cret@db.example/x?port=s3cret",
            "postgres://ana:%s3cret@/x",
            "postgres://ana:s3cret@",
        ] {
            assert!(!refusal(url).contains("s3cret"), "{}", refusal(url));
        }
    }
}
