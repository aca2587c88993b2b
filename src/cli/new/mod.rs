//! `fnbridge new`: a function to start from.

mod templates;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use self::templates::{Language, README, TEMPLATES, Template, of_contract};
use super::contract::Contract;
use super::{INVALID, pipeline_name};

/// The name that templates have in place of the function's.
const NAME: &str = "my-function";

/// Write something to start from
#[derive(Args, Clone, Debug)]
pub struct NewArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    Function(FunctionArgs),
}

/// Write a function to start from, with its tests, its cases and its pipeline
///
/// Nothing that is there is overwritten. json, raw and cloudevents_binary are there in Python, JavaScript and Go, json in Java, too;
/// aws_lambda and aliyun_fc in Python and JavaScript.
#[derive(Args, Clone, Debug)]
struct FunctionArgs {
    /// The language
    #[arg(long, value_enum)]
    lang: Language,

    /// What it speaks
    #[arg(long, value_enum, default_value_t)]
    contract: Contract,

    /// The folder; it need not be there
    #[arg(default_value = ".")]
    dir: PathBuf,
}

impl NewArgs {
    /// Writes it, and says what to do with it.
    pub(super) fn run(&self) -> ExitCode {
        let What::Function(args) = &self.what;
        let written = template(args.lang, args.contract).and_then(|template| write(template, &args.dir));
        match written {
            Ok(files) => {
                print_written(&args.dir, &files);
                ExitCode::SUCCESS
            }
            Err(reason) => {
                eprintln!("error: {reason}");
                ExitCode::from(INVALID)
            }
        }
    }
}

fn template(language: Language, contract: Contract) -> Result<&'static Template, String> {
    let is_it = |template: &&Template| template.language == language && template.contract == contract;
    TEMPLATES.iter().find(is_it).ok_or_else(|| {
        let same_language = TEMPLATES.iter().filter(|template| template.language == language);
        let contracts: Vec<&str> = same_language.map(|template| template.contract.name()).collect();
        let same_contract = TEMPLATES.iter().filter(|template| template.contract == contract);
        let languages: Vec<String> = same_contract.map(|template| name_of(template.language)).collect();
        let (language, contract) = (name_of(language), contract.name());
        let mut said = format!(
            "found {contract} in {language}, which is not there: {language} has {}",
            contracts.join(", ")
        );
        if !languages.is_empty() {
            said.push_str(&format!("; {contract} is there in {}", languages.join(", ")));
        }
        said
    })
}

fn name_of(language: Language) -> String {
    language
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}

/// The files of a function by this name.
fn files(template: &Template, name: &str) -> Vec<(&'static str, String)> {
    let readme = README.replace("RUN_ITS_TESTS", &format!("{:<52} # its own tests", template.test));
    let readme = readme.replace("SERVE_IT", template.serve);
    let fixed = template.files.iter().copied().chain(of_contract(template.contract));
    let fixed = fixed.map(|(path, text)| (path, text.to_owned()));
    fixed
        .chain([("README.md", readme)])
        .map(|(path, text)| (path, text.replace(NAME, name)))
        .collect()
}

/// Writes all of them, or none where one is there.
fn write(template: &Template, folder: &Path) -> Result<Vec<&'static str>, String> {
    let failed = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    let whole = fs::canonicalize(folder).map_err(|error| failed(folder, error))?;
    let name = pipeline_name(&whole.file_name().unwrap_or_default().to_string_lossy());
    let files = files(template, &name);
    let there: Vec<&str> = files
        .iter()
        .map(|(path, _)| *path)
        .filter(|path| folder.join(path).exists())
        .collect();
    if !there.is_empty() {
        let (there, folder) = (there.join(", "), folder.display());
        return Err(format!(
            "{folder} has {there}, and nothing is overwritten; expected a folder without them"
        ));
    }
    for (path, text) in &files {
        let path = folder.join(path);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(|error| failed(parent, error))?;
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|error| failed(&path, error))?;
        io::Write::write_all(&mut file, text.as_bytes()).map_err(|error| failed(&path, error))?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

fn print_written(folder: &Path, files: &[&str]) {
    for file in files {
        println!("{}", folder.join(file).display());
    }
    let here = if folder == Path::new(".") {
        String::new()
    } else {
        format!("cd {} && ", folder.display())
    };
    eprintln!("README.md says what to do with it. Next: {here}fnbridge dev --function .");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_refused_with_what_is() {
        let refused = |language, contract| template(language, contract).err().unwrap();
        assert_eq!(
            refused(Language::Go, Contract::AwsLambda),
            "found aws_lambda in go, which is not there: go has json, raw, cloudevents_binary; aws_lambda is there in python, javascript"
        );
        assert_eq!(
            refused(Language::Java, Contract::CloudeventsBatch),
            "found cloudevents_batch in java, which is not there: java has json"
        );
    }

    #[test]
    fn every_template_is_there_once_and_takes_the_folders_name() {
        for wanted in &TEMPLATES {
            let is_it = |other: &&Template| other.language == wanted.language && other.contract == wanted.contract;
            assert_eq!(TEMPLATES.iter().filter(is_it).count(), 1);
            let files = files(wanted, "orders");
            for token in [NAME, "RUN_ITS_TESTS", "SERVE_IT"] {
                assert!(files.iter().all(|(_, text)| !text.contains(token)), "{token}");
            }
            let pipeline = files.iter().find(|(path, _)| *path == "pipeline.yaml").unwrap();
            assert!(pipeline.1.contains("name: orders\n"));
            let problems = crate::config::check_text("pipeline.yaml", &pipeline.1).problems;
            assert!(problems.0.is_empty(), "{problems}");
        }
    }
}
