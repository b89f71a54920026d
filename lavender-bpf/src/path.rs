//! Paths out of what the kernel gives: names from the leaf up, or a folder and a name.

/// The absolute path of a walk: names from the leaf up, each ended by a NUL. The root itself has none.
pub(crate) fn from_walk(walk: &[u8]) -> Vec<u8> {
    // Exactly: a vector with room to spare costs another allocation when it is shared.
    let mut path = Vec::with_capacity(walk.len().max(1));
    push_walk(&mut path, walk);
    if path.is_empty() {
        path.push(b'/');
    }
    path
}

fn push_walk(path: &mut Vec<u8>, walk: &[u8]) {
    let walk = walk.strip_suffix(b"\0").unwrap_or(walk);
    if walk.is_empty() {
        return;
    }
    for name in walk.rsplit(|byte| *byte == 0) {
        path.push(b'/');
        path.extend_from_slice(name);
    }
}

/// A name as a call gave it, made absolute below a folder, with `.`, `..` and doubled slashes folded. `..`
/// does not lead out of the first `floor` bytes: the root of the process.
pub(crate) fn join(folder_walk: &[u8], name: &[u8], below_folder: bool) -> Vec<u8> {
    let mut path = Vec::with_capacity(folder_walk.len() + name.len() + 1);
    push_walk(&mut path, folder_walk);
    let floor = if below_folder { path.len() } else { 0 };
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                let up = path[floor..].iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                path.truncate(floor + up);
            }
            part => {
                path.push(b'/');
                path.extend_from_slice(part);
            }
        }
    }
    if path.is_empty() {
        path.push(b'/');
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_is_turned_round() {
        assert_eq!(from_walk(b"shadow\0etc\0"), b"/etc/shadow");
        assert_eq!(from_walk(b""), b"/");
        assert_eq!(from_walk(b"memfd:x\0"), b"/memfd:x");
    }

    #[test]
    fn a_relative_name_is_made_absolute_and_folded() {
        assert_eq!(join(b"b\0a\0", b"../c//./d", false), b"/a/c/d");
        assert_eq!(join(b"", b"/etc/../etc/shadow", false), b"/etc/shadow");
        assert_eq!(join(b"a\0", b"../../../..", false), b"/");
        assert_eq!(join(b"a\0", b"", false), b"/a");
    }

    #[test]
    fn nothing_leads_out_of_a_root() {
        assert_eq!(join(b"jail\0", b"/../../etc", true), b"/jail/etc");
        assert_eq!(join(b"jail\0", b"../..", true), b"/jail");
    }
}
