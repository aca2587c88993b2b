//! The files of a configuration.

use std::io::Read;
use std::path::{Path as FilePath, PathBuf};

use regex::Regex;

use super::problem::{Code, Problem};
use super::yaml::{self, MAX_BYTES, Node};

/// A file that was read.
pub(super) struct Text {
    /// As it is named in problems.
    pub(super) name: String,
    /// The folder that files named in it are relative to.
    pub(super) base: PathBuf,
    pub(super) documents: Vec<Node>,
}

/// Reads a file; `-` is standard input. What is wrong with the text comes beside what could be read of it.
pub(super) fn read(file: &FilePath) -> (Option<Text>, Vec<Problem>) {
    let name = file.display().to_string();
    let text = match text(file) {
        Ok(text) => text,
        Err(message) => return (None, vec![problem(&name, Code::UnreadableFile, message)]),
    };
    let base = file.parent().unwrap_or(FilePath::new("")).to_owned();
    let (text, problems) = parse(name, base, &text);
    (Some(text), problems)
}

/// Takes a text for a file's.
pub(super) fn parse(name: String, base: PathBuf, text: &str) -> (Text, Vec<Problem>) {
    let stream = yaml::read(text);
    let mut problems: Vec<Problem> = (stream.problems.into_iter())
        .map(|found| Problem {
            line: found.at.line,
            column: found.at.column,
            ..problem(&name, Code::InvalidYaml, found.what)
        })
        .collect();
    if stream.documents.is_empty() && problems.is_empty() {
        problems.push(problem(
            &name,
            Code::InvalidYaml,
            "the file holds no document".to_owned(),
        ));
    }
    let documents = stream.documents;
    (Text { name, base, documents }, problems)
}

/// A problem with a file as a whole.
pub(super) fn problem(file: &str, code: Code, message: String) -> Problem {
    Problem {
        file: file.to_owned(),
        line: 1,
        column: 1,
        field: String::new(),
        code,
        message,
    }
}

fn text(file: &FilePath) -> Result<String, String> {
    let input: Box<dyn Read> = if file == FilePath::new("-") {
        Box::new(std::io::stdin())
    } else {
        let opened = std::fs::File::open(file).map_err(|error| format!("the file can't be read: {error}"))?;
        Box::new(opened)
    };
    let mut bytes = Vec::new();
    let read = input.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("the file can't be read: {error}"))?;
    if bytes.len() > MAX_BYTES {
        return Err(format!("the file is larger than {MAX_BYTES} bytes"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        format!("the file is not UTF-8 at byte {at}")
    })
}

/// The files that a pattern names, sorted: `*` and `?` stand for characters of one name.
///
/// # Errors
/// Why there are none, as a sentence.
pub(super) fn matching(pattern: &str, base: &FilePath) -> Result<Vec<PathBuf>, String> {
    if !pattern.contains(['*', '?']) {
        return Ok(vec![base.join(pattern)]);
    }
    let mut found = vec![base.to_owned()];
    for part in FilePath::new(pattern).components() {
        let part = part.as_os_str().to_string_lossy();
        if !part.contains(['*', '?']) {
            found.iter_mut().for_each(|path| path.push(&*part));
            continue;
        }
        let name = name_pattern(&part)?;
        let mut next = Vec::new();
        for folder in found {
            let folder = if folder.as_os_str().is_empty() {
                PathBuf::from(".")
            } else {
                folder
            };
            let Ok(entries) = std::fs::read_dir(&folder) else {
                continue;
            };
            let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
            next.extend(
                names
                    .filter(|entry| name.is_match(&entry.to_string_lossy()))
                    .map(|entry| folder.join(entry)),
            );
        }
        found = next;
    }
    found.retain(|path| path.is_file());
    found.sort();
    if found.is_empty() {
        return Err(format!("found no file that matches {pattern}"));
    }
    Ok(found)
}

/// Hidden files have to be asked for.
fn name_pattern(part: &str) -> Result<Regex, String> {
    let pieces = part.chars().enumerate().map(|(n, c)| match c {
        '*' if n == 0 => r"(?:[^.].*)?".to_owned(),
        '?' if n == 0 => "[^.]".to_owned(),
        '*' => ".*".to_owned(),
        '?' => ".".to_owned(),
        other => regex::escape(&other.to_string()),
    });
    Regex::new(&format!("^{}$", pieces.collect::<String>())).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_names_files_in_order_and_no_hidden_ones() {
        let base = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("src/config");
        let names = |pattern: &str| -> Vec<String> {
            let files = matching(pattern, &base).unwrap();
            files
                .iter()
                .map(|file| file.file_name().unwrap().to_string_lossy().into_owned())
                .collect()
        };
        assert_eq!(names("pa?h.rs"), ["path.rs"]);
        assert_eq!(names("*/s*s.rs"), ["sinks.rs"]);
        assert_eq!(
            matching("*.nothing", &base),
            Err("found no file that matches *.nothing".to_owned())
        );
        assert!(!name_pattern("*").unwrap().is_match(".hidden"));
    }
}
