//! What runs a local function: decided by what it is, said in words when it can't be.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::exports::{self, Language};
use super::folder::{self, Entry};
use crate::cli::contract::Contract;
use crate::config;

/// Serves the `verdict` or `handler` of a Python file.
const PYTHON_HOST: &str = include_str!("../../../functions/serve.py");
/// The same in JavaScript.
const JAVASCRIPT_HOST: &str = include_str!("../../../functions/serve.mjs");

/// What a file may be.
const EXPECTED: &str = "expected a .py, .js, .mjs or .go file, a program, a folder, or a command";

/// How a function is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Way {
    /// What a person would type.
    pub(in crate::cli) shown: String,
    /// The program.
    pub(super) program: String,
    /// What it is started with.
    pub(super) args: Vec<String>,
    /// What its environment has beside ours.
    pub(super) environment: Vec<(String, OsString)>,
    /// Where it is started.
    pub(super) folder: PathBuf,
    /// Where its files are.
    pub(in crate::cli) watched: PathBuf,
    /// The contract that it is called under.
    pub(in crate::cli) contract: Contract,
}

impl Way {
    /// How `--function` is run. The contract is the one that was asked for, else that of a `pipeline.yaml` beside it, else `json`.
    ///
    /// # Errors
    /// What was found, and what was expected.
    pub(in crate::cli) fn of(function: &str, contract: Option<Contract>) -> Result<Way, String> {
        if is_command(function, Path::new(function).exists()) {
            let here = env::current_dir().map_err(|error| format!("the current folder: {error}"))?;
            let contract = contract_beside(&here, contract)?;
            return Ok(shell(function, here, contract));
        }
        let path = fs::canonicalize(function).map_err(|error| format!("{function}: {error}; {EXPECTED}"))?;
        let folder = match path.is_dir() {
            true => path.clone(),
            false => path.parent().unwrap_or(Path::new("/")).to_owned(),
        };
        let contract = contract_beside(&folder, contract)?;
        if !path.is_dir() {
            return file(&path, folder, contract);
        }
        match folder::entry(&path)? {
            Entry::File(path) => file(&path, folder, contract),
            Entry::Go => Ok(program("go", &["run", "."], folder, contract)),
            Entry::Maven => Ok(shell(MAVEN, folder, contract)),
            Entry::Script(script) => Ok(node_script(&script, folder, contract)),
        }
    }
}

/// Builds a jar, and runs it.
const MAVEN: &str = "mvn -B -q -Dmaven.test.skip=true package && exec java -jar target/*.jar";

/// What is no path is a command. A name that could only be a path is one, even where nothing is there.
fn is_command(function: &str, exists: bool) -> bool {
    let looks_like_a_path = !function.contains(char::is_whitespace)
        && (function.contains('/') || [".py", ".js", ".mjs", ".go"].iter().any(|end| function.ends_with(end)));
    !exists && !looks_like_a_path
}

fn file(path: &Path, folder: PathBuf, contract: Contract) -> Result<Way, String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("py") => served(path, Language::Python, folder, contract),
        Some("js" | "mjs" | "cjs") => served(path, Language::JavaScript, folder, contract),
        Some("go") if folder.join("go.mod").exists() => Ok(program("go", &["run", "."], folder, contract)),
        Some("go") => Ok(program("go", &["run", &name], folder, contract)),
        _ if is_program(path) => Ok(program(&path.to_string_lossy(), &[], folder, contract)),
        _ => Err(format!("found {name}, {EXPECTED}")),
    }
}

/// A file that asks for its port is run as it is, and so is one that exports nothing that could be called.
fn served(path: &Path, language: Language, folder: PathBuf, contract: Contract) -> Result<Way, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let interpreter = match language {
        Language::Python => python(&folder),
        Language::JavaScript => "node".to_owned(),
    };
    let exports = |wanted: &str| exports::exports(language, wanted, &text);
    if exports::reads_port(&text) || !contract.handler().is_some_and(exports) {
        if contract == Contract::Json && !exports::reads_port(&text) && exports("handler") {
            let clouds = "say which with --contract aws_lambda or --contract aliyun_fc";
            return Err(format!("{name} has a `handler`, as clouds call one: {clouds}"));
        }
        return Ok(program(&interpreter, &[&name], folder, contract));
    }
    let path = path.to_string_lossy();
    let args: &[&str] = match language {
        Language::Python => &["-c", PYTHON_HOST, &path, contract.name()],
        Language::JavaScript => &[
            "--input-type=module",
            "-e",
            JAVASCRIPT_HOST,
            "--",
            &path,
            contract.name(),
        ],
    };
    let mut way = program(&interpreter, args, folder, contract);
    way.shown = format!("{name} ({})", contract.handler().unwrap_or_default());
    Ok(way)
}

/// The folder's own Python, where it has one.
fn python(folder: &Path) -> String {
    let own = folder.join(".venv/bin/python");
    match own.exists() {
        true => own.to_string_lossy().into_owned(),
        false => "python3".to_owned(),
    }
}

fn program(program: &str, args: &[&str], folder: PathBuf, contract: Contract) -> Way {
    Way {
        shown: std::iter::once(program)
            .chain(args.iter().copied())
            .collect::<Vec<_>>()
            .join(" "),
        program: program.to_owned(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        environment: Vec::new(),
        watched: folder.clone(),
        folder,
        contract,
    }
}

fn shell(command: &str, folder: PathBuf, contract: Contract) -> Way {
    Way {
        shown: command.to_owned(),
        ..program("sh", &["-c", command], folder, contract)
    }
}

/// As `npm start` would run it, which need not be there.
fn node_script(script: &str, folder: PathBuf, contract: Contract) -> Way {
    let mut path = OsString::from(folder.join("node_modules/.bin"));
    path.push(":");
    path.push(env::var_os("PATH").unwrap_or_default());
    Way {
        environment: vec![("PATH".to_owned(), path)],
        ..shell(script, folder, contract)
    }
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// The contract that the function's own pipeline says, where it lies beside it and none was asked for.
fn contract_beside(folder: &Path, asked: Option<Contract>) -> Result<Contract, String> {
    let pipeline = folder.join("pipeline.yaml");
    if let Some(contract) = asked {
        return Ok(contract);
    }
    if !pipeline.exists() {
        return Ok(Contract::default());
    }
    let documents = config::documents(&pipeline).map_err(|problems| problems.to_string())?;
    let said = documents
        .iter()
        .find_map(|document| document["function"]["contract"].as_str());
    match said {
        None => Ok(Contract::default()),
        Some(name) => {
            let unknown = || {
                format!(
                    "{}: found the contract {}, which is none",
                    pipeline.display(),
                    Value::from(name)
                )
            };
            Contract::named(name).ok_or_else(unknown)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn functions(path: &str) -> String {
        format!("{}/functions/{path}", env!("CARGO_MANIFEST_DIR"))
    }

    fn shown(path: &str, contract: Option<Contract>) -> (String, Contract) {
        let way = Way::of(&functions(path), contract).unwrap();
        (way.shown, way.contract)
    }

    #[test]
    fn what_is_no_path_is_a_command() {
        let table = [
            ("orders.py", true, false),
            ("orders.py", false, false),
            ("./server", false, false),
            ("my function/", true, false),
            ("node server.js --fast", false, true),
            ("bin/serve --port $PORT", false, true),
            ("functions-framework", false, true),
        ];
        for (function, exists, command) in table {
            assert_eq!(is_command(function, exists), command, "{function}");
        }
    }

    #[test]
    fn each_example_is_run_by_what_it_is() {
        use Contract::{AliyunFc, AwsLambda, Json};
        let table = [
            ("orders/python/orders.py", None, "orders.py (verdict)", Json),
            ("orders/python", None, "orders.py (verdict)", Json),
            ("orders/javascript/orders.js", None, "orders.js (verdict)", Json),
            ("orders/javascript/server.js", None, "node server.js", Json),
            ("orders/javascript", None, "node server.js", Json),
            ("orders/go", None, "go run .", Json),
            ("orders/go/main.go", None, "go run .", Json),
            ("orders/java", None, MAVEN, Json),
            (
                "orders/aws_lambda/handler.py",
                Some(AwsLambda),
                "handler.py (handler)",
                AwsLambda,
            ),
            ("orders/aliyun_fc", Some(AliyunFc), "index.py (handler)", AliyunFc),
            (
                "orders/aliyun_fc/server.py",
                Some(AliyunFc),
                "python3 server.py",
                AliyunFc,
            ),
            ("alert", None, "alert.py (verdict)", Json),
        ];
        for (path, asked, command, contract) in table {
            assert_eq!(shown(path, asked), (command.to_owned(), contract), "{path}");
        }
    }

    #[test]
    fn what_can_not_be_run_is_said_with_what_was_expected() {
        let refused = |function: &str| Way::of(function, None).unwrap_err();
        assert!(refused("no-such.py").ends_with(EXPECTED));
        assert!(refused(&functions("cases.json")).starts_with("found cases.json, expected a .py"));
        let handler = refused(&functions("orders/aws_lambda/handler.py"));
        assert!(handler.contains("--contract aws_lambda"), "{handler}");
        let empty = refused(&functions("orders"));
        assert!(empty.contains("expected go.mod"), "{empty}");
    }
}
