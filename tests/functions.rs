//! What `fnbridge new function` writes passes its own tests and its own cases, and `fnbridge test` says of functions what is so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Every combination that is offered.
const OFFERED: [(&str, &[&str]); 4] = [
    (
        "python",
        &["json", "raw", "cloudevents_binary", "aws_lambda", "aliyun_fc"],
    ),
    (
        "javascript",
        &["json", "raw", "cloudevents_binary", "aws_lambda", "aliyun_fc"],
    ),
    ("go", &["json", "raw", "cloudevents_binary"]),
    ("java", &["json"]),
];

#[test]
fn a_new_function_in_python_passes_its_tests_and_its_cases() {
    every_contract("python", "python3", &["-m", "unittest"], "OK", ".");
}

#[test]
fn a_new_function_in_javascript_passes_its_tests_and_its_cases() {
    every_contract("javascript", "node", &["--test"], "pass 3", ".");
}

#[test]
fn a_new_function_in_go_passes_its_tests_and_its_cases() {
    every_contract("go", "go", &["test", "./..."], "ok", ".");
}

#[test]
fn a_new_function_in_java_passes_its_tests_and_its_cases() {
    // Maven is slow: one build runs the tests and makes the jar, which has the folder's name.
    let package = ["-B", "-Dstyle.color=never", "package"];
    every_contract(
        "java",
        "mvn",
        &package,
        "Failures: 0, Errors: 0",
        "java -jar target/json.jar",
    );
}

#[test]
fn what_is_not_offered_is_refused_and_nothing_is_overwritten() {
    let folder = Folder::new("refused");
    let new = |words: &str| {
        said(
            fnbridge()
                .args(["new", "function"])
                .args(words.split(' '))
                .current_dir(&folder.0),
        )
    };
    let (code, text) = new("--lang go --contract aws_lambda x");
    assert_eq!(
        (code, text.contains("aws_lambda is there in python, javascript")),
        (Some(2), true),
        "{text}"
    );
    assert!(!folder.0.join("x").exists());
    assert_eq!(new("--lang python mine").0, Some(0));
    fs::write(folder.0.join("mine/function.py"), "# mine").unwrap();
    let (code, text) = new("--lang python --contract raw mine");
    assert_eq!((code, text.contains("function.py")), (Some(2), true), "{text}");
    assert_eq!(fs::read_to_string(folder.0.join("mine/function.py")).unwrap(), "# mine");
}

#[test]
fn a_case_that_fails_is_told_by_where_it_differs_and_by_the_exit_status() {
    let folder = Folder::new("fails");
    let cases = folder.0.join("cases.json");
    let case = |expected: &str| {
        format!(r#"[{{"name": "an alert", "value": {{"service": "s", "level": "info"}}, {expected}}}]"#)
    };
    let test = |more: &[&str]| {
        let function = root().join("functions/alert/alert.py");
        said(
            fnbridge()
                .arg("test")
                .arg("--cases")
                .arg(&cases)
                .arg("--function")
                .arg(function)
                .args(more),
        )
    };
    fs::write(&cases, case(r#""drop": true"#)).unwrap();
    assert_eq!(test(&[]), (Some(0), "ok     an alert\n1 passed, 0 failed\n".to_owned()));
    fs::write(&cases, case(r#""retry": 7"#)).unwrap();
    let expected = "FAILED an alert\n         expected to be called again after 7 ms\n         found    it is dropped\n0 passed, 1 failed\n";
    assert_eq!(test(&[]), (Some(1), expected.to_owned()));
    let (code, page) = test(&["-o", "json"]);
    assert_eq!((code, page.contains(r#""found": "drop""#)), (Some(1), true), "{page}");
    fs::write(&cases, case(r#""retries": 7"#)).unwrap();
    let (code, text) = test(&[]);
    assert_eq!((code, text.contains("cases.json:1:")), (Some(2), true), "{text}");
}

#[test]
fn a_function_that_does_not_serve_is_told_with_what_it_wrote() {
    let cases = root().join("functions/alert/cases.json");
    let (code, text) = said(
        fnbridge()
            .arg("test")
            .arg("--cases")
            .arg(cases)
            .args(["--function", "echo oops >&2; exit 4"]),
    );
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("ended before it served (exit status: 4)") && text.contains("  | oops"),
        "{text}"
    );
}

#[test]
fn the_examples_do_what_their_cases_say() {
    for (cases, function) in [
        ("cases.json", "orders/python/orders.py"),
        ("cases.json", "orders/javascript"),
        ("cases.json", "orders/go"),
        ("flights/cases.json", "flights/flights.py"),
        ("alert/cases.json", "alert"),
        ("search/cases.json", "search"),
        ("warehouse/cases.json", "warehouse"),
    ] {
        let functions = root().join("functions");
        let (cases, function) = (functions.join(cases), functions.join(function));
        let (code, text) = said(
            fnbridge()
                .arg("test")
                .arg("--cases")
                .arg(cases)
                .arg("--function")
                .arg(function),
        );
        assert_eq!(code, Some(0), "{text}");
    }
}

/// Writes the function of each contract, and runs its own tests and `fnbridge test`.
fn every_contract(language: &str, runner: &str, test: &[&str], passes: &str, function: &str) {
    let (_, contracts) = OFFERED.iter().find(|(name, _)| *name == language).unwrap();
    let folder = Folder::new(language);
    for contract in *contracts {
        let own = folder.0.join(contract);
        let (code, text) = said(
            fnbridge()
                .args(["new", "function", "--lang", language, "--contract", contract])
                .arg(&own),
        );
        assert_eq!(code, Some(0), "{contract}: {text}");
        let (code, text) = said(Command::new(runner).args(test).current_dir(&own));
        assert!(code == Some(0) && text.contains(passes), "{contract}: {text}");
        let tried = said(
            fnbridge()
                .args(["test", "--cases", "cases.json", "--function", function])
                .current_dir(&own),
        );
        assert_eq!(tried.0, Some(0), "{contract}: {}", tried.1);
        let checked = said(fnbridge().args(["check", "-f", "pipeline.yaml"]).current_dir(&own));
        assert_eq!(checked.0, Some(0), "{contract}: {}", checked.1);
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn fnbridge() -> Command {
    Command::new(env!("CARGO_BIN_EXE_fnbridge"))
}

/// How it ended, and all that it said.
fn said(command: &mut Command) -> (Option<i32>, String) {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

/// A folder of a test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("fnbridge-functions-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in a temporary folder hurts nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}
