//! Who this agent is: its id, its host's name, the boot that it runs in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use lavender_core::{AgentId, AgentIdentity, IdError};
use uuid::Uuid;

use crate::config::AgentConfig;

/// Key of the agent ids derived from machine ids; a random UUID drawn once for this purpose. A machine id
/// is not to be shown outside its machine (machine-id(5)), so the agent id is a keyed hash of it.
const MACHINE_ID_KEY: Uuid = Uuid::from_u128(0x3c66_1d0e_8a0f_4f0b_9b4e_52c8_a1f7_6d25);

/// Where a machine keeps its id.
const MACHINE_ID_FILES: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];

/// Where an agent keeps an id of its own on a machine that has none.
const OWN_ID_FILE: &str = "/var/lib/lavender/agent-id";

/// Why it is not known who this agent is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A file that tells about this host cannot be read or written.
    #[error("cannot tell who this agent is: {path}: {source}; set `agent_id` under [agent]")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds something else than an id.
    #[error("cannot tell who this agent is: {path}: {source}")]
    Id {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: IdError,
    },
}

/// Who this agent is, as configured, and for the rest as this host says.
///
/// # Errors
///
/// When no id is configured and none can be derived or kept.
pub fn identity(config: &AgentConfig) -> Result<AgentIdentity, IdentityError> {
    let agent = match &config.agent_id {
        Some(agent) => agent.clone(),
        None => host_agent_id()?,
    };
    Ok(AgentIdentity { tenant: config.tenant_id.clone(), agent, host: host_name().into() })
}

/// The id of the agent on the machine with this machine id: the same after a reinstall of the agent,
/// another on every machine.
pub fn agent_id_of_machine(machine_id: &str) -> Result<AgentId, IdError> {
    AgentId::new(&Uuid::new_v5(&MACHINE_ID_KEY, machine_id.trim().as_bytes()).to_string())
}

fn host_agent_id() -> Result<AgentId, IdentityError> {
    for path in MACHINE_ID_FILES {
        if let Some(machine_id) = fs::read_to_string(path).ok().filter(|id| is_machine_id(id)) {
            return agent_id_of_machine(&machine_id)
                .map_err(|source| IdentityError::Id { path: path.into(), source });
        }
    }
    own_agent_id(Path::new(OWN_ID_FILE))
}

/// Whether it is one: a container image has an empty one, a fresh image `uninitialized`.
fn is_machine_id(text: &str) -> bool {
    let text = text.trim();
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The id kept in a file; drawn and written there the first time.
fn own_agent_id(path: &Path) -> Result<AgentId, IdentityError> {
    let file = |source| IdentityError::File { path: path.to_owned(), source };
    let id = match fs::read_to_string(path) {
        Ok(id) => id,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = Uuid::new_v4().to_string();
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(file)?;
            }
            fs::write(path, &id).map_err(file)?;
            id
        }
        Err(error) => return Err(file(error)),
    };
    AgentId::new(id.trim()).map_err(|source| IdentityError::Id { path: path.to_owned(), source })
}

/// The name of this host, as the kernel has it.
#[cfg(unix)]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The name of this host.
#[cfg(not(unix))]
pub fn host_name() -> String {
    "localhost".to_owned()
}

/// The release of this host's kernel.
#[cfg(unix)]
pub fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_machines_are_two_agents_and_one_stays_one() {
        let first = agent_id_of_machine("0123456789abcdef0123456789abcdef\n").unwrap();
        let again = agent_id_of_machine("0123456789abcdef0123456789abcdef").unwrap();
        let other = agent_id_of_machine("fedcba9876543210fedcba9876543210").unwrap();
        assert_eq!(first, again);
        assert_ne!(first, other);
        assert!(!first.as_str().contains("0123456789abcdef"), "the machine id shows: {first}");
    }

    #[test]
    fn an_image_without_an_id_of_its_own_is_not_taken_for_a_machine() {
        for text in ["", "uninitialized\n", "0123456789abcdef"] {
            assert!(!is_machine_id(text), "{text:?}");
        }
    }

    #[test]
    fn an_id_is_drawn_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/agent-id");
        let first = own_agent_id(&path).unwrap();
        assert_eq!(own_agent_id(&path).unwrap(), first);
        let elsewhere = own_agent_id(&folder.path().join("agent-id")).unwrap();
        assert_ne!(first, elsewhere);
        fs::write(&path, "not an id").unwrap();
        assert!(own_agent_id(&path).unwrap_err().to_string().contains("not an id"));
    }
}
