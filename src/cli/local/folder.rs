//! What is run in a folder.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Names that a function's file usually has, in the order they are looked for.
const USUAL: [&str; 5] = ["main", "function", "app", "index", "handler"];
const ENDINGS: [&str; 4] = ["py", "mjs", "js", "cjs"];

/// What a folder's function is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A file.
    File(PathBuf),
    /// A Go module.
    Go,
    /// A Maven project.
    Maven,
    /// The start script of a `package.json`.
    Script(String),
}

/// Finds it: a build file says so, else a usual name, else the only file that is no test.
///
/// # Errors
/// What was found, and what was expected.
pub(super) fn entry(folder: &Path) -> Result<Entry, String> {
    if folder.join("go.mod").exists() {
        return Ok(Entry::Go);
    }
    if folder.join("pom.xml").exists() {
        return Ok(Entry::Maven);
    }
    if let Some(script) = start_script(&folder.join("package.json"))? {
        return Ok(Entry::Script(script));
    }
    let sources = sources(folder)?;
    match chosen(&sources) {
        Some(name) => Ok(Entry::File(folder.join(name))),
        None => {
            let found = if sources.is_empty() {
                "nothing to run".to_owned()
            } else {
                sources.join(", ")
            };
            let expected = "expected go.mod, pom.xml, a package.json with a start script, or main, function, app, index or handler .py or .js";
            Err(format!(
                "{}: found {found}; {expected}: or name the file",
                folder.display()
            ))
        }
    }
}

fn start_script(package: &Path) -> Result<Option<String>, String> {
    let Ok(text) = fs::read_to_string(package) else {
        return Ok(None);
    };
    let document: Value = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", package.display()))?;
    Ok(document["scripts"]["start"].as_str().map(str::to_owned))
}

fn sources(folder: &Path) -> Result<Vec<String>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut names = Vec::new();
    for file in fs::read_dir(folder).map_err(failed)? {
        let name = file.map_err(failed)?.file_name().to_string_lossy().into_owned();
        let ending = name.rsplit_once('.').map(|(_, ending)| ending);
        if ending.is_some_and(|ending| ENDINGS.contains(&ending)) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn chosen(sources: &[String]) -> Option<&String> {
    let usual = USUAL
        .iter()
        .flat_map(|stem| ENDINGS.iter().map(move |ending| format!("{stem}.{ending}")));
    if let Some(found) = usual
        .into_iter()
        .find_map(|name| sources.iter().find(|source| **source == name))
    {
        return Some(found);
    }
    let mut others = sources.iter().filter(|source| !is_test(source));
    others.next().filter(|_| others.next().is_none())
}

fn is_test(name: &str) -> bool {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    stem.starts_with("test_") || stem.ends_with("_test") || stem.ends_with(".test") || stem == "conftest"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_name_comes_first_else_the_only_file_that_is_no_test() {
        let table: [(&[&str], Option<&str>); 6] = [
            (&["main.py", "util.py"], Some("main.py")),
            (&["function.mjs", "serve.mjs"], Some("function.mjs")),
            (&["index.js", "main.js"], Some("main.js")),
            (&["orders.py", "test_orders.py", "conftest.py"], Some("orders.py")),
            (&["a.py", "b.py"], None),
            (&["orders.test.js"], None),
        ];
        for (names, expected) in table {
            let sources: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(chosen(&sources).map(String::as_str), expected, "{names:?}");
        }
    }
}
