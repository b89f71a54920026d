//! Events about what programs are.

use std::sync::Arc;

use super::sample::Sample;
use crate::event::{Event, Executable, ExecutableHash, Process, Sha256Digest, Unhashed};

impl Sample {
    /// Programs begin: of known content, and of content that is not known for every reason.
    pub fn hashed_execs(&mut self, process: &Arc<Process>) -> Vec<Arc<Event>> {
        let reasons = [
            Unhashed::Pending,
            Unhashed::TooLarge,
            Unhashed::QueueFull,
            Unhashed::Gone,
            Unhashed::Changed,
            Unhashed::Unreadable,
        ];
        let digest = Sha256Digest::from_bytes(&[0xab; 32]);
        let known = std::iter::once(ExecutableHash::Sha256(digest));
        known
            .chain(reasons.map(ExecutableHash::Missing))
            .map(|hash| {
                let path = format!("/usr/bin/{}", hash.sha256().map_or("unknown", |_| "known"));
                let child = self.child(process, &path, &["x"]);
                let executable = Executable {
                    changed_at: Some(self.now()),
                    hash: Some(hash),
                    ..child.executable.clone()
                };
                let child = Arc::new(Process { executable, ..(*child).clone() });
                self.exec(&child)
            })
            .collect()
    }
}
