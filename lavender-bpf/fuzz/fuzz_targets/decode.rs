//! Records from the kernel's rings: no bytes panic the decoder or the assembler.
#![no_main]

use lavender_bpf::assemble::{Assembler, BatchInput};
use lavender_bpf::host::NoHost;
use lavender_core::{AgentId, BootId, BootTime, Origin, TenantId};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let boot = BootId::from_u128(1);
    let Ok(agent) = AgentId::new("fuzz") else { return };
    let origin = Origin::new(&TenantId::default(), &agent, boot);
    let mut assembler = Assembler::new(boot, NoHost);
    // The same bytes as a snapshot and as what the rings held, in two batches: records meet their own past.
    for (round, last) in [(1, false), (2, true)] {
        let at = BootTime::from_nanos(round * 1_000_000_000);
        let input = BatchInput {
            drained_at: at,
            snapshot: Some((at, bytes)),
            records: bytes,
            last,
            ..BatchInput::default()
        };
        let batch = assembler.assemble(input, |_| (origin, 1));
        assert!(batch.events.is_sorted_by_key(|event| event.boot_time));
    }
});
