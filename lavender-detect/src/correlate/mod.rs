//! Correlation: what detections mean together, over time.
//!
//! Correlations are Sigma's: documents beside the rules that they are about, read and compiled with them
//! ([`RuleSet::correlations`](crate::RuleSet::correlations)). They run on detections and never on raw events:
//! [`Correlator`] in one process, with state in memory; [`StoredCorrelator`] by any number of workers, with state behind
//! a [`StateStore`](lavender_core::StateStore). Both do the same steps.
//!
//! # What a correlation decides, and when
//!
//! Time is that of events. The *watermark* is the time of the newest event less the allowed lateness (2 s): what is
//! before it is final, and a detection that comes later than that is counted and not correlated. Windows slide, and are
//! exact: a window ends with a detection and holds what happened up to a `timespan` before it, that moment included.
//!
//! | what | decided |
//! |---|---|
//! | `event_count`, `value_count` with `gt`, `gte`; `temporal` without `not`; `temporal_ordered` | at once: one more detection can only make it true |
//! | `value_sum`, `value_avg`, `value_percentile`, `value_median` with `gt`, `gte`; anything with `until` or `missing`; what other correlations rest on; what says `risk` and is not of one process tree by its group | when the watermark has passed the detection that completes it: the lateness later |
//! | `lt`, `lte`, `eq`, `neq`, ranges; `temporal` with `not` | when the window is over. The first detection that is in no window opens one, and it closes when the watermark has passed its end |
//!
//! A correlation that rests on others gets what they found as soon as they have decided, each time that their condition
//! holds, not only when they raise an alert. Its own watermark is behind by the lateness for each that is below it.
//!
//! # One alert for one cause
//!
//! Alerts come out the same in whatever order detections come (within the lateness), however often, and whoever takes
//! them. That needs an id which nothing that comes late can change, although an alert that is raised at once cannot be
//! taken back. Two facts make one:
//!
//! - What decides at once is *monotone*: a detection with which a window fulfils the condition does so whatever else
//!   comes. The set of those detections only grows, and it grows to the same in every order.
//! - Time is cut into cells as long as the `timespan`, from multiples of it on, and a cell has one alert for each group:
//!   when a window that *ends* in it fulfils the condition. The cell is the *anchor*, and an alert's id is the digest of
//!   rule, group and anchor. Windows know nothing of cells: nothing is missed at the edge of one.
//!
//! So something that goes on raises an alert once per `timespan`, and something that happens to go on over the edge of a
//! cell raises two. No rule that decides at once and goes by the events themselves could do better: were `{a, b}` enough,
//! and `c` came late but before them, `a` and `b` have raised an alert, and `c` and `a` would have, had they come first; if
//! both are the same, so is the next pair, without end. What is decided when a window is over has the time of the
//! detection that opened it as its anchor, since that is final then.
//!
//! The events that an alert names, and the number that it measured, are those that were known when it was raised; late
//! ones add to them, and not to its id.
//!
//! # State
//!
//! The state of a group is known by 128 bits: a digest of all that the correlation says and of the group's values. In one
//! process it is found by the values, under a seed of that process: whoever chooses values cannot make them slow to find.
//! It holds no more than what decides, in the order of what the condition asks for, and not of the rate or the length of
//! the window: for `event_count` of 5, at most some 20 times of detections. Only windows that are over when they are
//! decided, and numbers, grow with what is in them; they are bounded, and what does not fit is counted
//! ([`CorrelationCounters::overflowed`]). A field that is grouped by and is not there puts a detection into no group,
//! and is counted; a list puts it into the group of each element.
//!
//! # Lineage
//!
//! `ProcessGuid`, `ParentProcessGuid` and `ProcessTreeGuid` are fields to group by. `descendants_of` makes the group of
//! each process in which one rule matched, together with what the other rules find in that process and in its
//! descendants.
//!
//! # Beyond the specification
//!
//! ```yaml
//! title: Credentials read, and nothing of it written to the backup
//! correlation:
//!     type: temporal_ordered
//!     rules: [credential_read, backup_written, outbound_connection]
//!     timespan: 1m
//! lavender:
//!     # This one must not come in between: before the first, between two, or after the last within the span.
//!     missing: [backup_written]
//!     # What clears whatever has gathered in the group.
//!     until: [process_exit]
//!     # By process of the first rule, with all of its descendants.
//!     descendants_of: credential_read
//!     # Of its rules, those that raise alerts of their own all the same; `generate: true` would be all of them.
//!     generate: [credential_read]
//! ```
//!
//! # Losses
//!
//! Tell it of every gap ([`Correlator::lost`]): an alert whose window it fell into is
//! [`incomplete`](CorrelationAlert::incomplete). So is one of a group that was begun when others had been forgotten for
//! want of room, if its window reaches back to that: it may have been among them.
//!
//! # Restarts
//!
//! A [`Correlator`] is [`Stateful`](lavender_core::Stateful): each group is a part, under `correlation/` and its 128
//! bits. Give the events since the parts were saved once more, and the alerts are those of a correlator that went on.

mod alert;
mod changes;
mod closing;
mod compile;
mod condition;
mod correlation;
mod correlator;
mod detector;
mod digest;
mod element;
mod encode;
mod engine;
mod fired;
mod groups;
mod log;
mod memory;
mod missing;
mod observe;
mod persist;
mod plan;
mod remembered;
mod resident;
mod row;
mod sequence;
mod settled;
mod shared;
mod state;
mod stored;
mod window;

pub use self::alert::{CorrelationAlert, EventStamp};
pub(crate) use self::compile::compile;
pub use self::correlation::Correlation;
pub(crate) use self::correlation::Correlations;
pub use self::correlator::{CorrelationCounters, Correlator, CorrelatorOptions};
pub use self::detector::CorrelatingDetector;
pub use self::stored::{StoredCorrelator, StoredCorrelatorOptions};
pub use crate::rule::CorrelationKind;
