//! System calls by number: the twin of `src/bpf/arch_x86.h` and `src/bpf/arch_arm64.h`, held against them by a test.

use crate::support::Probe;

#[cfg(target_arch = "aarch64")]
pub(super) use self::aarch64 as calls;
#[cfg(target_arch = "x86_64")]
pub(super) use self::x86_64 as calls;

/// The calls that a probe reads, and those of the 32-bit table.
pub(super) type Calls = (&'static [usize], &'static [usize]);

/// On x86-64: `arch/x86/entry/syscalls`.
#[cfg(any(test, target_arch = "x86_64"))]
pub(super) const fn x86_64(probe: Probe) -> Calls {
    match probe {
        Probe::FileOpen => (&[2, 85, 257, 437], &[5, 8, 295, 437]),
        Probe::FileDelete => (&[84, 87, 263], &[10, 40, 301]),
        Probe::FileRename => (&[82, 264, 316], &[38, 302, 353]),
        Probe::FileLink => (&[86, 88, 265, 266], &[9, 83, 303, 304]),
        Probe::FileMode => (
            &[90, 91, 92, 93, 94, 260, 268, 452],
            &[15, 16, 94, 95, 182, 198, 207, 212, 298, 306, 452],
        ),
        Probe::NetConnect => (&[42], &[102, 362]),
        Probe::NetBind => (&[49], &[102, 361]),
        Probe::NetListen => (&[50], &[102, 363]),
        Probe::NetAccept => (&[43, 288], &[102, 364]),
        Probe::NetSend => (&[44, 46, 307], &[102, 345, 369, 370]),
        // Programs read and write connected sockets as they do files.
        Probe::DnsQuery => (
            &[0, 1, 19, 20, 44, 45, 46, 47, 299, 307],
            &[3, 4, 102, 145, 146, 337, 345, 369, 370, 371, 372, 417],
        ),
        Probe::ExecFailed => (&[59, 322], &[11, 358]),
        Probe::Ptrace => (&[101], &[26]),
        Probe::ProcessVmWrite => (&[311], &[348]),
        Probe::MemfdCreate => (&[319, 447], &[356, 447]),
        Probe::ModuleLoad => (&[175, 313], &[128, 350]),
        Probe::CredChange => (
            &[105, 106, 113, 114, 117, 119, 122, 123, 126],
            &[23, 46, 70, 71, 138, 139, 164, 170, 185, 203, 204, 208, 210, 213, 214, 215, 216],
        ),
        Probe::Bpf => (&[321], &[357]),
        Probe::Mount => {
            (&[155, 165, 166, 428, 429, 432, 442, 467], &[21, 22, 52, 217, 428, 429, 432, 442, 467])
        }
        Probe::NsChange => (&[56, 272, 308, 435], &[120, 310, 346, 435]),
        Probe::MemoryProtect => (&[9, 10, 30, 329], &[90, 117, 125, 192, 380, 397]),
        Probe::ProcessFork
        | Probe::ProcessExec
        | Probe::ProcessExit
        | Probe::Signal
        | Probe::IoUring
        | Probe::Snapshot => (&[], &[]),
    }
}

/// On arm64: `include/uapi/asm-generic/unistd.h`, and `arch/arm/tools/syscall.tbl`.
#[cfg(any(test, target_arch = "aarch64"))]
pub(super) const fn aarch64(probe: Probe) -> Calls {
    match probe {
        Probe::FileOpen => (&[56, 437], &[5, 8, 322, 437]),
        Probe::FileDelete => (&[35], &[10, 40, 328]),
        Probe::FileRename => (&[38, 276], &[38, 329, 382]),
        Probe::FileLink => (&[36, 37], &[9, 83, 330, 331]),
        Probe::FileMode => {
            (&[52, 53, 54, 55, 452], &[15, 16, 94, 95, 182, 198, 207, 212, 325, 333, 452])
        }
        Probe::NetConnect => (&[203], &[283]),
        Probe::NetBind => (&[200], &[282]),
        Probe::NetListen => (&[201], &[284]),
        Probe::NetAccept => (&[202, 242], &[285, 366]),
        Probe::NetSend => (&[206, 211, 269], &[289, 290, 296, 374]),
        Probe::DnsQuery => (
            &[63, 64, 65, 66, 206, 207, 211, 212, 243, 269],
            &[3, 4, 145, 146, 289, 290, 291, 292, 296, 297, 365, 374, 417],
        ),
        Probe::ExecFailed => (&[221, 281], &[11, 387]),
        Probe::Ptrace => (&[117], &[26]),
        Probe::ProcessVmWrite => (&[271], &[377]),
        Probe::MemfdCreate => (&[279, 447], &[385]),
        Probe::ModuleLoad => (&[105, 273], &[128, 379]),
        Probe::CredChange => (
            &[91, 143, 144, 145, 146, 147, 149, 151, 152],
            &[23, 46, 70, 71, 138, 139, 164, 170, 185, 203, 204, 208, 210, 213, 214, 215, 216],
        ),
        Probe::Bpf => (&[280], &[386]),
        Probe::Mount => {
            (&[39, 40, 41, 428, 429, 432, 442, 467], &[21, 52, 218, 428, 429, 432, 442, 467])
        }
        Probe::NsChange => (&[97, 220, 268, 435], &[120, 337, 375, 435]),
        Probe::MemoryProtect => (&[196, 222, 226, 288], &[125, 192, 305, 394]),
        Probe::ProcessFork
        | Probe::ProcessExec
        | Probe::ProcessExit
        | Probe::Signal
        | Probe::IoUring
        | Probe::Snapshot => (&[], &[]),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The numbers that a header defines with this prefix.
    fn defined(header: &str, prefix: &str) -> BTreeSet<usize> {
        let lines = header.lines().filter_map(|line| line.strip_prefix("#define "));
        let numbers = lines.filter_map(|line| line.strip_prefix(prefix)?.split_once(' '));
        numbers.filter_map(|(_, number)| number.parse().ok()).collect()
    }

    fn agrees(header: &str, calls: impl Fn(Probe) -> Calls) {
        let all = |table: fn(Calls) -> &'static [usize]| {
            Probe::ALL.iter().flat_map(|probe| table(calls(*probe))).copied().collect()
        };
        assert_eq!(defined(header, "NR_"), all(|(native, _)| native));
        assert_eq!(defined(header, "NR32_"), all(|(_, compat)| compat));
    }

    #[test]
    fn what_is_wanted_is_what_the_probes_read() {
        agrees(include_str!("../bpf/arch_x86.h"), x86_64);
        agrees(include_str!("../bpf/arch_arm64.h"), aarch64);
    }

    /// A number in another header would be taken for a call of every machine.
    #[test]
    fn no_other_header_names_a_number() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/bpf");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with("arch") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for (number, line) in (1..).zip(text.lines()) {
                let line = line.trim_start();
                let case = line.strip_prefix("case ").and_then(|rest| rest.chars().next());
                let names =
                    line.starts_with("#define NR") || case.is_some_and(|c| c.is_ascii_digit());
                assert!(!names, "{name}:{number}: {line}: put it into arch_x86.h and arch_arm64.h");
            }
        }
    }
}
