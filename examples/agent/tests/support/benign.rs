//! What hosts do all day and looks a little like an attack: builds, and the installation of a package.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::write;

/// A header that perl writes with the help of a shell; sources; tests over a connection of the host with itself.
const MAKEFILE: &str = "\
all: check
config.h: configure.pl
\tperl configure.pl >config.h
%.o: %.c config.h
\t$(CC) -c -o $@ $<
greet: main.o first.o second.o
\t$(CC) -o $@ $^
check: greet
\t./greet | grep -q 'one two' && echo passed
\tperl check.pl
.PHONY: all check
";

const CONFIGURE: &str = r##"print "#define SYSTEM \"", qx(/bin/sh -c 'uname -s; id -u >/dev/null' | tr -d '\n'), "\"\n";"##;

const CHECK: &str = r#"use IO::Socket::INET;
my $server = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1") or die;
my $client = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $server->sockport) or die;
system("/bin/sh", "-c", "hostname >/dev/null; true");
"#;

/// A project in C; gives the command that builds it.
pub fn make(folder: &Path) -> String {
    write(&folder.join("Makefile"), MAKEFILE);
    write(&folder.join("configure.pl"), CONFIGURE);
    write(&folder.join("check.pl"), CHECK);
    for (name, word) in [("first", "one"), ("second", "two")] {
        let text = format!("#include <stdio.h>\nvoid {name}(void) {{ printf(\"{word} \"); }}\n");
        write(&folder.join(format!("{name}.c")), &text);
    }
    let main = "#include \"config.h\"\nvoid first(void);\nvoid second(void);\n\
                int main(void) { first(); second(); return sizeof(SYSTEM) < 2; }\n";
    write(&folder.join("main.c"), main);
    format!("make -C {}\n", folder.display())
}

/// A crate without dependencies, with a script of its own; gives the command that builds it.
pub fn cargo(folder: &Path) -> String {
    write(
        &folder.join("Cargo.toml"),
        "[package]\nname = \"greet\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n",
    );
    write(
        &folder.join("build.rs"),
        "fn main() { assert!(std::process::Command::new(\"/bin/sh\").args([\"-c\", \"uname; id\"])\
         .output().unwrap().status.success()); }\n",
    );
    write(&folder.join("src/main.rs"), "fn main() { println!(\"one two\"); }\n");
    format!("cd {0}\nCARGO_TARGET_DIR={0}/target cargo run --quiet --offline\n", folder.display())
}

/// What is asked of whoever installs it is asked by perl, as debconf does, and answered by a shell.
const AFTER_INSTALL: &str = r#"#!/bin/sh
set -e
id -u >/dev/null
uname -r >/dev/null
perl -e 'system("/bin/sh", "-c", "hostname >/dev/null; chmod 644 greet 2>/dev/null; true")'
"#;

/// A package; gives the commands that build it and install it under a root of its own.
pub fn package(folder: &Path) -> String {
    let (package, root) = (folder.join("greet"), folder.join("root"));
    write(
        &package.join("DEBIAN/control"),
        "Package: greet\nVersion: 1.0\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\n\
         Description: says nothing\n",
    );
    let script = package.join("DEBIAN/postinst");
    write(&script, AFTER_INSTALL);
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    write(&package.join("usr/share/greet/words"), "one two\n");
    write(&root.join("var/lib/dpkg/status"), "");
    for name in ["updates", "info"] {
        fs::create_dir_all(root.join("var/lib/dpkg").join(name)).unwrap();
    }
    format!(
        "cd {0}\ndpkg-deb --root-owner-group --build greet greet.deb\n\
         dpkg --root={0}/root --force-script-chrootless --force-bad-path --install greet.deb\n\
         test -e root/usr/share/greet/words\n",
        folder.display()
    )
}
