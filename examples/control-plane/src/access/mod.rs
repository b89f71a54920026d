//! Who asks, and what they may do.

mod caller;
mod gate;
mod secret;

pub use self::caller::{Admin, Analyst, Caller, Viewer};
pub use self::gate::Gate;
pub use self::secret::{AccessError, Secret, first_token, new_token};
pub(crate) use self::secret::{hex, unhex};
