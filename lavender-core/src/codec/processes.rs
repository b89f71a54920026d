//! Lines of processes, and those that were read before.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::mem;
use std::sync::Arc;

use serde::Deserialize;

use super::decoder::look_up;
use super::{CodecError, read_line};
use crate::event::Process;

/// Half of the processes that are remembered: as many again are from the time before.
const GENERATION: usize = 8_192;

/// Where their text is longer than this, in bytes, these are all. One text is never longer than a batch.
const GENERATION_BYTES: usize = 8 << 20;

#[derive(Deserialize)]
struct ProcessLine {
    process: Process,
    #[serde(default)]
    parent: Option<u32>,
}

/// Processes by parent and text, in two generations: what is not asked for until a second one is full is forgotten.
///
/// Ancestors stand in every batch before who descends from them, so they are in the same generation or the one before:
/// what is remembered holds nothing else that would have to be counted.
#[derive(Debug, Default)]
pub(super) struct KnownProcesses {
    hasher: RandomState,
    recent: HashMap<u64, Known>,
    recent_bytes: usize,
    before: HashMap<u64, Known>,
}

#[derive(Debug)]
struct Known {
    text: Box<[u8]>,
    process: Arc<Process>,
}

impl Known {
    fn is(&self, text: &[u8], parent: Option<&Arc<Process>>) -> bool {
        let own = self.process.parent.as_ref();
        own.map(Arc::as_ptr) == parent.map(Arc::as_ptr) && *self.text == *text
    }
}

impl KnownProcesses {
    fn key(&self, text: &[u8], parent: Option<&Arc<Process>>) -> u64 {
        self.hasher.hash_one((parent.map(Arc::as_ptr), text))
    }

    fn find(
        &mut self,
        key: u64,
        text: &[u8],
        parent: Option<&Arc<Process>>,
    ) -> Option<Arc<Process>> {
        if let Some(known) = self.recent.get(&key) {
            return known.is(text, parent).then(|| Arc::clone(&known.process));
        }
        let known = self.before.remove(&key).filter(|known| known.is(text, parent))?;
        let process = Arc::clone(&known.process);
        self.keep(key, known);
        Some(process)
    }

    fn remember(&mut self, key: u64, text: &[u8], process: &Arc<Process>) {
        self.keep(key, Known { text: text.into(), process: Arc::clone(process) });
    }

    fn keep(&mut self, key: u64, known: Known) {
        if self.recent.len() >= GENERATION || self.recent_bytes >= GENERATION_BYTES {
            self.before = mem::take(&mut self.recent);
            self.recent_bytes = 0;
        }
        self.recent_bytes += known.text.len();
        if let Some(replaced) = self.recent.insert(key, known) {
            self.recent_bytes -= replaced.text.len();
        }
    }
}

/// Reads a line, or finds it among those that are known.
pub(super) fn read_process(
    before: &[Arc<Process>],
    mut known: Option<&mut KnownProcesses>,
    line: usize,
    text: &[u8],
) -> Result<Arc<Process>, CodecError> {
    let parts = split(text);
    let mut key = None;
    if let (Some(known), Some((process, number))) = (known.as_deref_mut(), parts) {
        let parent = number.map(|number| look_up(before, number, line)).transpose()?;
        let hash = known.key(process, parent.as_ref());
        if let Some(process) = known.find(hash, process, parent.as_ref()) {
            return Ok(process);
        }
        key = Some(hash);
    }
    let fail = |source| CodecError::Line { line, source };
    let ProcessLine { process, parent: number } = read_line(text).map_err(fail)?;
    let parent = number.map(|number| look_up(before, number, line)).transpose()?;
    let process = Arc::new(Process { parent, ..process });
    // Bounded, so that dropping a line of processes does not run out of stack.
    if process.ancestors().nth(Process::MAX_ANCESTORS).is_some() {
        return Err(CodecError::Ancestors { line });
    }
    if let (Some(known), Some(key), Some((text, ending))) = (known, key, parts)
        && ending == number
    {
        known.remember(key, text, &process);
    }
    Ok(process)
}

/// The text of the process in a line of the form that is written here, and the number of its parent.
///
/// Of a line that can be read, `,"parent":N}` at its end is of the line itself and not in a text, which would end with a
/// quote. So where one line with this text can be read, another can that has another number at its end.
fn split(line: &[u8]) -> Option<(&[u8], Option<u32>)> {
    let rest = line.strip_prefix(b"{\"process\":{")?.strip_suffix(b"}")?;
    let process = |rest: &[u8]| &line[b"{\"process\":".len()..][..rest.len() + 1];
    if rest.ends_with(b"}") {
        return Some((process(rest), None));
    }
    let digits = rest.iter().rev().take(10).take_while(|byte| byte.is_ascii_digit()).count();
    let (rest, number) = rest.split_at(rest.len() - digits);
    let rest = rest.strip_suffix(b",\"parent\":")?;
    if number.len() > 1 && number.starts_with(b"0") {
        return None;
    }
    let number = std::str::from_utf8(number).ok()?.parse().ok()?;
    rest.ends_with(b"}").then(|| (process(rest), Some(number)))
}
