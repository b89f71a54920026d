//! Paths out of what the kernel gives: names from the leaf up, or a folder and a name.

use bytes::{Bytes, BytesMut};

/// The absolute path of a walk: names from the leaf up, each ended by a NUL. The root itself has none. For a path that
/// is kept: it takes no more room than it needs.
pub(crate) fn from_walk(walk: &[u8]) -> Bytes {
    let mut path = BytesMut::with_capacity(walk.len().max(1));
    push_walk(&mut path, walk);
    path.freeze()
}

/// Writes the absolute path of a walk to an empty buffer. It has at the most one byte more than the walk.
pub(crate) fn push_walk(path: &mut BytesMut, walk: &[u8]) {
    push_names(path, walk);
    if path.is_empty() {
        path.extend_from_slice(b"/");
    }
}

fn push_names(path: &mut BytesMut, walk: &[u8]) {
    let walk = walk.strip_suffix(b"\0").unwrap_or(walk);
    if walk.is_empty() {
        return;
    }
    for name in walk.rsplit(|byte| *byte == 0) {
        path.extend_from_slice(b"/");
        path.extend_from_slice(name);
    }
}

/// Writes a name as a call gave it to an empty buffer, made absolute below a folder, with `.`, `..` and doubled slashes
/// folded. `..` does not lead out of the folder, the root of the process, where it is `below_folder`. It has at the most
/// as many bytes as both together and one.
pub(crate) fn push_joined(
    path: &mut BytesMut,
    folder_walk: &[u8],
    name: &[u8],
    below_folder: bool,
) {
    push_names(path, folder_walk);
    let floor = if below_folder { path.len() } else { 0 };
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                let up = path[floor..].iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                path.truncate(floor + up);
            }
            part => {
                path.extend_from_slice(b"/");
                path.extend_from_slice(part);
            }
        }
    }
    if path.is_empty() {
        path.extend_from_slice(b"/");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(folder_walk: &[u8], name: &[u8], below_folder: bool) -> Bytes {
        let mut path = BytesMut::with_capacity(folder_walk.len() + name.len() + 1);
        let room = path.capacity();
        push_joined(&mut path, folder_walk, name, below_folder);
        assert_eq!(path.capacity(), room, "it has less room than it needs");
        path.freeze()
    }

    #[test]
    fn a_walk_is_turned_round() {
        assert_eq!(from_walk(b"shadow\0etc\0"), &b"/etc/shadow"[..]);
        assert_eq!(from_walk(b""), &b"/"[..]);
        assert_eq!(from_walk(b"memfd:x\0"), &b"/memfd:x"[..]);
    }

    #[test]
    fn a_relative_name_is_made_absolute_and_folded() {
        assert_eq!(join(b"b\0a\0", b"../c//./d", false), &b"/a/c/d"[..]);
        assert_eq!(join(b"", b"/etc/../etc/shadow", false), &b"/etc/shadow"[..]);
        assert_eq!(join(b"a\0", b"../../../..", false), &b"/"[..]);
        assert_eq!(join(b"a\0", b"", false), &b"/a"[..]);
    }

    #[test]
    fn nothing_leads_out_of_a_root() {
        assert_eq!(join(b"jail\0", b"/../../etc", true), &b"/jail/etc"[..]);
        assert_eq!(join(b"jail\0", b"../..", true), &b"/jail"[..]);
    }
}
