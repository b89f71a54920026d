//! Reading the rings.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use libbpf_rs::{MapCore as _, MapFlags, MapHandle, RingBuffer, RingBufferBuilder};
use rustix::event::{Timespec, epoll};

use super::object::{Loaded, RINGS};

/// The most bytes that are taken from each ring at once: bounds the memory of a batch.
const DRAIN_MAX_BYTES: usize = 4 << 20;

/// What a callback returns to have no more records after this one. libbpf passes it on.
const ENOUGH: i32 = -105; // ENOBUFS

/// Where records are copied to. Copied, so that the ring has room again before events are made of them.
#[derive(Debug, Default)]
struct Arena {
    bytes: Vec<u8>,
    records: u64,
    /// Bytes at which to stop.
    stop_at: usize,
}

/// The rings, as their one reader has them.
#[derive(Debug)]
pub(super) struct Rings {
    /// Files, network, process life: the order in which they are read. What a record of an earlier ring rests
    /// on (an exec, before that process's opens) is then in the later one.
    rings: Vec<RingBuffer<'static>>,
    arena: Rc<RefCell<Arena>>,
    epoll: OwnedFd,
    /// Whether the next record is to wake the reader.
    wake: MapHandle,
    /// A ring had more than was taken.
    more: bool,
    /// Keeps the descriptors that `epoll` watches.
    _maps: Vec<MapHandle>,
}

impl Rings {
    pub(super) fn new(loaded: &Loaded) -> Result<Self, libbpf_rs::Error> {
        let arena = Rc::new(RefCell::new(Arena::default()));
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io::Error::from)?;
        let mut rings = Vec::new();
        let mut maps = Vec::new();
        for name in RINGS.iter().rev() {
            let map = loaded.map(name)?;
            // Edge-triggered: wakes when a probe asks for it, not as long as there is a byte.
            let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
            epoll::add(&epoll, map.as_fd(), epoll::EventData::new_u64(0), flags)
                .map_err(io::Error::from)?;
            let arena = Rc::clone(&arena);
            let mut builder = RingBufferBuilder::new();
            builder.add(&map, move |record| take(&arena, record))?;
            rings.push(builder.build()?);
            maps.push(map);
        }
        let wake = loaded.map(".data.wake")?;
        Ok(Self { rings, arena, epoll, wake, more: false, _maps: maps })
    }

    /// Has the next record wake the reader, whatever else is in its ring. What came before is to be drained after
    /// this and before the wait: it woke nobody.
    pub(super) fn arm(&self) -> Result<(), libbpf_rs::Error> {
        self.wake.update(&0_u32.to_ne_bytes(), &1_u32.to_ne_bytes(), MapFlags::ANY)
    }

    /// Waits until a probe asks to be read, at the most for `timeout`. Returns at once when the last drain
    /// left something.
    pub(super) fn wait(&self, timeout: Duration) -> io::Result<()> {
        if self.more {
            return Ok(());
        }
        let timeout = Timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        let mut events = Vec::with_capacity(RINGS.len());
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout))
        {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes what is there, appended to `into`, and returns how many records it was.
    pub(super) fn drain(&mut self, into: &mut Vec<u8>) -> io::Result<u64> {
        {
            let mut arena = self.arena.borrow_mut();
            arena.records = 0;
            arena.bytes = std::mem::take(into);
        }
        self.more = false;
        let mut result = Ok(());
        for ring in &self.rings {
            {
                let mut arena = self.arena.borrow_mut();
                arena.stop_at = arena.bytes.len() + DRAIN_MAX_BYTES;
            }
            match ring.consume_raw() {
                ENOUGH => self.more = true,
                error if error < 0 => result = Err(io::Error::from_raw_os_error(-error)),
                _ => {}
            }
        }
        let mut arena = self.arena.borrow_mut();
        *into = std::mem::take(&mut arena.bytes);
        result.map(|()| arena.records)
    }

    /// Whether the last drain left something.
    pub(super) const fn has_more(&self) -> bool {
        self.more
    }
}

fn take(arena: &RefCell<Arena>, record: &[u8]) -> i32 {
    let mut arena = arena.borrow_mut();
    arena.bytes.extend_from_slice(record);
    arena.records += 1;
    if arena.bytes.len() >= arena.stop_at { ENOUGH } else { 0 }
}
