//! Who is who: an authority, certificates, and a user of the broker for each agent, for the workers and for the control
//! plane.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use lavender_core::{AgentId, TenantId};
use lavender_transport::nats::{
    command_permissions, control_plane_permissions, ruleset_permissions,
};
use nkeys::KeyPair;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair as CertificateKey};

use crate::error::{FleetError, Result};

/// The tenant of the fleet.
pub const TENANT: &str = "acme";
/// The agents that have a user.
pub const AGENTS: [&str; 2] = ["web-1", "web-2"];
/// The user of the control plane.
pub const CONTROL_PLANE: &str = "control-plane";

/// The files that make the site.
#[derive(Clone, Debug)]
pub struct Site {
    directory: PathBuf,
    /// What the broker's configuration says of encryption and of users.
    pub configuration: String,
}

/// What the subjects begin with on which a user that is no agent's is answered.
fn inbox(user: &str) -> String {
    format!("_INBOX.{user}")
}

fn invalid(error: impl std::fmt::Display) -> FleetError {
    FleetError::Missing(format!("certificates and keys cannot be made: {error}"))
}

impl Site {
    /// Makes everything anew in a directory, with a user for each of these agents.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn make(directory: &Path, agents: &[impl AsRef<str>]) -> Result<Self> {
        let mut site = Self { directory: directory.to_owned(), configuration: String::new() };
        let mut params = CertificateParams::new(Vec::new()).map_err(invalid)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = CertificateKey::generate().map_err(invalid)?;
        let authority = params.self_signed(&authority_key).map_err(invalid)?;
        site.write("ca.pem", &authority.pem())?;
        let issuer = Issuer::new(params, authority_key);
        for name in ["server", "client"] {
            let key = CertificateKey::generate().map_err(invalid)?;
            let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
            let params = CertificateParams::new(names).map_err(invalid)?;
            let certificate = params.signed_by(&key, &issuer).map_err(invalid)?;
            site.write(&format!("{name}.pem"), &certificate.pem())?;
            site.write(&format!("{name}.key"), &key.serialize_pem())?;
        }
        let mut users = site.user("worker", "")?;
        let tenant = TenantId::new(TENANT).map_err(invalid)?;
        let publish = control_plane_permissions(std::slice::from_ref(&tenant));
        let may = format!(
            "permissions {{ publish: {publish:?}, subscribe: [\"{}.>\"] }}",
            inbox(CONTROL_PLANE)
        );
        users.push_str(&site.user(CONTROL_PLANE, &may)?);
        for agent in agents {
            let agent = agent.as_ref();
            let id = AgentId::new(agent).map_err(invalid)?;
            let more: Vec<String> = command_permissions(&tenant, &id)
                .into_iter()
                .chain(ruleset_permissions(&tenant))
                .map(|subject| format!("{subject:?}"))
                .collect();
            let may = format!(
                "permissions {{ publish: [\"telemetry.raw.{TENANT}.{agent}\", \"alerts.{TENANT}.{agent}\", \
                 \"heartbeat.{TENANT}.{agent}\", {}], subscribe: [\"_INBOX.{TENANT}.{agent}.>\"] }}",
                more.join(", ")
            );
            users.push_str(&site.user(agent, &may)?);
        }
        site.configuration = format!(
            "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}\nauthorization {{ users: [\n{users}] }}\n",
            site.file("server.pem"),
            site.file("server.key"),
            site.file("ca.pem")
        );
        Ok(site)
    }

    fn user(&self, name: &str, permissions: &str) -> Result<String> {
        let pair = KeyPair::new_user();
        let seed = pair.seed().map_err(invalid)?;
        self.write(&format!("{name}.nk"), &format!("{seed}\n"))?;
        Ok(format!("{{ nkey: {}, {permissions} }}\n", pair.public_key()))
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.file(name);
        let failed = || FleetError::io(format!("writing {}", path.display()));
        fs::write(&path, text).map_err(failed())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed())
    }

    /// The path of one of its files.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The broker's URL for a user, without a secret in it.
    pub fn url(&self, port: u16, user: &str) -> String {
        self.url_of(&[port], user)
    }

    /// The broker's URL for the control plane, which is answered on an inbox of its own.
    pub fn control_plane_url(&self, port: u16) -> String {
        format!("{}&inbox={}", self.url(port, CONTROL_PLANE), inbox(CONTROL_PLANE))
    }

    /// The same of a broker of several servers.
    pub fn url_of(&self, ports: &[u16], user: &str) -> String {
        let file = |name: &str| self.file(name).display().to_string();
        let hosts: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!(
            "tls://{}?ca={}&cert={}&key={}&nkey={}",
            hosts.join(","),
            file("ca.pem"),
            file("client.pem"),
            file("client.key"),
            file(&format!("{user}.nk"))
        )
    }
}
