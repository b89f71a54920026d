//! What came before an alert, kept and written as configured.

use std::sync::Arc;

use lavender_bpf::{EvidenceOptions, EvidenceRing, EvidenceStage};
use lavender_core::SystemClock;

use crate::config::EvidenceConfig;

/// What the sensor fills, and the stage that writes it out; `None` where it is turned off.
pub fn evidence(config: &EvidenceConfig) -> Option<(EvidenceRing, EvidenceStage)> {
    if !config.enabled {
        return None;
    }
    let ring = EvidenceRing::new(config.ring_bytes.get() as usize);
    let mut options = EvidenceOptions::new(config.dir.as_ref());
    options.min_severity = config.min_severity;
    options.file_bytes_max = config.file_bytes_max.get();
    options.files_max = config.files_max.get() as usize;
    options.max_per_minute = config.max_per_minute.get();
    let stage = EvidenceStage::new(ring.clone(), options, Arc::new(SystemClock));
    Some((ring, stage))
}
