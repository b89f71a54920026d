//! Measuring on a machine that others share: by the thread's own processor time, in turns, by medians.
//!
//! Events are measured in chunks, each read once before its turn: whoever evaluates an event has just made it, and it
//! is in the processor's cache. Events in memory far away would measure the memory.

use std::hint::black_box;

use rustix::time::{ClockId, clock_gettime};

/// How many events are measured between two looks at the clock, which is a system call.
const CHUNK: usize = 128;

/// The processor time that this thread has used, in nanoseconds.
pub fn thread_nanos() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Something that is done to the events, by their number.
pub struct Subject<'a> {
    /// What the table calls it.
    pub name: String,
    work: Box<dyn FnMut(usize) -> usize + 'a>,
    warm: &'a dyn Fn(usize) -> u64,
    /// How many of the events it takes a round: a slow one sees the first of them only.
    events: usize,
    rounds: Vec<f64>,
}

/// What came out for one subject.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Its name.
    pub name: String,
    /// Nanoseconds an event, the median of the rounds.
    pub median: f64,
    /// Nanoseconds an event, the least of the rounds.
    pub least: f64,
    /// Per round, in nanoseconds an event.
    pub rounds: Vec<f64>,
}

impl<'a> Subject<'a> {
    /// A subject over `events` events, of which `warm` reads one.
    pub fn new(
        name: impl Into<String>,
        events: usize,
        warm: &'a dyn Fn(usize) -> u64,
        work: impl FnMut(usize) -> usize + 'a,
    ) -> Self {
        Self { name: name.into(), work: Box::new(work), warm, events, rounds: Vec::new() }
    }

    fn round(&mut self) -> f64 {
        let (mut found, mut nanos) = (0, 0);
        for start in (0..self.events).step_by(CHUNK) {
            let chunk = start..(start + CHUNK).min(self.events);
            black_box(chunk.clone().map(self.warm).sum::<u64>());
            let started = thread_nanos();
            for number in chunk {
                found += (self.work)(black_box(number));
            }
            nanos += thread_nanos() - started;
        }
        black_box(found);
        nanos as f64 / self.events as f64
    }

    /// Warms up, and finds out how many events fit in a round of about `budget` nanoseconds.
    fn fit(&mut self, budget: u64) {
        let all = self.events;
        self.events = all.min(32);
        loop {
            let cost = self.round();
            let fitting = (budget as f64 / cost.max(1.0)) as usize;
            if self.events >= all || fitting <= self.events * 2 {
                self.events = fitting.clamp(32.min(all), all);
                return;
            }
            self.events = fitting.min(self.events * 16).min(all);
        }
    }
}

/// Runs the subjects in turns, round by round.
pub fn interleaved(mut subjects: Vec<Subject<'_>>, rounds: usize) -> Vec<Figure> {
    const ROUND_NANOS: u64 = 150_000_000;
    subjects.iter_mut().for_each(|subject| subject.fit(ROUND_NANOS));
    for _ in 0..rounds {
        for subject in &mut subjects {
            let cost = subject.round();
            subject.rounds.push(cost);
        }
    }
    let figure = |subject: Subject<'_>| Figure {
        median: median(&subject.rounds),
        least: subject.rounds.iter().copied().fold(f64::INFINITY, f64::min),
        name: subject.name,
        rounds: subject.rounds,
    };
    subjects.into_iter().map(figure).collect()
}

/// How many times as long `slow` takes as `fast`: the median of the rounds' ratios, since what disturbs a round
/// disturbs both.
pub fn ratio(slow: &Figure, fast: &Figure) -> f64 {
    let ratios: Vec<f64> = slow.rounds.iter().zip(&fast.rounds).map(|(a, b)| a / b).collect();
    median(&ratios)
}

/// The one in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
