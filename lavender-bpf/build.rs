//! Compiles the programs for the kernel with clang: the probes, with a skeleton whose types the Rust records are held
//! against, isolation and prevention.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "load")]
    probes::build();
}

#[cfg(feature = "load")]
mod probes {
    use std::path::{Path, PathBuf};
    use std::{env, fs, process};

    use libbpf_cargo::SkeletonBuilder;

    const SOURCES: &str = "src/bpf";

    pub(super) fn build() {
        println!("cargo::rerun-if-env-changed=CLANG");
        println!("cargo::rerun-if-env-changed=BPF_CFLAGS");
        for entry in fs::read_dir(SOURCES).into_iter().flatten().flatten() {
            println!("cargo::rerun-if-changed={}", entry.path().display());
        }
        if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
            return;
        }
        // The object is made for the target: libbpf-cargo tells clang which one that is.
        if !matches!(env::var("CARGO_CFG_TARGET_ARCH").as_deref(), Ok("x86_64" | "aarch64")) {
            fail(
                "the probes are for x86-64 and arm64; build with --no-default-features for other architectures",
            );
        }
        let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
        let clang = env::var_os("CLANG").unwrap_or_else(|| "clang".into());
        if let Err(error) = process::Command::new(&clang).arg("--version").output() {
            fail(&format!(
                "the compiler of the probes, {}, cannot be run: {error}. Install it (Debian, Ubuntu: apt-get \
                 install clang libelf-dev zlib1g-dev pkg-config make gcc libc6-dev), name another in the \
                 environment variable CLANG, or build with --no-default-features to leave the live kernel out",
                Path::new(&clang).display()
            ));
        }
        let flags = env::var("BPF_CFLAGS").unwrap_or_default();
        let builder = |name: &str| {
            let mut builder = SkeletonBuilder::new();
            builder
                .source(format!("{SOURCES}/{name}.bpf.c"))
                .obj(out.join(format!("{name}.bpf.o")))
                .clang(&clang)
                .clang_args(
                    ["-O2", "-Wall", "-Werror"].into_iter().chain(flags.split_whitespace()),
                );
            builder
        };
        let probes =
            builder("sensor").reference_obj(true).build_and_generate(out.join("sensor.skel.rs"));
        let others = || ["isolate", "prevent"].iter().try_for_each(|name| builder(name).build());
        if let Err(error) = probes.and_then(|()| others()) {
            fail(&format!("the programs for the kernel cannot be compiled: {error:#}"));
        }
    }

    fn fail(reason: &str) -> ! {
        println!("cargo::error={reason}");
        process::exit(1)
    }
}
