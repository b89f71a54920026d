//! Commands of a control plane, carried out on this host.

mod actions;
mod executor;
mod inspect;
mod journal;

pub use self::actions::ReloadRules;
pub use self::executor::HostExecutor;
pub use self::journal::{CommandJournal, JournalError};
