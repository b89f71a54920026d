//! Files of container runtimes from anyone: whatever the bytes are, reading them ends, and does not panic.
#![no_main]

use lavender_bpf::host::ContainerFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for file in [ContainerFile::Docker, ContainerFile::Bundle, ContainerFile::StorageList] {
        let Ok(found) = file.read(bytes, "c0ffee") else { continue };
        let texts = [found.name, found.image, found.pod_name, found.pod_namespace];
        assert!(texts.iter().flatten().all(|text| (1..=1_024).contains(&text.len())));
    }
});
