//! Options from a URL.

use lavender_core::{Error, ErrorKind, Result};

use super::{Credentials, JetStreamOptions, Setup};

impl JetStreamOptions {
    /// Options from `nats://host:port[,host:port…][?name=value&…]`; `tls://` refuses to talk in the clear.
    ///
    /// | name | |
    /// |---|---|
    /// | `nkey`, `creds` | the file with the seed of an nkey, or a credentials file |
    /// | `ca`, `cert`, `key` | PEM files: authorities for the server; the client's certificate and its key |
    /// | `inbox` | what the subjects begin with on which answers come |
    /// | `name` | the name by which servers show the client |
    /// | `setup` | `create`, `check` or `skip` |
    /// | `replicas` | how many servers keep each stream |
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) with the part that cannot be read. User names and passwords are refused:
    /// a URL ends up in logs and process lists.
    pub fn from_url(url: &str) -> Result<Self> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let encrypted = match scheme {
            "nats" => false,
            "tls" => true,
            // The rest is not shown: it may hold what was meant as a secret.
            other => return Err(refused(format!("`{other}` is not `nats` or `tls`"))),
        };
        let (hosts, query) = rest.split_once('?').unwrap_or((rest, ""));
        if hosts.contains('@') {
            return Err(refused(
                "credentials do not belong into a URL; name a file with `nkey=` or `creds=`",
            ));
        }
        let hosts = hosts.trim_end_matches('/');
        let servers = hosts.split(',').map(server).collect::<Result<Vec<_>>>()?;
        let mut options = Self::new(servers);
        options.tls.required = encrypted;
        let (mut cert, mut key) = (None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if value.is_empty() {
                return Err(refused(format!("`{name}` has no value")));
            }
            match name {
                "nkey" => options.credentials = Credentials::Nkey(value.into()),
                "creds" => options.credentials = Credentials::File(value.into()),
                "ca" => options.tls.ca = Some(value.into()),
                "cert" => cert = Some(value.into()),
                "key" => key = Some(value.into()),
                "inbox" => options.inbox_prefix = Some(value.into()),
                "name" => options.name = value.into(),
                "setup" => {
                    options.setup = match value {
                        "create" => Setup::Create,
                        "check" => Setup::Check,
                        "skip" => Setup::Skip,
                        other => {
                            let why = format!("`setup={other}` is not `create`, `check` or `skip`");
                            return Err(refused(why));
                        }
                    }
                }
                "replicas" => {
                    options.streams.replicas = match value.parse() {
                        Ok(replicas @ 1..=5) => replicas,
                        _ => return Err(refused(format!("`replicas={value}` is not 1 to 5"))),
                    }
                }
                other => return Err(refused(format!("`{other}` is not an option"))),
            }
        }
        options.tls.identity = match (cert, key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => return Err(refused("`cert` and `key` go together")),
        };
        Ok(options)
    }
}

fn server(host: &str) -> Result<String> {
    let fits = !host.is_empty()
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']'));
    if fits {
        Ok(format!("nats://{host}"))
    } else {
        Err(refused(format!("`{}` is not host:port", host.chars().take(80).collect::<String>())))
    }
}

fn refused(why: impl Into<String>) -> Error {
    let url = "the transport's URL (nats://host:port?name=value&…)";
    Error::new(ErrorKind::Invalid, url, why.into())
}
