//! Novelty: rules of which only the first sight of a value counts.
//!
//! A rule says so under its key `lavender`, which other tools pass over:
//!
//! ```yaml
//! lavender:
//!     novelty:
//!         # The values that are to be new, taken together: a pair of parent and child.
//!         fields: [ParentImage, Image]
//!         # By itself for each value of these; left out, for the host.
//!         per: [User]
//!         # How long it learns in silence; left out, it raises from the first event on.
//!         baseline: 7d
//!         # How long a value is remembered that is not seen again; left out, for good.
//!         forget: 30d
//!         # The most bytes that its values may take; left out, what `NoveltyOptions` say: 1 MiB.
//!         bytes_max: 4194304
//! ```
//!
//! The rule's condition says what is looked at, and of what matches it, the first sight of a value raises the alert;
//! repeats raise nothing. A correlation that names the rule sees the same.
//!
//! # What is new, and when
//!
//! Time is that of events. A rule's *baseline* begins with the first event after it was loaded, of whatever kind, and is
//! over so much later; what it sees by then is learned. It is kept across restarts, as is what was learned. Time is read in
//! ticks of 2^30 ns, a little more than a second.
//!
//! With `forget`, time is cut into cells of that length, from multiples of it on. A value is known when it was seen in the
//! same cell or the one before it, so it is forgotten when it was not seen for between one and two times as long.
//!
//! Events may come late by up to the *lateness* (2 s). What is no older than that before an event does not make its value
//! known, since it might as well come after it: **a sighting is new when there is none that makes its value known and is
//! older by more than the lateness**. That depends on the set of sightings alone. All that are new by it have one alert,
//! whose id is that of the rule, the value and the cell (so a value whose first sightings lie on both sides of the edge of a
//! cell raises two). The first of them to come raises it, and raises it again, by the same id, when it comes again; the
//! others raise nothing. Correlations see all of them.
//!
//! So the same alerts come out in any order within the lateness, with any duplicates, after a restart whose state is
//! older than it should be, and after a value was forgotten for lack of room: then the same alert may be raised again, by
//! the same id. An event that is later than the lateness is taken in like any other; only what it finds may then depend on
//! the order.
//!
//! A value that is not there, or was truncated or unreadable, is never new, and is not learned: it is counted
//! ([`NoveltyCounters::valueless`]). A list counts by its elements, up to 128 combinations for an event. An empty text is a
//! value. A rule whose condition could not be decided is not sighted.
//!
//! # What is kept
//!
//! Of a value, 16 bytes: 64 bits of a keyed digest (SipHash, with a key that is drawn at random and saved with the state),
//! and when it was seen. That another value has the same digest, and is not noticed for that, has a probability of n / 2^64
//! where n values are known: one in 300 million million for 57,000. It is exact otherwise, up to the bound in bytes.
//! Beyond that, what was seen first the longest ago makes room; it is counted, and from then on, for as long as what was
//! forgotten would have counted, the rule's alerts are [`incomplete`](NewValue::incomplete). So they are when events were
//! lost since the rule was first in use, or for as long as it would remember what they were about.
//!
//! A rule that is given another condition, and keeps its id, `fields`, `per` and `forget`, keeps what it learned; give it
//! another id to let it learn anew.

mod alert;
mod cells;
mod clause;
mod encode;
mod learner;
mod recent;
mod stage;
mod state;
mod values;
mod walk;

pub use self::alert::NewValue;
pub use self::clause::NoveltyClause;
pub use self::stage::{Novelty, NoveltyCounters, NoveltyOptions, NoveltyStats, Sighting};
