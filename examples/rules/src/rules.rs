//! Which rules a command works on.

use std::io::Write;
use std::path::{Path, PathBuf};

use lavender_detect::{
    Fault, FieldMapping, Loaded, Placeholders, RuleSet, RuleSetBuilder, builtin, read_tests,
};

use crate::cli::{ReadingArgs, RulesArgs};
use crate::exit::{Exit, Failure};

/// Rules as they were asked for on the command line.
#[derive(Debug)]
pub struct RuleSource<'a> {
    /// Folders and files.
    pub paths: &'a [PathBuf],
    /// Whether the rules that come with Lavender are among them.
    pub builtin: bool,
    /// How they are read.
    pub reading: &'a ReadingArgs,
}

impl<'a> From<&'a RulesArgs> for RuleSource<'a> {
    fn from(args: &'a RulesArgs) -> Self {
        Self { paths: &args.paths, builtin: args.builtin, reading: &args.reading }
    }
}

/// Test files, or rule files: names and texts.
pub type Texts = Vec<(String, String)>;

impl RuleSource<'_> {
    /// Loads what loads, and says what does not.
    ///
    /// # Errors
    ///
    /// [`Exit::Input`] when a path is not there, or a file beside the rules cannot be read or understood.
    pub fn load(&self) -> Result<(Loaded, Vec<Fault>), Failure> {
        for path in self.paths {
            std::fs::metadata(path).map_err(|error| Failure::input(path.display(), error))?;
        }
        let mut builder = RuleSetBuilder::new();
        if let Some(file) = &self.reading.placeholders {
            let placeholders = parse(file, Placeholders::from_yaml)?;
            builder = builder.with_placeholders(placeholders);
        }
        if let Some(file) = &self.reading.field_mapping {
            builder = builder.with_field_mapping(parse(file, FieldMapping::from_yaml)?);
        }
        for path in self.paths {
            builder.add_path(path);
        }
        if self.builtin {
            builder.add_builtin();
        }
        builder.add_builtin_placeholders();
        Ok(builder.build_partial())
    }

    /// Loads rules to be evaluated: all of them or none.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load); [`Exit::Findings`] with every refusal.
    pub fn load_whole(&self) -> Result<RuleSet, Failure> {
        let (loaded, faults) = self.load()?;
        if faults.is_empty() {
            return Ok(loaded.rules);
        }
        Err(Failure::new(Exit::Findings, lavender_detect::RuleErrors { faults }))
    }

    /// The test files that belong to the rules.
    ///
    /// # Errors
    ///
    /// [`Exit::Input`] when one cannot be read.
    pub fn tests(&self) -> Result<Texts, Failure> {
        let mut tests = Texts::new();
        for path in self.paths {
            if path.is_dir() {
                let found = read_tests(path).map_err(|e| Failure::input(path.display(), e))?;
                tests.extend(found.into_iter().map(|(path, text)| (name_of(&path), text)));
            } else {
                let beside = path.with_extension("test.yml");
                if beside.is_file() {
                    tests.push((name_of(&beside), read(&beside)?));
                }
            }
        }
        if self.builtin {
            tests.extend(builtin::tests().map(|(name, text)| (name.to_owned(), text.to_owned())));
        }
        Ok(tests)
    }

    /// The texts of the files that rules were loaded from.
    ///
    /// # Errors
    ///
    /// [`Exit::Input`] when one cannot be read any more.
    pub fn texts(&self, rules: &RuleSet) -> Result<Texts, Failure> {
        let correlations = rules.correlations().iter().map(|correlation| &**correlation.file());
        let mut names: Vec<&str> =
            rules.iter().map(|rule| &**rule.file()).chain(correlations).collect();
        names.sort_unstable();
        names.dedup();
        let bundled: Texts = if self.builtin {
            builtin::rules().map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
        } else {
            Texts::new()
        };
        names.retain(|name| !bundled.iter().any(|(bundled, _)| bundled == name));
        let mut texts = bundled;
        for name in names {
            texts.push((name.to_owned(), read(Path::new(name))?));
        }
        Ok(texts)
    }
}

/// Texts as `lavender-detect` takes them.
pub fn borrowed(texts: &Texts) -> impl Iterator<Item = (&str, &str)> {
    texts.iter().map(|(name, text)| (name.as_str(), text.as_str()))
}

/// Says what was refused, a line each.
///
/// # Errors
///
/// When it cannot be written.
pub fn report(faults: &[Fault], to: &mut dyn Write) -> Result<(), Failure> {
    for fault in faults {
        writeln!(to, "refused: {fault}")?;
    }
    Ok(())
}

/// The text of a file.
///
/// # Errors
///
/// [`Exit::Input`].
pub fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| Failure::input(path.display(), error))
}

fn name_of(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn parse<T>(
    path: &Path,
    from_yaml: impl Fn(&str, &str) -> Result<T, Vec<Fault>>,
) -> Result<T, Failure> {
    from_yaml(&name_of(path), &read(path)?).map_err(|faults| {
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        Failure::new(Exit::Input, lines.join("\n"))
    })
}
