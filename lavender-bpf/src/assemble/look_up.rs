//! Look-ups in the DNS: one event for each answer, and one for each question that is not answered in time.

use std::collections::VecDeque;
use std::sync::Arc;

use lavender_core::event::{DnsQuery, EventData, Process};
use lavender_core::{BootTime, Captured, Provenance};

use super::observe::transport;
use super::socket::peer;
use super::{Assembler, Batch};
use crate::decode::Dns;
use crate::dns::{DnsMessage, Room};
use crate::host::Host;
use crate::record::RecordHeader;

/// How long a question waits for its answer before it is told of without one. Resolvers ask again after 5 s.
const ANSWER_WAIT_NS: u64 = 3_000_000_000;
/// The most questions that wait. Beyond it the oldest is told of without its answer.
const QUESTIONS_MAX: usize = 4_096;
/// By its IP protocol number.
const TCP: u16 = 6;

/// A question without an answer so far.
#[derive(Debug)]
struct Question {
    header: RecordHeader,
    process: Arc<Process>,
    query: DnsQuery,
}

/// Questions in the order in which they were asked.
#[derive(Debug, Default)]
pub(super) struct Questions(VecDeque<Question>);

impl Questions {
    #[cfg(all(feature = "load", target_os = "linux"))]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The oldest, where it has waited long enough.
    fn is_due(&self, now: BootTime) -> bool {
        self.0.front().is_some_and(|question| {
            question.header.boot_ns.get().saturating_add(ANSWER_WAIT_NS) <= now.as_nanos()
        })
    }

    /// Takes out what an answer is to.
    fn answered(&mut self, process: &Process, answer: &DnsQuery) {
        let asked = self.0.iter().position(|question| {
            let query = &question.query;
            question.process.id() == process.id()
                && query.transaction_id == answer.transaction_id
                && query.record_type == answer.record_type
                && query.name == answer.name
        });
        if let Some(at) = asked {
            self.0.remove(at);
        }
    }
}

fn query(dns: &Dns<'_>, message: DnsMessage) -> DnsQuery {
    let cut = Provenance::Truncated { true_length: 0 };
    let provenance = if message.is_whole { Provenance::Complete } else { cut };
    DnsQuery {
        name: Captured::complete(message.name),
        record_type: message.record_type,
        response_code: message.is_answer.then_some(message.response_code),
        answers: Captured::new(message.answers, provenance),
        transaction_id: Some(message.transaction_id),
        transport: Some(transport(&dns.record.socket)),
        server: peer(&dns.record.socket),
    }
}

impl<H: Host> Assembler<H> {
    /// Whether there is something to tell of by now though no record came: [`assemble`](Self::assemble) does. `last`:
    /// nothing waits for more.
    pub fn is_due(&self, now: BootTime, last: bool) -> bool {
        self.questions_due(now, last) || self.hashes.is_due(now, last)
    }

    fn questions_due(&self, now: BootTime, last: bool) -> bool {
        self.questions.is_due(now) || last && !self.questions.0.is_empty()
    }

    /// What a message says, and whether it is an answer. `None` of one that is not of the DNS, or in the wrong direction.
    pub(super) fn read_message(
        &mut self,
        batch: &mut Batch,
        dns: &Dns<'_>,
    ) -> Option<(DnsQuery, bool)> {
        let mut room = Room { texts: &mut self.texts, answers: batch.pool.answers() };
        let record = dns.record;
        let over_tcp = transport(&record.socket).ip_protocol() == TCP;
        let message =
            if over_tcp { room.parse_stream(dns.payload) } else { room.parse(dns.payload) };
        batch.pool.keep_answers(room.answers);
        let message = message?;
        let received = record.received.get() != 0;
        (message.is_answer == received).then(|| (query(dns, message), received))
    }

    pub(super) fn look_up(
        &mut self,
        batch: &mut Batch,
        header: &RecordHeader,
        process: Arc<Process>,
        (query, is_answer): (DnsQuery, bool),
    ) {
        if is_answer {
            self.questions.answered(&process, &query);
            batch.push(header, process, EventData::DnsQuery(query));
            return;
        }
        if self.questions.0.len() >= QUESTIONS_MAX {
            self.give_up_question(batch);
        }
        self.questions.0.push_back(Question { header: *header, process, query });
    }

    /// Tells of the questions that have waited long enough.
    pub(super) fn finish_questions(&mut self, batch: &mut Batch) {
        while self.questions_due(batch.drained_at, batch.last) {
            self.give_up_question(batch);
        }
    }

    fn give_up_question(&mut self, batch: &mut Batch) {
        if let Some(Question { header, process, query }) = self.questions.0.pop_front() {
            batch.push(&header, process, EventData::DnsQuery(query));
        }
    }
}
