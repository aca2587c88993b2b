//! The files that a new function starts with: those of `functions/templates/`, as they stand there.

use clap::ValueEnum;

use crate::cli::contract::Contract;

/// A language that functions are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// Python 3.
    Python,
    /// JavaScript, on Node.
    #[value(name = "javascript")]
    JavaScript,
    /// Go.
    Go,
    /// Java 17, with Maven.
    Java,
}

/// One file: its path in the new folder, and its text.
pub(super) type File = (&'static str, &'static str);

/// A function to start from.
pub(super) struct Template {
    pub(super) language: Language,
    pub(super) contract: Contract,
    /// What is its own.
    pub(super) files: &'static [File],
    /// How its tests are run.
    pub(super) test: &'static str,
    /// How it is run elsewhere, in a sentence.
    pub(super) serve: &'static str,
}

macro_rules! text {
    ($file:literal) => {
        include_str!(concat!("../../../functions/templates/", $file))
    };
}

macro_rules! files {
    ($folder:literal: $($name:literal),+ $(; $($more:expr),+)?) => {
        &[$(($name, include_str!(concat!("../../../functions/templates/", $folder, "/", $name)))),+ $(, $($more),+)?]
    };
}

const PYTHON_TEST: &str = "python3 -m unittest";
const NODE_TEST: &str = "node --test";
const GO_TEST: &str = "go test ./...";

const PYTHON_HOST: File = ("serve.py", include_str!("../../../functions/serve.py"));
const NODE_HOST: File = ("serve.mjs", include_str!("../../../functions/serve.mjs"));
const GO_MODULE: File = ("go.mod", text!("go/go.mod"));

const PYTHON_SERVES: &str = "`python3 function.py` serves it anywhere, on `HOST` and `PORT`.";
const NODE_SERVES: &str = "`node function.mjs` serves it anywhere, on `HOST` and `PORT`.";
const GO_SERVES: &str = "`go build` makes a program that serves it anywhere, on `HOST` and `PORT`.";
const LAMBDA: &str = "On Lambda, its handler is `function.handler`.";
const FUNCTION_COMPUTE: &str = "On Function Compute, its handler is `function.handler`.";

/// Every combination that there is.
pub(super) const TEMPLATES: [Template; 14] = {
    use Contract::{AliyunFc, AwsLambda, CloudeventsBinary, Json, Raw};
    use Language::{Go, Java, JavaScript, Python};
    const fn template(
        language: Language,
        contract: Contract,
        files: &'static [File],
        test: &'static str,
        serve: &'static str,
    ) -> Template {
        Template {
            language,
            contract,
            files,
            test,
            serve,
        }
    }
    [
        template(
            Python,
            Json,
            files!("python/json": "function.py", "test_function.py"; PYTHON_HOST),
            PYTHON_TEST,
            "`python3 serve.py function.py` serves it anywhere, on `HOST` and `PORT`.",
        ),
        template(
            Python,
            Raw,
            files!("python/raw": "function.py", "test_function.py"),
            PYTHON_TEST,
            PYTHON_SERVES,
        ),
        template(
            Python,
            CloudeventsBinary,
            files!("python/cloudevents_binary": "function.py", "test_function.py"),
            PYTHON_TEST,
            PYTHON_SERVES,
        ),
        template(
            Python,
            AwsLambda,
            files!("python/aws_lambda": "function.py", "test_function.py"),
            PYTHON_TEST,
            LAMBDA,
        ),
        template(
            Python,
            AliyunFc,
            files!("python/aliyun_fc": "function.py", "test_function.py"),
            PYTHON_TEST,
            FUNCTION_COMPUTE,
        ),
        template(
            JavaScript,
            Json,
            files!("javascript/json": "function.mjs", "function.test.mjs"; NODE_HOST),
            NODE_TEST,
            "`node serve.mjs function.mjs` serves it anywhere, on `HOST` and `PORT`.",
        ),
        template(
            JavaScript,
            Raw,
            files!("javascript/raw": "function.mjs", "function.test.mjs"),
            NODE_TEST,
            NODE_SERVES,
        ),
        template(
            JavaScript,
            CloudeventsBinary,
            files!("javascript/cloudevents_binary": "function.mjs", "function.test.mjs"),
            NODE_TEST,
            NODE_SERVES,
        ),
        template(
            JavaScript,
            AwsLambda,
            files!("javascript/aws_lambda": "function.mjs", "function.test.mjs"),
            NODE_TEST,
            LAMBDA,
        ),
        template(
            JavaScript,
            AliyunFc,
            files!("javascript/aliyun_fc": "function.mjs", "function.test.mjs"),
            NODE_TEST,
            FUNCTION_COMPUTE,
        ),
        template(
            Go,
            Json,
            files!("go/json": "main.go", "function.go", "main_test.go"; GO_MODULE),
            GO_TEST,
            GO_SERVES,
        ),
        template(
            Go,
            Raw,
            files!("go/raw": "main.go", "main_test.go"; GO_MODULE),
            GO_TEST,
            GO_SERVES,
        ),
        template(
            Go,
            CloudeventsBinary,
            files!("go/cloudevents_binary": "main.go", "main_test.go"; GO_MODULE),
            GO_TEST,
            GO_SERVES,
        ),
        template(
            Java,
            Json,
            files!("java/json":
                "pom.xml",
                "src/main/java/Function.java",
                "src/main/java/Server.java",
                "src/test/java/FunctionTest.java"),
            "mvn test",
            "`mvn package` makes `target/my-function.jar`, which serves it anywhere, on `HOST` and `PORT`, with `target/lib` beside it.",
        ),
    ]
};

/// What all functions of a contract have.
pub(super) fn of_contract(contract: Contract) -> [File; 2] {
    let (cases, pipeline) = match contract {
        Contract::Raw => (text!("contracts/raw/cases.json"), text!("contracts/raw/pipeline.yaml")),
        Contract::CloudeventsBinary | Contract::CloudeventsStructured | Contract::CloudeventsBatch => (
            text!("contracts/cloudevents_binary/cases.json"),
            text!("contracts/cloudevents_binary/pipeline.yaml"),
        ),
        Contract::AwsLambda => (
            text!("contracts/aws_lambda/cases.json"),
            text!("contracts/aws_lambda/pipeline.yaml"),
        ),
        Contract::AliyunFc => (
            text!("contracts/aliyun_fc/cases.json"),
            text!("contracts/aliyun_fc/pipeline.yaml"),
        ),
        Contract::Json => (
            text!("contracts/json/cases.json"),
            text!("contracts/json/pipeline.yaml"),
        ),
    };
    [("cases.json", cases), ("pipeline.yaml", pipeline)]
}

/// What all functions have.
pub(super) const README: &str = text!("README.md");
