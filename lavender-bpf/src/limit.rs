//! So many a minute.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use lavender_core::{BootTime, Clock};

const WINDOW: Duration = Duration::from_secs(60);

/// At most so many in any minute.
#[derive(Debug)]
pub(crate) struct RateLimit {
    max_per_minute: u32,
    taken: VecDeque<BootTime>,
    clock: Arc<dyn Clock>,
}

impl RateLimit {
    pub(crate) const fn new(max_per_minute: u32, clock: Arc<dyn Clock>) -> Self {
        Self { max_per_minute, taken: VecDeque::new(), clock }
    }

    /// Whether there is room for one more now; if so, it is taken.
    pub(crate) fn take(&mut self) -> bool {
        let now = self.clock.boot_time();
        while self.taken.front().is_some_and(|taken| now.since(*taken) >= WINDOW) {
            self.taken.pop_front();
        }
        let room = self.taken.len() < self.max_per_minute as usize;
        if room {
            self.taken.push_back(now);
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lavender_core::{ManualClock, Timestamp};

    #[test]
    fn it_refills_after_a_minute() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(0)));
        let mut limit = RateLimit::new(2, Arc::clone(&clock) as Arc<dyn Clock>);
        assert_eq!([limit.take(), limit.take(), limit.take()], [true, true, false]);
        clock.advance(Duration::from_secs(59));
        assert!(!limit.take());
        clock.advance(Duration::from_secs(1));
        assert!(limit.take());
    }
}
