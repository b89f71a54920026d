//! Paths that nothing is ever done to.

/// What a host needs to start, to let people in and to be mended: without any of it, the response would be the
/// attack. Never put into quarantine unless the options say otherwise.
pub const PROTECTED_PATHS: [&str; 25] = [
    "/bin",
    "/boot",
    "/etc/fstab",
    "/etc/group",
    "/etc/gshadow",
    "/etc/lavender",
    "/etc/ld.so.cache",
    "/etc/nsswitch.conf",
    "/etc/pam.d",
    "/etc/passwd",
    "/etc/shadow",
    "/etc/ssh",
    "/etc/sudoers",
    "/etc/systemd",
    "/lib",
    "/lib32",
    "/lib64",
    "/sbin",
    "/usr/bin",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/sbin",
    "/var/lib/lavender",
];
