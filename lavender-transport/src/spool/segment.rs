//! Segments: the files that frames are appended to, and the file that says how far they are done with.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use lavender_core::Origin;

/// How every segment begins: what it is, and in which version.
pub(super) const MAGIC: &[u8; 8] = b"LAVSPL1\n";

const EXTENSION: &str = "segment";
const STATE: &str = "state";

/// How many boots' sequence numbers are remembered.
const ORIGINS_MAX: usize = 16;

pub(super) fn path_of(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:016x}.{EXTENSION}"))
}

/// The numbers of the segments that are there, in order. What a crash left half made is removed.
pub(super) fn list(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some(EXTENSION) => {
                let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
                if let Ok(number) = u64::from_str_radix(stem, 16) {
                    numbers.push(number);
                }
            }
            Some("new") => fs::remove_file(path)?,
            _ => {}
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

pub(super) fn read(path: &Path) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

/// Makes a segment with nothing in it.
pub(super) fn create(directory: &Path, number: u64) -> io::Result<File> {
    let path = path_of(directory, number);
    let mut file = OpenOptions::new().create_new(true).append(true).open(path)?;
    file.write_all(MAGIC)?;
    file.sync_data()?;
    sync_directory(directory)?;
    Ok(file)
}

/// Puts a file where it belongs, whole or not at all, for good.
pub(super) fn replace(directory: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_data()
    });
    if let Err(error) = written {
        // A full disk must not stay fuller for it.
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    fs::rename(&new, path)?;
    sync_directory(directory)
}

pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// What outlives segments: how far they are done with, and the highest sequence number of each boot, so that an
/// agent goes on behind it even when all is delivered.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct State {
    /// The segment that is done with in part, and how many of its frames.
    pub(super) cursor: (u64, usize),
    /// By origin: the highest sequence number, and how lately it was written.
    pub(super) sequences: BTreeMap<String, (u64, u64)>,
}

impl State {
    pub(super) fn load(directory: &Path) -> io::Result<Self> {
        let mut state = Self::default();
        let text = match fs::read_to_string(directory.join(STATE)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(state),
            // Damaged: what was delivered is delivered again, and known by its id.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(state),
            Err(error) => return Err(error),
        };
        for (number, line) in (0_u64..).zip(text.lines()) {
            let mut words = line.split(' ');
            let mut word = || words.next().unwrap_or_default();
            match word() {
                "cursor" => {
                    if let (Ok(segment), Ok(frames)) = (word().parse(), word().parse()) {
                        state.cursor = (segment, frames);
                    }
                }
                "sequence" => {
                    let (origin, last) = (word(), word().parse());
                    if let (Ok(_), Ok(last)) = (origin.parse::<Origin>(), last) {
                        state.sequences.insert(origin.to_owned(), (last, number));
                    }
                }
                _ => {}
            }
        }
        Ok(state)
    }

    pub(super) fn save(&self, directory: &Path) -> io::Result<()> {
        let mut text = format!("cursor {} {}\n", self.cursor.0, self.cursor.1);
        let mut origins: Vec<_> = self.sequences.iter().collect();
        origins.sort_by_key(|(_, (_, at))| *at);
        let old = origins.len().saturating_sub(ORIGINS_MAX);
        for (origin, (last, _)) in origins.into_iter().skip(old) {
            text.push_str(&format!("sequence {origin} {last}\n"));
        }
        replace(directory, &directory.join(STATE), text.as_bytes())
    }

    /// Takes note that a sequence number is on disk.
    pub(super) fn saw(&mut self, origin: Origin, last: u64) {
        let lately = self.sequences.values().map(|(_, at)| at + 1).max().unwrap_or(0);
        let entry = self.sequences.entry(origin.to_string()).or_default();
        *entry = (entry.0.max(last), lately);
    }
}
