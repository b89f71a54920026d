//! A message from the broker: a subject, headers, and a body, however hostile. The input is lines: the subject,
//! then `name: value`, an empty line, and the body.
#![no_main]

use lavender_core::envelope::Envelope;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let end = bytes.windows(2).position(|two| two == b"\n\n").unwrap_or(bytes.len());
    let Ok(head) = std::str::from_utf8(&bytes[..end]) else { return };
    let body = bytes.get(end + 2..).unwrap_or_default().to_vec();
    let mut lines = head.lines();
    let Some(subject) = lines.next() else { return };
    let headers: Vec<_> = lines.filter_map(|line| line.split_once(": ")).collect();
    let header = |name: &str| headers.iter().find(|(is, _)| *is == name).map(|(_, value)| *value);
    let Ok(envelope) = Envelope::read(subject, header, body.into()) else { return };
    assert_eq!(envelope.subject().to_string(), subject);
    if let Ok(message) = envelope.decode() {
        assert_eq!(message.payload.len(), envelope.count() as usize);
        let again = Envelope::encode(&message, usize::MAX).expect("what was read can be written");
        let back: usize = again.iter().map(|part| part.decode().unwrap().payload.len()).sum();
        assert_eq!(back, message.payload.len());
    }
});
