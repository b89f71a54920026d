//! The programs for the kernel on every machine that they are for: they compile, and their records are the same.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use libbpf_rs::btf::types::{MemberAttr, Struct};
use libbpf_rs::btf::{Btf, HasSize as _};
use libbpf_rs::libbpf_sys::API_HEADERS;

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bpf")
}

/// Compiles a file for a machine as build.rs does, and returns the object.
fn compile(folder: &Path, name: &str, machine: &str) -> PathBuf {
    let object = folder.join(format!("{name}.{machine}.o"));
    let clang = env::var_os("CLANG").unwrap_or_else(|| "clang".into());
    let output = Command::new(clang)
        .args(["-g", "-O2", "-Wall", "-Werror", "-target", "bpf", "-c"])
        .arg(format!("-D__TARGET_ARCH_{machine}"))
        .arg("-I")
        .arg(folder)
        .arg(sources().join(format!("{name}.bpf.c")))
        .arg("-o")
        .arg(&object)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} for {machine}:\n{stderr}");
    object
}

/// The headers of libbpf, where clang finds them.
fn headers(folder: &Path) {
    fs::create_dir(folder.join("bpf")).unwrap();
    for (name, text) in API_HEADERS {
        fs::write(folder.join("bpf").join(name), text).unwrap();
    }
}

/// The structures that src/bpf/record.h defines.
fn names() -> Vec<String> {
    let text = fs::read_to_string(sources().join("record.h")).unwrap();
    let names = text.lines().filter_map(|line| line.strip_prefix("struct ")?.strip_suffix(" {"));
    names.map(str::to_owned).collect()
}

/// Of each structure, its size, and where its fields are, in bits.
fn layouts(object: &Path) -> BTreeMap<String, (usize, Vec<(String, u32)>)> {
    let btf = Btf::from_path(object).unwrap();
    let layout = |name: String| {
        let kind: Struct<'_> = btf.type_by_name(&name).unwrap_or_else(|| panic!("no {name}"));
        let fields = kind.iter().map(|member| {
            let offset = match member.attr {
                MemberAttr::Normal { offset } | MemberAttr::BitField { offset, .. } => offset,
            };
            (member.name.unwrap().to_string_lossy().into_owned(), offset)
        });
        let layout = (kind.size(), fields.collect());
        (name, layout)
    };
    names().into_iter().map(layout).collect()
}

#[test]
fn the_programs_compile_for_every_machine_and_records_are_the_same_on_each() {
    let folder = tempfile::tempdir().unwrap();
    headers(folder.path());
    let machines = ["x86", "arm64"];
    let [x86, arm64] = machines.map(|machine| {
        compile(folder.path(), "isolate", machine);
        layouts(&compile(folder.path(), "sensor", machine))
    });
    assert!(x86.len() > 20, "{x86:?}");
    assert_eq!(x86["record_header"].0, 64);
    assert_eq!(x86, arm64);
}
