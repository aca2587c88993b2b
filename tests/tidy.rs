//! The rules of the house that a compiler does not know.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use clap::error::ErrorKind;
use regex::Regex;

/// Edges of the record's journey: none knows another, but for what `KNOWS` allows.
const APART: [&str; 5] = ["kafka", "convert", "function", "sink", "deadletter"];

/// Who of them may use whom: results and dead letters go to Kafka through its producer.
const KNOWS: [(&str, &str); 2] = [("sink", "kafka"), ("deadletter", "kafka")];

/// What the delivery core must not touch: clocks, dice, IO, async, logs, and maps whose order changes from run to run.
const IMPURE: [&str; 5] = [
    r"\bstd::(time::Instant|fs|net|io|env|thread|process|collections::Hash(Map|Set))\b",
    r"\bInstant::now\b|\bSystemTime\b|\bRandomState\b",
    r"\btokio\b|\basync\b|\.await\b",
    r"\brand::|\bfastrand\b|\bgetrandom\b",
    r"\btracing\b|\be?print(ln)?!|\bdbg!",
];

const MOST_LINES_OF_A_README: usize = 150;
const MOST_LINES_OF_A_FILE: usize = 600;

#[test]
fn modules_import_only_those_above_them() {
    let order = modules_in_reading_order();
    let uses = Regex::new(r"\bcrate::(\w+)").unwrap();
    let mut problems = Vec::new();
    for (rank, module) in order.iter().enumerate() {
        for file in rust_files(&root().join("src").join(module)) {
            for (number, line) in code_lines(&file) {
                for used in uses.captures_iter(&line).map(|found| found[1].to_owned()) {
                    let Some(other) = order.iter().position(|name| *name == used) else {
                        continue;
                    };
                    let apart = APART.contains(&module.as_str()) && APART.contains(&used.as_str());
                    let knows = KNOWS.contains(&(module.as_str(), used.as_str()));
                    if other > rank || (apart && other != rank && !knows) {
                        problems.push(format!("{}:{number}: {module} uses {used}", relative(&file)));
                    }
                }
            }
        }
    }
    assert_none(
        &problems,
        "src/lib.rs has the modules in reading order; each may use those above it",
    );
}

#[test]
fn the_delivery_core_is_pure() {
    let impure = Regex::new(&IMPURE.join("|")).unwrap();
    let mut problems = Vec::new();
    for file in rust_files(&root().join("src/delivery")) {
        for (number, line) in code_lines(&file) {
            if let Some(found) = impure.find(&line) {
                problems.push(format!("{}:{number}: {}", relative(&file), found.as_str()));
            }
        }
    }
    assert_none(&problems, "time and dice are arguments, effects are answers");
}

#[test]
fn only_telemetry_logs() {
    let logs = Regex::new(r"\btracing::(trace|debug|info|warn|error|event|span|\w+_span)!|\buse tracing\b").unwrap();
    let prints = Regex::new(r"\be?println?!|\bdbg!").unwrap();
    let mut problems = Vec::new();
    for file in rust_files(&root().join("src")) {
        let name = relative(&file);
        let (may_log, may_print) = (
            name.starts_with("src/telemetry/"),
            name.starts_with("src/cli/") || name == "src/main.rs",
        );
        for (number, line) in code_lines(&file) {
            if (logs.is_match(&line) && !may_log) || (prints.is_match(&line) && !may_print) {
                problems.push(format!("{name}:{number}: {}", line.trim()));
            }
        }
    }
    assert_none(
        &problems,
        "one function of src/telemetry/ a noteworthy event; only commands print",
    );
}

#[test]
fn every_rust_file_belongs_to_a_module() {
    let mut declared = BTreeSet::new();
    for target in targets() {
        declare(&target, &mut declared);
    }
    let mut problems = Vec::new();
    for folder in ["src", "tests", "benches"] {
        for file in rust_files(&root().join(folder)) {
            if !declared.contains(&file) {
                problems.push(relative(&file));
            }
        }
    }
    assert_none(
        &problems,
        "no module declares these files, so nothing compiles or tests them",
    );
}

#[test]
fn files_and_the_readme_stay_short() {
    let mut problems = Vec::new();
    let readme = read(&root().join("README.md")).lines().count();
    if readme >= MOST_LINES_OF_A_README {
        problems.push(format!(
            "README.md: {readme} lines, expected fewer than {MOST_LINES_OF_A_README}"
        ));
    }
    for folder in ["src", "tests", "benches"] {
        for file in rust_files(&root().join(folder)) {
            let lines = read(&file).lines().count();
            if lines > MOST_LINES_OF_A_FILE {
                problems.push(format!(
                    "{}: {lines} lines, expected at most {MOST_LINES_OF_A_FILE}",
                    relative(&file)
                ));
            }
        }
    }
    assert_none(&problems, "one file says one thing");
}

#[test]
fn every_direct_dependency_has_its_reason() {
    let page = read(&root().join("docs/dependencies.md"));
    let row = Regex::new(r"(?m)^\| `([a-z0-9_./-]+)` \| (.+) \|$").unwrap();
    let reasons: BTreeMap<String, String> = row
        .captures_iter(&page)
        .map(|found| (found[1].to_owned(), found[2].trim().to_owned()))
        .collect();
    let mut used = dependencies(&root().join("Cargo.toml"));
    for manifest in ["src/delivery/Cargo.toml", "tests/sim/Cargo.toml"] {
        used.extend(dependencies(&root().join(manifest)));
    }
    used.remove("fnbridge-delivery");
    used.remove("fnbridge-sim");
    used.extend(go_modules(&root().join("terraform/provider/go.mod")));
    let mut problems: Vec<String> = (used.iter().filter(|name| !reasons.contains_key(*name)))
        .map(|name| format!("{name} has no line in docs/dependencies.md"))
        .collect();
    problems.extend(
        reasons
            .keys()
            .filter(|name| !used.contains(*name))
            .map(|name| format!("{name} is no dependency any more")),
    );
    assert_none(&problems, "docs/dependencies.md says why each earns its place");
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let link = Regex::new(r"\]\(([^)#\s]+)(?:#[^)]*)?\)").unwrap();
    let mut problems = Vec::new();
    for document in documents() {
        let folder = document.parent().unwrap();
        for found in link.captures_iter(&read(&document)) {
            let target = &found[1];
            if !target.contains("://") && !folder.join(target).exists() {
                problems.push(format!("{}: {target}", relative(&document)));
            }
        }
    }
    assert_none(&problems, "these links lead nowhere");
}

#[test]
fn every_command_in_a_document_exists() {
    let block = Regex::new(r"(?m)^(?:\$ )?(?:\./)?(fnbridge|run) ([^\n#]*)").unwrap();
    let inline = Regex::new(r"`(?:\./)?(fnbridge|run) ([^`\n]*)`").unwrap();
    let script = read(&root().join("run"));
    let mut problems = Vec::new();
    for document in documents() {
        let text = read(&document);
        for (at, piece) in text.split("```").enumerate() {
            let command = if at % 2 == 1 { &block } else { &inline };
            for found in command.captures_iter(piece) {
                let words: Vec<&str> = found[2]
                    .split_whitespace()
                    .take_while(|w| !["|", ">", "&&"].contains(w))
                    .collect();
                let problem = match &found[1] {
                    "fnbridge" => parse_problem(&words),
                    _ if script.contains(&format!("  {})", words[0])) => None,
                    _ => Some("the script does not know it".to_owned()),
                };
                problems
                    .extend(problem.map(|problem| format!("{}: {}: {problem}", relative(&document), found[0].trim())));
            }
        }
    }
    assert_none(&problems, "these commands do not exist as documented");
}

/// What is wrong with a command line. One that only lacks something, as prose does, is fine.
fn parse_problem(words: &[&str]) -> Option<String> {
    let line = std::iter::once("fnbridge").chain(words.iter().copied());
    let error = fnbridge::cli::Cli::try_parse_from(line).err()?;
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::MissingRequiredArgument => None,
        _ => Some(error.to_string().lines().next().unwrap_or_default().to_owned()),
    }
}

#[test]
fn every_pipeline_beside_a_function_is_valid() {
    // What `fnbridge new` writes is called the same until its user gives it a name.
    let (templates, pipelines): (Vec<PathBuf>, Vec<PathBuf>) = (files(&root().join("functions"), "yaml").into_iter())
        .partition(|file| file.iter().any(|part| part == "templates"));
    assert!(!templates.is_empty() && !pipelines.is_empty());
    for together in std::iter::once(&pipelines[..]).chain(templates.chunks(1)) {
        let checked = fnbridge::config::check(together, None);
        assert!(checked.problems.0.is_empty(), "{:#?}", checked.problems);
        assert_eq!(checked.pipelines.len(), together.len());
    }
}

#[test]
fn generated_pages_are_current() {
    let pages = [
        ("docs/metrics.md", fnbridge::telemetry::metrics_page()),
        ("docs/pipeline.md", fnbridge::config::pipeline_page()),
        ("docs/worker.md", fnbridge::config::worker_page()),
        ("docs/errors.md", fnbridge::api::errors_page()),
    ];
    let mut problems = Vec::new();
    for (page, expected) in pages {
        let file = root().join(page);
        if std::env::var_os("FNBRIDGE_WRITE_DOCS").is_some() {
            fs::write(&file, &expected).unwrap();
        }
        if fs::read_to_string(&file).unwrap_or_default() != expected {
            problems.push(page.to_owned());
        }
    }
    assert_none(
        &problems,
        "FNBRIDGE_WRITE_DOCS=1 ./run tests tidy, and commit what it writes",
    );
}

/// A row of `docs/failures.md`: what is seen, and the tests that prove it.
struct Row<'a> {
    line: usize,
    seen: &'a str,
    tests: Vec<&'a str>,
}

const HEAD: &str = "| situation | what happens | what you see | test | elsewhere |";

fn failure_rows<'a>(page: &'a str, problems: &mut Vec<String>) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    for (at, text) in page.lines().enumerate().filter(|(_, text)| text.starts_with('|')) {
        if text == HEAD || text.starts_with("|---") {
            continue;
        }
        let line = at + 1;
        let cells: Vec<&str> = text.trim().trim_matches('|').split('|').map(str::trim).collect();
        let tests: Vec<&str> = cells
            .get(3)
            .into_iter()
            .flat_map(|cell| cell.split('`').skip(1).step_by(2))
            .collect();
        if cells.len() != 5 || cells[..2].contains(&"") {
            problems.push(format!(
                "line {line}: found {} cells, expected five, the first two not empty",
                cells.len()
            ));
        } else if tests.is_empty() {
            problems.push(format!("line {line}: names no test"));
        } else {
            let seen = cells[2];
            rows.push(Row { line, seen, tests });
        }
    }
    rows
}

/// A test's function, where it is there and runs in its suite: the text of its file, and its own.
fn find_test(name: &str) -> Option<(String, String)> {
    let mut parts: Vec<&str> = name.split("::").collect();
    let (function, suite) = (parts.pop()?, parts.remove(0));
    let folder = match suite {
        "unit" => root().join("src"),
        "e2e" | "delivery" | "control" | "sim" | "chaos" => root().join("tests").join(suite),
        _ => return None,
    };
    let in_module = |file: &PathBuf| {
        let path = relative(file);
        parts
            .iter()
            .all(|part| *part == "tests" || path.contains(&format!("/{part}")))
    };
    rust_files(&folder).into_iter().filter(in_module).find_map(|file| {
        let text = read(&file);
        let at = text.find(&format!("fn {function}("))?;
        let is_ignored = text[..at].lines().rev().take(3).any(|line| line.contains("#[ignore"));
        // Tests with a harness of their own run where they are listed.
        let is_listed = suite != "e2e" || text.lines().any(|line| line == format!("    {function},"));
        let own = function_text(&text, function)?.to_owned();
        (!is_ignored && is_listed).then_some((text, own))
    })
}

fn function_text<'a>(text: &'a str, function: &str) -> Option<&'a str> {
    let at = text.find(&format!("fn {function}("))?;
    let end = text[at..].find("\n}\n").unwrap_or(text.len() - at);
    Some(&text[at..at + end])
}

/// Whether a test looks for what the page says, itself or by another function of its file.
fn looks_at_what_is_seen((file, own): &(String, String)) -> bool {
    let with_test = Regex::new(r"(\w+)\(test, ").unwrap();
    let others = with_test
        .captures_iter(own)
        .filter_map(|found| function_text(file, found.get(1)?.as_str()));
    others
        .chain([own.as_str()])
        .any(|text| text.contains(".sees_what_the_page_says("))
}

#[test]
fn every_row_of_the_failures_has_a_test_that_looks_for_what_it_says() {
    let page = read(&root().join("docs/failures.md"));
    let mut problems = Vec::new();
    let rows = failure_rows(&page, &mut problems);
    assert!(rows.len() >= 50, "found {} rows", rows.len());
    for row in rows {
        let found: Vec<(&str, Option<(String, String)>)> =
            row.tests.iter().map(|test| (*test, find_test(test))).collect();
        let missing = found.iter().filter(|(_, found)| found.is_none());
        problems.extend(missing.map(|(test, _)| format!("line {}: no test {test} runs", row.line)));
        let sees = |(test, found): &(&str, Option<(String, String)>)| {
            test.starts_with("e2e::") && found.as_ref().is_some_and(looks_at_what_is_seen)
        };
        if row.seen.contains('`') && !found.iter().any(sees) {
            problems.push(format!(
                "line {}: none of its tests looks for what it says is seen",
                row.line
            ));
        }
    }
    assert_none(
        &problems,
        "docs/failures.md: each row has tests, and they see what it says",
    );
}

#[test]
fn a_row_without_a_test_is_found() {
    let row = |cells: &str| {
        let mut problems = Vec::new();
        let found = failure_rows(cells, &mut problems).len();
        (found, problems.len())
    };
    assert_eq!(row("| a | b | c | `e2e::x::y` | |"), (1, 0));
    assert_eq!(row("| a | b | c |  | |"), (0, 1));
    assert_eq!(row("| a | b | `e2e::x::y` | |"), (0, 1));
    assert!(find_test("e2e::outage::a_function_that_never_was").is_none());
    assert!(
        find_test("e2e::flights::every_flight_arrives_in_order_though_a_worker_is_killed").is_none(),
        "not in every run"
    );
    assert!(find_test("unit::memo::tests::a_memo_comes_back_as_it_was_written").is_some());
}

#[test]
fn every_row_of_the_counterparts_names_the_version_that_is_tested() {
    let manifests = [
        "functions/requirements.txt",
        "tests/counterparts/python/requirements.txt",
        "tests/counterparts/javascript/package.json",
        "tests/counterparts/go/go.mod",
        "tests/counterparts/java/pom.xml",
    ];
    // A package and its version on a line of their own.
    let name = Regex::new("</artifactId>\\s*<version>").unwrap();
    let manifests = manifests.map(|file| name.replace_all(&read(&root().join(file)), " ").into_owned());
    let is_pinned = |package: &str, version: &str| {
        let package = package.rsplit(':').next().unwrap_or_default();
        let (package, version) = (regex::escape(package), regex::escape(version));
        let line = format!(r#"(?m)(^|["\s>]){package}([^\w-].*)?[^\w.-]v?{version}([^\w.]|$)"#);
        let line = Regex::new(&line).unwrap();
        manifests.iter().any(|manifest| line.is_match(manifest))
    };
    assert!(is_pinned("cloudevents", "10.0.0") && !is_pinned("cloudevents", "10.0.1"));
    let page = read(&root().join("docs/counterparts.md"));
    let row =
        Regex::new(r"^\|[^|]+\| (?:PyPI|npm|Go|Maven) `([^`]+)` \| ([\d.]+) \|[^|]+\|(?: `counterparts::[\w:]+`)+ \|$")
            .unwrap();
    let rows = page.lines().enumerate().filter(|(_, line)| line.starts_with("| `"));
    let problems: Vec<String> = rows
        .filter(|(_, line)| !row.captures(line).is_some_and(|found| is_pinned(&found[1], &found[2])))
        .map(|(at, line)| format!("line {}: {line}", at + 1))
        .collect();
    assert_none(
        &problems,
        "docs/counterparts.md: counterpart, the version that its manifest pins, tests",
    );
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", relative(file)))
}

fn relative(file: &Path) -> String {
    file.strip_prefix(root()).unwrap_or(file).display().to_string()
}

fn assert_none(problems: &[String], rule: &str) {
    assert!(problems.is_empty(), "{rule}:\n  {}", problems.join("\n  "));
}

fn modules_in_reading_order() -> Vec<String> {
    let module = Regex::new(r"(?m)^pub mod (\w+);").unwrap();
    let order: Vec<String> = module
        .captures_iter(&read(&root().join("src/lib.rs")))
        .map(|m| m[1].to_owned())
        .collect();
    assert!(
        APART.iter().all(|name| order.iter().any(|module| module == name)),
        "src/lib.rs lacks one of {APART:?}"
    );
    order
}

/// Lines that are not comments, with their numbers.
fn code_lines(file: &Path) -> Vec<(usize, String)> {
    let text = read(file);
    let lines = text.lines().enumerate().map(|(n, line)| (n + 1, line.to_owned()));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//")).collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    files(folder, "rs")
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn documents() -> Vec<PathBuf> {
    let mut documents = vec![root().join("README.md"), root().join("CHANGELOG.md")];
    documents.extend(files(&root().join("docs"), "md"));
    documents.extend(files(&root().join("functions"), "md"));
    documents.extend(files(&root().join("terraform"), "md"));
    documents
}

/// The root files of all targets: libraries, binaries, tests, benches.
fn targets() -> Vec<PathBuf> {
    let path = Regex::new(r#"(?m)^path = "([^"]+\.rs)""#).unwrap();
    let mut targets = vec![root().join("src/lib.rs"), root().join("src/main.rs")];
    let manifests = ["Cargo.toml", "src/delivery/Cargo.toml", "tests/sim/Cargo.toml"];
    for manifest in manifests.map(|manifest| root().join(manifest)) {
        let folder = manifest.parent().unwrap().to_owned();
        let text = read(&manifest);
        targets.extend(
            path.captures_iter(&text)
                .map(|found| folder.join(&found[1]).canonicalize().unwrap()),
        );
    }
    targets
}

/// Follows a file's `mod name;` lines.
fn declare(file: &Path, declared: &mut BTreeSet<PathBuf>) {
    if !declared.insert(file.to_owned()) {
        return;
    }
    let module = Regex::new(r#"(?m)^\s*(?:#\[path = "([^"]+)"\]\s*)?(?:pub(?:\([^)]*\))? )?mod (\w+);"#).unwrap();
    let folder = file.parent().unwrap();
    let stem = file.file_stem().unwrap().to_str().unwrap();
    let roots = ["mod", "lib", "main"].contains(&stem) || targets().iter().any(|target| target == file);
    let inside = if roots { folder.to_owned() } else { folder.join(stem) };
    for found in module.captures_iter(&read(file)) {
        let candidates = match found.get(1) {
            Some(path) => vec![folder.join(path.as_str())],
            None => vec![
                inside.join(format!("{}.rs", &found[2])),
                inside.join(&found[2]).join("mod.rs"),
            ],
        };
        for candidate in candidates.iter().filter(|candidate| candidate.exists()) {
            declare(&candidate.canonicalize().unwrap(), declared);
        }
    }
}

/// The modules that a Go module names itself, and those whose tools it runs.
fn go_modules(manifest: &Path) -> BTreeSet<String> {
    let text = read(manifest);
    let required = Regex::new(r"(?m)^\t(\S+) v\S+( // indirect)?$").unwrap();
    let tools = Regex::new(r"(?m)^tool (\S+)$").unwrap();
    let tools: Vec<&str> = tools
        .captures_iter(&text)
        .map(|found| found.get(1).unwrap().as_str())
        .collect();
    required
        .captures_iter(&text)
        .filter(|found| found.get(2).is_none() || tools.iter().any(|tool| tool.starts_with(&found[1])))
        .map(|found| found[1].to_owned())
        .collect()
}

/// The names in a manifest's tables of dependencies.
fn dependencies(manifest: &Path) -> BTreeSet<String> {
    let name = Regex::new(r"^([a-z0-9_-]+)(?:\.workspace)?\s*=").unwrap();
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in read(manifest).lines() {
        if line.starts_with('[') {
            inside = ["[dependencies]", "[dev-dependencies]", "[build-dependencies]"].contains(&line);
        } else if let Some(found) = name.captures(line).filter(|_| inside) {
            names.insert(found[1].to_owned());
        }
    }
    names
}
