//! Rulesets: what is one, what is read from any bytes, and where published ones lie.
#![allow(clippy::unwrap_used, reason = "tests fail loudly")]

use std::collections::BTreeMap;

use lavender_core::ruleset::{
    BundleError, MAX_BUNDLE_BYTES, MAX_FILES, MAX_TEXT_BYTES, RuleFile, Ruleset, RulesetDigest,
    RulesetError,
};
use proptest::prelude::*;

fn file(name: &str, text: &str) -> RuleFile {
    RuleFile::new(name, text).unwrap()
}

fn wrapped(canonical: &[u8]) -> Vec<u8> {
    [&b"lavender-bundle\x01"[..], &zstd::bulk::compress(canonical, 1).unwrap()].concat()
}

/// The canonical form, as the documentation has it.
fn canonical(files: &[(&str, &str)]) -> Vec<u8> {
    let mut out = b"lavender-ruleset\x01".to_vec();
    out.extend((files.len() as u32).to_be_bytes());
    for (name, text) in files {
        out.push(name.len() as u8);
        out.extend(name.as_bytes());
        out.extend((text.len() as u32).to_be_bytes());
        out.extend(text.as_bytes());
    }
    out
}

#[test]
fn the_digest_is_that_of_the_form_that_is_written_down() {
    // By another SHA-256 over the form.
    for (files, digest) in [
        (&[][..], "15350458527587ade481bd44fbb98f3f231f53a156160f39b66231d47f7e95aa"),
        (
            &[("a.yml", "title: A"), ("b/c.yaml", "ü")][..],
            "e36f4b63b1be110e485419dd9cb1e4568d4a515c8f3d743659c1e9c80e3a4322",
        ),
    ] {
        let rules = Ruleset::new(files.iter().map(|(name, text)| file(name, text))).unwrap();
        assert_eq!(rules.digest().to_string(), digest, "{files:?}");
        let read = Ruleset::from_any_bundle(&wrapped(&canonical(files))).unwrap();
        assert_eq!(read, rules);
    }
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let long = format!("{}.yml", "x".repeat(252));
    for name in [
        "",
        "a",
        "a.yml/",
        "/a.yml",
        "../a.yml",
        "a/../b.yml",
        "a//b.yml",
        ".a.yml",
        "a\\b.yml",
        "a\n.yml",
        "a\0.yml",
        &long,
    ] {
        let error = RuleFile::new(name, "").unwrap_err();
        assert!(matches!(error, RulesetError::Name { .. }), "{name:?}: {error}");
    }
    for name in ["a.yml", "a b/ü.yaml", &long[1..]] {
        assert_eq!(&**file(name, "x").name(), name);
    }
}

#[test]
fn what_is_too_much_is_refused() {
    let many = |count: usize| (0..count).map(|number| file(&format!("{number}.yml"), ""));
    assert_eq!(Ruleset::new(many(MAX_FILES)).unwrap().files().len(), MAX_FILES);
    assert_eq!(Ruleset::new(many(MAX_FILES + 1)), Err(RulesetError::Files));
    let large = |bytes: usize| [file("a.yml", &"x".repeat(bytes)), file("b.yml", "x")];
    let largest = Ruleset::new(large(MAX_TEXT_BYTES - 1)).unwrap();
    assert_eq!(Ruleset::new(large(MAX_TEXT_BYTES)), Err(RulesetError::Bytes));
    let twice = RulesetError::Twice { name: "a.yml".into() };
    assert_eq!(Ruleset::new([file("a.yml", "1"), file("a.yml", "2")]), Err(twice));
    let bundle = largest.to_bundle().unwrap();
    assert!(bundle.len() < MAX_TEXT_BYTES / 100, "it is compressed: {}", bundle.len());
    assert_eq!(Ruleset::from_bundle(&bundle, largest.digest()), Ok(largest));
}

#[test]
fn a_bundle_that_is_not_what_was_asked_for_is_refused() {
    let rules = Ruleset::new([file("a.yml", "title: A")]).unwrap();
    let other = Ruleset::new([file("a.yml", "title: B")]).unwrap();
    let error = Ruleset::from_bundle(&rules.to_bundle().unwrap(), other.digest()).unwrap_err();
    assert_eq!(error, BundleError::Other { wanted: other.digest(), found: rules.digest() });
    let long = vec![0; MAX_BUNDLE_BYTES + 1];
    let error = Ruleset::from_any_bundle(&long).unwrap_err();
    assert_eq!(error, BundleError::TooLong { bytes: long.len() });
    let good = canonical(&[("a.yml", "1"), ("b.yml", "2")]);
    Ruleset::from_any_bundle(&wrapped(&good)).unwrap();
    let with = |place: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[place] = byte;
        bytes
    };
    let mut longer = good.clone();
    longer.push(0);
    let unsorted = canonical(&[("b.yml", "1"), ("a.yml", "2")]);
    let twice = canonical(&[("a.yml", "1"), ("a.yml", "2")]);
    let many = [b"lavender-ruleset\x01", &[0xff; 4][..]].concat();
    for bytes in [
        with(0, b'L'),
        with(16, 2),
        with(20, 3),
        with(20, 1),
        with(22, b'/'),
        with(30, 0xff),
        longer,
        unsorted,
        twice,
        many,
        Vec::new(),
    ] {
        let error = Ruleset::from_any_bundle(&wrapped(&bytes)).unwrap_err();
        assert!(matches!(error, BundleError::Field { .. } | BundleError::Ruleset(_)), "{error}");
    }
    // A frame that promises gigabytes.
    let mut bomb = b"lavender-bundle\x01\x28\xb5\x2f\xfd\xe0".to_vec();
    bomb.extend(u64::MAX.to_le_bytes());
    let error = Ruleset::from_any_bundle(&bomb).unwrap_err();
    assert!(matches!(error, BundleError::Compression { .. }), "{error}");
}

fn files() -> impl Strategy<Value = Vec<RuleFile>> {
    let text = prop_oneof![
        prop::collection::vec(any::<char>(), 0..30).prop_map(|text| text.into_iter().collect()),
        (0..200_usize).prop_map(|lines| "title: a\n".repeat(lines)),
    ];
    prop::collection::btree_map(0..1_000_u32, text, 0..9).prop_map(|files: BTreeMap<_, String>| {
        let file = |(name, text): (u32, String)| RuleFile::new(format!("ß/{name}.yml"), text);
        files.into_iter().map(|each| file(each).unwrap()).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_bundled_comes_back(files in files(), seed in any::<usize>()) {
        let rules = Ruleset::new(files.clone()).unwrap();
        let mut turned = files.clone();
        turned.rotate_left(seed % files.len().max(1));
        prop_assert_eq!(&Ruleset::new(turned).unwrap(), &rules);
        let bundle = rules.to_bundle().unwrap();
        prop_assert_eq!(Ruleset::from_bundle(&bundle, rules.digest()), Ok(rules));
    }

    #[test]
    fn what_differs_has_another_digest(a in files(), b in files()) {
        let (a, b) = (Ruleset::new(a).unwrap(), Ruleset::new(b).unwrap());
        prop_assert_eq!(a == b, a.digest() == b.digest());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Ruleset::from_any_bundle(&bytes);
        let _ = Ruleset::from_any_bundle(&wrapped(&bytes));
        let _ = Ruleset::from_any_bundle(&[&b"lavender-bundle\x01"[..], &bytes].concat());
    }

    #[test]
    fn a_damaged_bundle_is_never_taken_for_the_one_that_was_asked_for(
        files in files(), place in any::<usize>(), bit in 0..8_u32, cut in any::<bool>(),
    ) {
        let rules = Ruleset::new(files).unwrap();
        let mut bundle = rules.to_bundle().unwrap();
        let place = place % bundle.len();
        if cut { bundle.truncate(place) } else { bundle[place] ^= 1 << bit };
        // Some bits of a frame say nothing of what is in it.
        if let Ok(read) = Ruleset::from_bundle(&bundle, rules.digest()) {
            prop_assert_eq!(read, rules);
        }
        let mut bytes = canonical(&[("a.yml", "title: A"), ("b.yml", "title: B")]);
        let place = place % bytes.len();
        bytes[place] ^= 1 << bit;
        if let Ok(read) = Ruleset::from_any_bundle(&wrapped(&bytes)) {
            let pairs: Vec<_> = read.files().iter().map(|f| (&**f.name(), &**f.text())).collect();
            prop_assert_eq!(canonical(&pairs), bytes);
        }
    }

    #[test]
    fn a_digest_is_read_back(bytes in any::<[u8; 32]>(), text in "[0-9a-fA-F]{63,65}") {
        let digest = RulesetDigest::from_bytes(bytes);
        prop_assert_eq!(digest.to_string().parse(), Ok(digest));
        if let Ok(read) = text.parse::<RulesetDigest>() {
            prop_assert_eq!(read.to_string(), text);
        }
    }
}
