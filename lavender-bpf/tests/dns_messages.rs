//! Messages of the DNS, good and bad: what is read of them, and that nothing makes the reader panic or go on for ever.
#![allow(clippy::unwrap_used, clippy::panic)]

use lavender_bpf::dns::{DnsMessage, parse, parse_stream};
use lavender_core::event::{DnsAnswer, DnsData, DnsRecordType, DnsResponseCode};
use proptest::collection::vec;
use proptest::prelude::*;

/// A header with these flags, one question and so many answers.
fn header(id: u16, flags: u16, answers: u16) -> Vec<u8> {
    [id, flags, 1, answers, 0, 0].map(u16::to_be_bytes).concat()
}

fn name(labels: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in labels {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label);
    }
    bytes.push(0);
    bytes
}

/// A record whose name is that of the question.
fn record(record_type: u16, data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u16).to_be_bytes();
    [&[0xc0, 12][..], &record_type.to_be_bytes(), &[0, 1, 0, 0, 0, 9], &length, data].concat()
}

/// An answer about `a.example`, with these records.
fn about_a(flags: u16, records: &[Vec<u8>]) -> Vec<u8> {
    let question = b"\x01a\x07example\x00\x00\x01\x00\x01";
    [&header(7, flags, records.len() as u16)[..], question, &records.concat()].concat()
}

fn data(record_type: u16, bytes: &[u8]) -> DnsData {
    let message = parse(&about_a(0x8180, &[record(record_type, bytes)])).unwrap();
    assert!(message.is_whole);
    let [DnsAnswer { record_type: read, data }] = &message.answers[..] else { panic!() };
    assert_eq!(read.0, record_type);
    data.clone()
}

#[test]
fn what_records_say() {
    let name = |text: &str| DnsData::Name(text.into());
    assert_eq!(data(1, &[192, 0, 2, 7]), DnsData::Address([192, 0, 2, 7].into()));
    assert_eq!(data(28, &[0; 16]), DnsData::Address([0_u16; 8].into()));
    // With a pointer to the question's name.
    assert_eq!(data(5, b"\x03www\xc0\x0c"), name("www.a.example"));
    assert_eq!(data(12, b"\x00"), name(""));
    assert_eq!(data(15, b"\x00\x0a\x04mail\xc0\x0e"), name("mail.example"));
    assert_eq!(data(33, b"\x00\x01\x00\x02\x00\x50\x01s\xc0\x0c"), name("s.a.example"));
    assert_eq!(data(16, b"\x02v=\x01\xfe"), DnsData::Bytes(b"v=\xfe"[..].into()));
    // What is not as its type has it stays as it came.
    assert_eq!(data(1, &[1, 2, 3]), DnsData::Bytes([1, 2, 3][..].into()));
    assert_eq!(data(16, b"\x09ab"), DnsData::Bytes(b"\x09ab"[..].into()));
    assert_eq!(data(5, b"\xc0\xff"), DnsData::Bytes(b"\xc0\xff"[..].into()));
    assert_eq!(data(999, b"x"), DnsData::Bytes(b"x"[..].into()));
}

#[test]
fn pointers_that_lead_nowhere_end() {
    for (at, bad) in [
        // To itself, to behind itself, to one that leads back, and a label of no kind.
        (12, &b"\xc0\x0c\x00\x01\x00\x01"[..]),
        (12, b"\xc0\x20\x00\x01\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01a\x00"),
        (12, b"\x01a\xc0\x0c\x00\x01\x00\x01"),
        (12, b"\x40a\x00\x00\x01\x00\x01"),
    ] {
        assert_eq!(at, header(1, 0, 0).len());
        assert_eq!(parse(&[&header(1, 0x100, 0)[..], bad].concat()), None);
    }
    // Names are at most 255 bytes long, lengths included.
    let long = |labels: usize| {
        let name = name(&vec![b"0123456789abcde".to_vec(); labels]);
        parse(&[&header(1, 0x100, 0)[..], &name, &[0, 1, 0, 1]].concat())
    };
    assert_eq!(long(15).unwrap().name.len(), 239);
    assert_eq!(long(16), None);
}

#[test]
fn a_message_that_is_cut_says_so() {
    let records = [record(1, &[192, 0, 2, 7]), record(1, &[192, 0, 2, 8])];
    let whole = about_a(0x8180, &records);
    assert!(parse(&whole).unwrap().is_whole);
    let cut = parse(&whole[..whole.len() - 1]).unwrap();
    assert_eq!((cut.answers.len(), cut.is_whole), (1, false));
    // By the server.
    assert!(!parse(&about_a(0x8380, &records)).unwrap().is_whole);
    // Without its question it says nothing.
    assert_eq!(parse(&whole[..20]), None);
    let mut several = whole.clone();
    several[5] = 2;
    assert_eq!(parse(&several), None);
}

#[test]
fn streams_begin_with_the_length_of_a_message() {
    let message = about_a(0x8183, &[]);
    let length = (message.len() as u16).to_be_bytes();
    let framed = [&length[..], &message].concat();
    let expected = parse(&message);
    assert_eq!(expected.as_ref().unwrap().response_code, DnsResponseCode::NO_SUCH_NAME);
    assert_eq!(parse_stream(&framed), expected);
    assert_eq!(parse_stream(&message), expected);
    assert_eq!(parse_stream(&[&framed[..], &framed].concat()), expected);
    for cut in [&[][..], &framed[..1], &framed[..8]] {
        assert_eq!(parse_stream(cut), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..600)) {
        let _ = (parse(&bytes), parse_stream(&bytes));
    }

    /// Behind a header that is one, made of what names and records are made of.
    #[test]
    fn no_message_makes_it_panic(
        answers in any::<u16>(),
        bytes in vec(prop_oneof![0_u8..4, Just(0xc0), 12_u8..40, any::<u8>()], 0..300),
    ) {
        let message = [&header(1, 0x8180, answers)[..], &bytes].concat();
        for read in [parse(&message), parse_stream(&message)].into_iter().flatten() {
            prop_assert!(read.name.len() <= 253);
            prop_assert!(read.answers.len() * 11 <= message.len());
        }
    }

    #[test]
    fn what_is_written_is_read(
        id in any::<u16>(),
        record_type in any::<u16>(),
        labels in vec(vec(any::<u8>(), 1..20), 0..8),
        addresses in vec(any::<[u8; 4]>(), 0..5),
        code in 0_u16..16,
    ) {
        let mut message = header(id, 0x8180 | code, addresses.len() as u16);
        message.extend(name(&labels));
        message.extend(record_type.to_be_bytes());
        message.extend([0, 1]);
        for address in &addresses {
            message.extend(record(1, address));
        }
        let answer = |address: &[u8; 4]| DnsAnswer {
            record_type: DnsRecordType::A,
            data: DnsData::Address((*address).into()),
        };
        let expected = DnsMessage {
            transaction_id: id,
            is_answer: true,
            response_code: DnsResponseCode(code),
            name: labels.join(&b'.').into(),
            record_type: DnsRecordType(record_type),
            answers: addresses.iter().map(answer).collect(),
            is_whole: true,
        };
        prop_assert_eq!(parse(&message), Some(expected));
    }
}
