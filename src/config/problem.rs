//! What is wrong with a configuration: each problem with its place, what was found, and what was expected.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::path::Path;
use super::yaml::{Node, Place};

/// What kind of problem it is. The names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The file can't be read.
    UnreadableFile,
    /// The text is not YAML, or holds something that no configuration may hold.
    InvalidYaml,
    /// No such field exists.
    UnknownField,
    /// A field that has to be there is not.
    MissingField,
    /// The value is of another type.
    WrongType,
    /// The value is none that the field can have.
    InvalidValue,
    /// Two values, or two documents, contradict each other.
    Conflict,
    /// The field or value has a meaning that this version does not act on.
    NotSupportedYet,
}

impl Code {
    /// All of them, in the order of their page.
    pub const ALL: [Code; 8] = [
        Code::UnreadableFile,
        Code::InvalidYaml,
        Code::UnknownField,
        Code::MissingField,
        Code::WrongType,
        Code::InvalidValue,
        Code::Conflict,
        Code::NotSupportedYet,
    ];

    /// What it means, in a sentence.
    pub fn help(self) -> &'static str {
        match self {
            Code::UnreadableFile => "The file can't be read.",
            Code::InvalidYaml => "The text is not YAML, or holds something that no configuration may hold.",
            Code::UnknownField => "No such field exists; the message names one that is spelled alike.",
            Code::MissingField => "A field that has to be there is not.",
            Code::WrongType => "The value is of another type; the message says which is expected.",
            Code::InvalidValue => "The value is none that the field can have.",
            Code::Conflict => "Two values, or two documents, contradict each other.",
            Code::NotSupportedYet => {
                "The field or value has a meaning that this version does not act on: it is refused, not ignored."
            }
        }
    }

    /// The code's name.
    pub fn name(self) -> &'static str {
        match self {
            Code::UnreadableFile => "unreadable_file",
            Code::InvalidYaml => "invalid_yaml",
            Code::UnknownField => "unknown_field",
            Code::MissingField => "missing_field",
            Code::WrongType => "wrong_type",
            Code::InvalidValue => "invalid_value",
            Code::Conflict => "conflict",
            Code::NotSupportedYet => "not_supported_yet",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, as it was named.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The path in the document, empty where it is about the document itself.
    pub field: String,
    /// What kind of problem it is.
    pub code: Code,
    /// What was found, what was expected, and what to do where that is known.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        write!(f, "{} [{}]", self.message, self.code.name())
    }
}

/// Everything that is wrong, by file and place; never empty as an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            let end = if n == 0 { "" } else { "\n" };
            write!(f, "{end}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The secrets that a document may refer to.
#[derive(Clone, Debug, Default)]
pub(super) enum KnownSecrets {
    /// Whichever it names: where it is only looked at.
    #[default]
    Any,
    /// None: it is a worker's, or stands in a file.
    NotHere,
    /// These, with their values.
    These(BTreeMap<String, String>),
}

/// Gathers the problems of one document.
pub(super) struct Report<'a> {
    file: &'a str,
    root: &'a Node,
    problems: Vec<Problem>,
    /// Where the document's own value was put aside: a rule over these would blame the wrong thing.
    broken: Vec<Path>,
    /// Over the values that the document refers to.
    references: u64,
    secrets: KnownSecrets,
}

impl<'a> Report<'a> {
    pub(super) fn new(file: &'a str, root: &'a Node) -> Report<'a> {
        Report {
            file,
            root,
            problems: Vec::new(),
            broken: Vec::new(),
            references: 0,
            secrets: KnownSecrets::NotHere,
        }
    }

    /// The same, for a document that may refer to secrets.
    pub(super) fn with_secrets(self, secrets: &KnownSecrets) -> Report<'a> {
        Report {
            secrets: secrets.clone(),
            ..self
        }
    }

    /// The value of a secret.
    pub(super) fn secret(&self, name: &str) -> Result<String, String> {
        match &self.secrets {
            KnownSecrets::Any => Ok(String::new()),
            KnownSecrets::NotHere => Err(format!(
                "found the secret {name}, expected text, {{env: NAME}} or {{file: PATH}}: secrets are for pipelines that are \
                 registered over the API"
            )),
            KnownSecrets::These(known) => known.get(name).cloned().ok_or_else(|| {
                format!("found no secret named {name}, or none that can be decrypted; `fnbridge secrets set {name}` writes it")
            }),
        }
    }

    /// A problem of a value by itself. What other rules say of this value is not heard from here on.
    pub(super) fn value(&mut self, path: &Path, code: Code, message: impl Into<String>) {
        if self.is_broken(path) {
            return;
        }
        self.broken.push(path.clone());
        self.push(path, self.place_of(path), code, message.into());
    }

    /// The document refers to this value, which stands elsewhere and may change there.
    pub(super) fn refer(&mut self, value: &str) {
        let mut digest = Sha256::new();
        digest.update(self.references.to_be_bytes());
        digest.update(value.as_bytes());
        let first: [u8; 8] = digest.finalize()[..8].try_into().unwrap_or_default();
        self.references = u64::from_be_bytes(first);
    }

    /// A digest over all values that the document refers to.
    pub(super) fn references(&self) -> u64 {
        self.references
    }

    /// Nothing is said of this value from here on.
    pub(super) fn put_aside(&mut self, path: &Path) {
        self.broken.push(path.clone());
    }

    /// A problem with the key itself, at the key.
    pub(super) fn key(&mut self, path: &Path, at: Place, code: Code, message: impl Into<String>) {
        self.push(path, at, code, message.into());
    }

    /// A problem between values: said of the first path, and not at all where one of them is broken by itself.
    pub(super) fn between(&mut self, paths: &[&Path], code: Code, message: impl Into<String>) {
        if let Some(first) = paths.first().filter(|_| !paths.iter().any(|path| self.is_broken(path))) {
            self.push(first, self.place_of(first), code, message.into());
        }
    }

    /// Whether the value at `path`, one around it or one inside it was put aside.
    pub(super) fn is_broken(&self, path: &Path) -> bool {
        self.broken.iter().any(|other| other.is_related_to(path))
    }

    /// Whether the document itself says something there.
    pub(super) fn is_stated(&self, path: &Path) -> bool {
        path.find(self.root).is_some()
    }

    pub(super) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    pub(super) fn file(&self) -> &'a str {
        self.file
    }

    pub(super) fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|problem| (problem.line, problem.column));
        self.problems
    }

    fn place_of(&self, path: &Path) -> Place {
        path.place(self.root)
    }

    fn push(&mut self, path: &Path, at: Place, code: Code, message: String) {
        self.problems.push(Problem {
            file: self.file.to_owned(),
            line: at.line,
            column: at.column,
            field: path.to_string(),
            code,
            message,
        });
    }
}
