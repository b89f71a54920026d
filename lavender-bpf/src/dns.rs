//! Messages of the DNS (RFC 1035), as far as events tell of them. Pure: no bytes make it panic, and what it does is
//! bounded by how many there are.
//!
//! ```
//! use lavender_bpf::dns::parse;
//!
//! let question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03org\x00\x00\x10\x00\x01";
//! let message = parse(question).ok_or("no message")?;
//! assert_eq!((message.transaction_id, message.is_answer), (0x1234, false));
//! assert_eq!(message.name, "example.org");
//! assert_eq!(message.record_type.to_string(), "TXT");
//! assert!(parse(b"GET / HTTP/1.1\r\n\r\n").is_none());
//! # Ok::<(), &str>(())
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};

use lavender_core::ByteString;
use lavender_core::event::{DnsAnswer, DnsData, DnsRecordType, DnsResponseCode};

use crate::texts::Texts;

/// The longest name, in bytes on the wire.
const NAME_MAX_BYTES: usize = 255;
/// The two bits of a label's length that say that it is a pointer to one before.
const POINTER: u8 = 0xc0;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsMessage {
    /// What question and answer have in common.
    pub transaction_id: u16,
    /// Whether it is an answer, and not a question.
    pub is_answer: bool,
    /// How the server answered; of a question, without meaning.
    pub response_code: DnsResponseCode,
    /// The name asked for: its labels joined by dots.
    pub name: ByteString,
    /// What was asked for.
    pub record_type: DnsRecordType,
    /// The records of the answer.
    pub answers: Vec<DnsAnswer>,
    /// Whether these are all of them: neither the server cut the message nor is it longer than the bytes are.
    pub is_whole: bool,
}

/// Reads a message that asks one question, or answers one. `None` for anything else: servers refuse messages with
/// several, and a message that is cut before the end of its question does not say what it is about.
pub fn parse(bytes: &[u8]) -> Option<DnsMessage> {
    Room { texts: &mut Texts::default(), answers: Vec::new() }.parse(bytes)
}

/// Reads a message that was sent or received over TCP, where its length stands before it: in the same bytes, or in
/// those before, which are not here then.
pub fn parse_stream(bytes: &[u8]) -> Option<DnsMessage> {
    Room { texts: &mut Texts::default(), answers: Vec::new() }.parse_stream(bytes)
}

/// Where what a message says is written.
pub(crate) struct Room<'t> {
    pub(crate) texts: &'t mut Texts,
    /// An empty list. A message takes it where it has answers.
    pub(crate) answers: Vec<DnsAnswer>,
}

impl Room<'_> {
    /// As [`parse`].
    pub(crate) fn parse(&mut self, bytes: &[u8]) -> Option<DnsMessage> {
        let mut reader = Reader { bytes, at: 0 };
        let (transaction_id, flags) = (reader.u16()?, reader.u16()?);
        let (questions, answer_count) = (reader.u16()?, reader.u16()?);
        let _authority_and_additional = (reader.u16()?, reader.u16()?);
        if questions != 1 {
            return None;
        }
        let name = reader.name()?;
        let record_type = DnsRecordType(reader.u16()?);
        let _class = reader.u16()?;
        let mut is_whole = flags & 0x0200 == 0;
        for _ in 0..answer_count {
            let Some(answer) = reader.answer(self.texts) else {
                is_whole = false;
                break;
            };
            self.answers.push(answer);
        }
        let has_answers = !self.answers.is_empty();
        Some(DnsMessage {
            transaction_id,
            is_answer: flags & 0x8000 != 0,
            response_code: DnsResponseCode(flags & 0xf),
            name: self.texts.copy(name.as_bytes()),
            record_type,
            answers: if has_answers { std::mem::take(&mut self.answers) } else { Vec::new() },
            is_whole,
        })
    }

    /// As [`parse_stream`].
    pub(crate) fn parse_stream(&mut self, bytes: &[u8]) -> Option<DnsMessage> {
        match bytes.split_first_chunk() {
            Some((length, message))
                if usize::from(u16::from_be_bytes(*length)) >= message.len() =>
            {
                self.parse(message).or_else(|| self.parse(bytes))
            }
            // Several: the first.
            Some((length, message)) => {
                let first = message.get(..u16::from_be_bytes(*length).into());
                self.parse(bytes).or_else(|| self.parse(first?))
            }
            None => None,
        }
    }
}

/// A name: its labels joined by dots.
struct Name {
    bytes: [u8; NAME_MAX_BYTES],
    length: usize,
}

impl Name {
    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Adds a label; `None` where the name gets too long.
    fn push(&mut self, label: &[u8]) -> Option<()> {
        let dot = usize::from(self.length > 0);
        let length = self.length + dot + label.len();
        // With the length of the first label and that of the root.
        if length + 2 > NAME_MAX_BYTES {
            return None;
        }
        let room = &mut self.bytes[self.length..length];
        room[..dot].fill(b'.');
        room[dot..].copy_from_slice(label);
        self.length = length;
        Some(())
    }
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..)?.get(..count)?;
        self.at += count;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(*self.take(2)?.first_chunk()?))
    }

    /// A name, whose end may stand elsewhere. Each pointer leads to before the one that led there, so it ends.
    fn name(&mut self) -> Option<Name> {
        let mut name = Name { bytes: [0; NAME_MAX_BYTES], length: 0 };
        let mut reader = *self;
        let mut end = None;
        let mut before = self.at;
        loop {
            let length = reader.u8()?;
            match length & POINTER {
                POINTER => {
                    let to = usize::from(length & !POINTER) << 8 | usize::from(reader.u8()?);
                    end.get_or_insert(reader.at);
                    if to >= before {
                        return None;
                    }
                    before = to;
                    reader.at = to;
                }
                0 if length == 0 => break,
                0 => name.push(reader.take(length.into())?)?,
                _ => return None,
            }
        }
        self.at = end.unwrap_or(reader.at);
        Some(name)
    }

    fn answer(&mut self, texts: &mut Texts) -> Option<DnsAnswer> {
        self.name()?;
        let record_type = DnsRecordType(self.u16()?);
        let _class_and_lifetime = self.take(6)?;
        let length = self.u16()?.into();
        let start = self.at;
        let bytes = self.take(length)?;
        let data = Self { bytes: self.bytes.get(..self.at)?, at: start }
            .data(texts, record_type, bytes)
            .unwrap_or_else(|| DnsData::Bytes(texts.copy(bytes)));
        Some(DnsAnswer { record_type, data })
    }

    /// What a record says, where it is as its type has it.
    fn data(
        mut self,
        texts: &mut Texts,
        record_type: DnsRecordType,
        bytes: &[u8],
    ) -> Option<DnsData> {
        Some(match record_type.0 {
            // A, AAAA
            1 => DnsData::Address(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
            28 => DnsData::Address(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
            // NS, CNAME, SOA, PTR, DNAME
            2 | 5 | 6 | 12 | 39 => DnsData::Name(texts.copy(self.name()?.as_bytes())),
            // MX and SRV, behind preference; priority, weight and port
            15 => self.name_behind(texts, 2)?,
            33 => self.name_behind(texts, 6)?,
            // TXT
            16 => {
                let mut is_text = true;
                let text = texts.write(bytes.len(), |text| {
                    while is_text && self.at < self.bytes.len() {
                        let part = self.u8().and_then(|length| self.take(length.into()));
                        text.extend_from_slice(part.unwrap_or_default());
                        is_text = part.is_some();
                    }
                });
                DnsData::Bytes(is_text.then_some(text)?)
            }
            _ => return None,
        })
    }

    fn name_behind(&mut self, texts: &mut Texts, skipped: usize) -> Option<DnsData> {
        self.take(skipped)?;
        Some(DnsData::Name(texts.copy(self.name()?.as_bytes())))
    }
}
