//! When so much is asked for that something must be wrong, nothing is done for a while.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use lavender_core::{BootTime, Clock};

/// When the circuit breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerOptions {
    /// More responses than this within `window` open it.
    pub max_responses: u32,
    /// Over which time responses are counted.
    pub window: Duration,
    /// How long it stays open; then it closes, and counting begins anew.
    pub open_for: Duration,
}

impl Default for BreakerOptions {
    /// Opens for 15 minutes at the 31st response within 5 minutes.
    fn default() -> Self {
        Self {
            max_responses: 30,
            window: Duration::from_secs(300),
            open_for: Duration::from_secs(900),
        }
    }
}

/// Counts what is asked for, whether or not the rate limit lets it pass.
#[derive(Debug)]
pub(super) struct CircuitBreaker {
    options: BreakerOptions,
    asked: VecDeque<BootTime>,
    opened: Option<BootTime>,
    clock: Arc<dyn Clock>,
}

impl CircuitBreaker {
    pub(super) fn new(options: BreakerOptions, clock: Arc<dyn Clock>) -> Self {
        Self { options, asked: VecDeque::new(), opened: None, clock }
    }

    /// For how much longer it is open; `None` when it is closed.
    pub(super) fn open_for(&self) -> Option<Duration> {
        let open = self.clock.boot_time().since(self.opened?);
        self.options.open_for.checked_sub(open).filter(|left| !left.is_zero())
    }

    /// Counts one more; for how much longer it is open, if it is, or opens with this one.
    pub(super) fn ask(&mut self) -> Option<Duration> {
        if let Some(left) = self.open_for() {
            return Some(left);
        }
        let now = self.clock.boot_time();
        if self.opened.take().is_some() {
            tracing::warn!("the circuit breaker of responses is closed again");
        }
        while self.asked.front().is_some_and(|asked| now.since(*asked) >= self.options.window) {
            self.asked.pop_front();
        }
        if self.asked.len() < self.options.max_responses as usize {
            self.asked.push_back(now);
            return None;
        }
        self.asked.clear();
        self.opened = Some(now);
        tracing::error!(
            responses = self.options.max_responses,
            window_secs = self.options.window.as_secs(),
            open_secs = self.options.open_for.as_secs(),
            "more responses than this were asked for: the circuit breaker is open, and nothing is done"
        );
        Some(self.options.open_for)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lavender_core::{ManualClock, Timestamp};

    #[test]
    fn it_opens_at_one_too_many_and_closes_by_itself() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(0)));
        let seconds = Duration::from_secs;
        let options =
            BreakerOptions { max_responses: 2, window: seconds(10), open_for: seconds(60) };
        let mut breaker = CircuitBreaker::new(options, Arc::clone(&clock) as Arc<dyn Clock>);
        assert_eq!([breaker.ask(), breaker.ask()], [None, None]);
        clock.advance(seconds(10));
        assert_eq!(
            [breaker.ask(), breaker.ask()],
            [None, None],
            "those before are out of the window"
        );
        clock.advance(seconds(9));
        assert_eq!(breaker.ask(), Some(seconds(60)));
        clock.advance(seconds(59));
        assert_eq!(breaker.ask(), Some(seconds(1)), "asking does not keep it open");
        clock.advance(seconds(1));
        assert_eq!(breaker.open_for(), None);
        assert_eq!([breaker.ask(), breaker.ask()], [None, None], "counting begins anew");
        assert_eq!(breaker.ask(), Some(seconds(60)));
    }
}
