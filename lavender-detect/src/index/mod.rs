//! The index: from the values of a record to the few rules that could match it.
//!
//! Every rule waits on a *witness*: a set of predicates of which one must hold for the rule to match. The texts
//! of all witnesses stand in one matcher per field, so that a record pays for one pass over each field that is
//! asked for, and then only for the rules whose witness was seen.

mod gate;
mod inner;
mod keywords;
mod plan;
mod prefilter;
mod program;
mod radix;
mod sampled;
mod witness;

pub(crate) use self::gate::{FieldGate, Posting};
pub(crate) use self::keywords::KeywordGate;
pub(crate) use self::plan::{ANY_VALUE, Gated, Plan};
pub(crate) use self::prefilter::is_all_plain;
pub(crate) use self::program::{FAIL, Instruction, MATCH};
