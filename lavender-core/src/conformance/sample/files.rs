//! What is done with files, and what `io_uring` is asked for.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Sample;
use crate::event::{
    Event, EventData, FileDelete, FileLink, FileMode, FileOpen, FileRename, IoUring,
    IoUringOperation, NetworkTransport, OpenFlags, Process, SyscallResult,
};
use crate::{ByteString, Captured, Provenance};

impl Sample {
    /// A file is opened.
    pub fn file_open(&mut self, process: &Arc<Process>, path: &str) -> Arc<Event> {
        let data = FileOpen {
            path: Captured::complete(path.into()),
            flags: OpenFlags(0o2000000),
            mode: 0,
            result: SyscallResult(3),
            inode: self.random(),
            device: 0xfe00_0001,
        };
        self.event(Some(process), EventData::FileOpen(data))
    }

    /// A file is removed, renamed, linked in both ways, and its mode and owner are set.
    pub fn file_changes(&mut self, process: &Arc<Process>, path: &str) -> Vec<Arc<Event>> {
        let path = || Captured::complete(ByteString::from(path));
        let odd = || {
            let bytes = ByteString::from(vec![b'/', 0xff, b'"', b'\n']);
            Captured::new(bytes, Provenance::Truncated { true_length: 0 })
        };
        let result = SyscallResult(0);
        let failed = SyscallResult(-13);
        [
            EventData::FileDelete(FileDelete { path: path(), directory: true, result: failed }),
            EventData::FileRename(FileRename {
                path: odd(),
                previous_path: path(),
                exchange: true,
                result,
            }),
            EventData::FileLink(FileLink { path: path(), target: odd(), symbolic: true, result }),
            EventData::FileLink(FileLink {
                path: Captured::unreadable(),
                target: path(),
                symbolic: false,
                result: failed,
            }),
            EventData::FileMode(FileMode {
                path: path(),
                mode: Some(0o4755),
                uid: None,
                gid: None,
                result,
            }),
            EventData::FileMode(FileMode {
                path: odd(),
                mode: None,
                uid: Some(0),
                gid: Some(u32::MAX - 1),
                result,
            }),
        ]
        .map(|data| self.event(Some(process), data))
        .into()
    }

    /// Requests of `io_uring`: an open, a removal, a connect, and one that this version has no name for.
    pub fn io_urings(&mut self, process: &Arc<Process>, path: &str) -> Vec<Arc<Event>> {
        let request = |operation| IoUring {
            operation,
            path: None,
            flags: None,
            transport: None,
            destination: None,
        };
        [
            IoUring {
                path: Some(Captured::complete(path.into())),
                flags: Some(OpenFlags(0o1101)),
                ..request(IoUringOperation::OPENAT)
            },
            IoUring { path: Some(Captured::unreadable()), ..request(IoUringOperation::UNLINKAT) },
            IoUring {
                transport: Some(NetworkTransport::Tcp),
                destination: Some(SocketAddr::from(([192, 0, 2, 7], 4_444))),
                ..request(IoUringOperation::CONNECT)
            },
            request(IoUringOperation(u8::MAX)),
        ]
        .map(|request| self.event(Some(process), EventData::IoUring(request)))
        .into()
    }
}
