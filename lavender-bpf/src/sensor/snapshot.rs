//! The processes that run already.

use std::io::Read;

use libbpf_rs::{Iter, IterOpts};

use super::SensorError;
use super::object::Loaded;
use crate::support::Probe;

/// The records of all processes, one after the other; `None` where the kernel has no iterator for tasks.
///
/// Costs some microseconds a process.
pub(super) fn read(loaded: &Loaded) -> Result<Option<Vec<u8>>, SensorError> {
    if !loaded.probes.contains(&Probe::Snapshot) {
        return Ok(None);
    }
    let failed = |source: std::io::Error| SensorError::Read { what: "the snapshot", source };
    let Some(program) = loaded.object.progs_mut().find(|program| program.name() == "snapshot")
    else {
        return Ok(None);
    };
    let link = program
        .attach_iter_with_opts(IterOpts::None)
        .map_err(|error| failed(std::io::Error::other(error)))?;
    let mut iterator = Iter::new(&link).map_err(|error| failed(std::io::Error::other(error)))?;
    let mut records = Vec::new();
    iterator.read_to_end(&mut records).map_err(failed)?;
    Ok(Some(records))
}
