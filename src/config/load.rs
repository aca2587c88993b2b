//! Reading a worker's configuration with all its pipelines, or pipelines alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::build::{self, Clusters, Surroundings, WorkerSettings};
use super::document::{PipelineDoc, WorkerDoc};
use super::files::{self, Text};
use super::path::Path;
use super::problem::{Code, KnownSecrets, Problem, Problems, Report};
use super::schema::{pipeline_schema, worker_schema};
use super::shape::conform;
use super::yaml::Node;
use crate::http::AddressPolicy;
use crate::pipeline::PipelineSettings;

/// A worker's configuration, whole.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The worker.
    pub worker: WorkerSettings,
    /// Its pipelines, in the order of their files, before they share what the worker may hold.
    pub pipelines: Vec<PipelineSettings>,
    /// Their documents, as they were written, by name.
    pub documents: BTreeMap<String, Value>,
    /// What further documents are held against.
    pub foundation: Foundation,
    /// The files that were read.
    pub files: Vec<PathBuf>,
}

/// What a worker's configuration says for pipelines that are registered later.
#[derive(Clone, Debug)]
pub struct Foundation {
    worker: WorkerSettings,
    clusters: Clusters,
    base: PathBuf,
}

/// A document that was found to be right.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The document, as it was written.
    pub document: Value,
    /// What it says.
    pub settings: PipelineSettings,
}

impl Foundation {
    /// What pipelines are held against on this worker.
    pub fn new(worker: WorkerSettings, base: PathBuf) -> Foundation {
        let clusters = (worker.clusters.iter()).map(|(name, cluster)| (name.clone(), Some(cluster.clone())));
        Foundation {
            clusters: clusters.collect(),
            worker,
            base,
        }
    }

    /// The worker that it is about.
    pub fn worker(&self) -> &WorkerSettings {
        &self.worker
    }

    /// The folder that files named in documents are relative to.
    pub fn base(&self) -> &FilePath {
        &self.base
    }

    /// Checks a text that holds one pipeline, as YAML or JSON; it may refer to these secrets.
    ///
    /// # Errors
    /// Every problem.
    pub fn pipeline(&self, text: &str, secrets: &BTreeMap<String, String>) -> Result<Registration, Problems> {
        let name = "document".to_owned();
        let (text, problems) = files::parse(name.clone(), self.base.clone(), text);
        let mut fleet = Fleet {
            worker: Some((self.worker.clone(), self.clusters.clone())),
            secrets: KnownSecrets::These(secrets.clone()),
            problems,
            ..Fleet::default()
        };
        match text.documents.as_slice() {
            [document] => fleet.take_pipeline(&text, document),
            [] => {}
            more => {
                let message = format!("found {} documents, expected one: a pipeline's", more.len());
                fleet.problems.push(files::problem(&name, Code::InvalidYaml, message));
            }
        }
        match (fleet.pipelines.pop(), text.documents.first()) {
            (Some(settings), Some(document)) if fleet.problems.is_empty() => Ok(Registration {
                document: document.to_value(),
                settings,
            }),
            _ => Err(Problems(fleet.problems)),
        }
    }
}

/// What was checked.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// The names of the pipelines without a problem.
    pub pipelines: Vec<String>,
    /// All that is wrong.
    pub problems: Problems,
}

/// Reads a worker's configuration and its pipelines.
///
/// # Errors
/// Every problem of every file.
pub fn load(file: &FilePath) -> Result<Loaded, Problems> {
    let mut fleet = Fleet {
        secrets: KnownSecrets::NotHere,
        ..Fleet::default()
    };
    let worker = fleet.take_worker(file);
    match worker {
        Some(worker) if fleet.problems.is_empty() => {
            let clusters = fleet.worker.map(|(_, clusters)| clusters).unwrap_or_default();
            let foundation = Foundation {
                worker: worker.clone(),
                clusters,
                base: file.parent().unwrap_or(FilePath::new("")).to_owned(),
            };
            Ok(Loaded {
                pipelines: fleet.pipelines,
                documents: fleet.documents,
                worker,
                foundation,
                files: fleet.files.into_iter().collect(),
            })
        }
        Some(_) | None => Err(Problems(fleet.problems)),
    }
}

/// Checks files of pipelines or workers' configurations with their pipelines; `-` is standard input. With `worker`,
/// pipelines are checked as that worker would run them, else any name of a cluster will do.
pub fn check(files: &[PathBuf], worker: Option<&FilePath>) -> Checked {
    let mut fleet = Fleet::default();
    if let Some(worker) = worker {
        fleet.take_worker(worker);
    }
    for file in files {
        if fleet.is_new(file) {
            let (text, problems) = files::read(file);
            fleet.problems.extend(problems);
            text.iter().for_each(|text| fleet.take_any(text));
        }
    }
    fleet.checked()
}

/// The documents of a file, as they are written; `-` is standard input.
///
/// # Errors
/// A file that can't be read, or is not YAML.
pub fn documents(file: &FilePath) -> Result<Vec<Value>, Problems> {
    let (text, problems) = files::read(file);
    match text {
        Some(text) if problems.is_empty() => Ok(text.documents.iter().map(Node::to_value).collect()),
        Some(_) | None => Err(Problems(problems)),
    }
}

/// Checks a text as if it stood in a file of this name.
pub fn check_text(name: &str, text: &str) -> Checked {
    let mut fleet = Fleet::default();
    let (text, problems) = files::parse(name.to_owned(), PathBuf::new(), text);
    fleet.problems.extend(problems);
    fleet.take_any(&text);
    fleet.checked()
}

/// Whether a document has more of a worker's fields than of a pipeline's.
pub(super) fn is_worker(document: &Node) -> bool {
    let fields = |schema: &Value| -> usize {
        let names = schema["properties"].as_object().into_iter().flatten();
        names.filter(|(name, _)| document.get(name).is_some()).count()
    };
    fields(worker_schema()) > fields(pipeline_schema())
}

/// What was read so far.
#[derive(Default)]
struct Fleet {
    worker: Option<(WorkerSettings, Clusters)>,
    pipelines: Vec<PipelineSettings>,
    documents: BTreeMap<String, Value>,
    files: BTreeSet<PathBuf>,
    /// Where each name stands, and each group of a cluster.
    names: BTreeMap<String, String>,
    groups: BTreeMap<(String, String), String>,
    problems: Vec<Problem>,
    secrets: KnownSecrets,
}

impl Fleet {
    fn checked(self) -> Checked {
        Checked {
            pipelines: self.pipelines.into_iter().map(|pipeline| pipeline.name).collect(),
            problems: Problems(self.problems),
        }
    }

    /// Each file counts once, however often and by whatever path it is named.
    fn is_new(&mut self, file: &FilePath) -> bool {
        let whole = std::fs::canonicalize(file);
        self.files.insert(whole.unwrap_or_else(|_| file.to_owned()))
    }

    fn take_any(&mut self, text: &Text) {
        for document in &text.documents {
            if is_worker(document) {
                self.take_worker_document(text, document);
            } else {
                self.take_pipeline(text, document);
            }
        }
    }

    fn take_worker(&mut self, file: &FilePath) -> Option<WorkerSettings> {
        self.is_new(file);
        let (text, problems) = files::read(file);
        self.problems.extend(problems);
        let text = text?;
        if text.documents.len() > 1 {
            let message = format!("found {} documents, expected one: a worker's", text.documents.len());
            self.problems
                .push(files::problem(&text.name, Code::InvalidYaml, message));
        }
        let document = text.documents.first()?;
        Some(self.take_worker_document(&text, document))
    }

    fn take_worker_document(&mut self, text: &Text, document: &Node) -> WorkerSettings {
        let mut report = Report::new(&text.name, document);
        let doc: WorkerDoc = read(document, worker_schema(), &mut report);
        let (settings, clusters) = build::worker(&doc, &text.base, &mut report);
        let mut pipelines = Vec::new();
        for (n, pattern) in doc.pipelines.iter().enumerate() {
            match files::matching(pattern, &text.base) {
                Ok(files) => pipelines.extend(files),
                Err(message) => report.value(&Path::of("pipelines").index(n), Code::InvalidValue, message),
            }
        }
        self.problems.extend(report.into_problems());
        self.worker = Some((settings.clone(), clusters));
        pipelines.iter().for_each(|file| self.take_pipelines(file));
        settings
    }

    fn take_pipelines(&mut self, file: &FilePath) {
        if !self.is_new(file) {
            return;
        }
        let (text, problems) = files::read(file);
        self.problems.extend(problems);
        if let Some(text) = text {
            text.documents
                .iter()
                .for_each(|document| self.take_pipeline(&text, document));
        }
    }

    fn take_pipeline(&mut self, text: &Text, document: &Node) {
        let mut report = Report::new(&text.name, document).with_secrets(&self.secrets);
        let doc: PipelineDoc = read(document, pipeline_schema(), &mut report);
        let anywhere = Arc::<AddressPolicy>::default();
        let around = match &self.worker {
            Some((worker, clusters)) => Surroundings {
                worker: &worker.id,
                id_lasts: worker.id_lasts,
                clusters: Some(clusters),
                policy: &worker.policy,
                base: &text.base,
            },
            None => Surroundings {
                worker: "check",
                id_lasts: false,
                clusters: None,
                policy: &anywhere,
                base: &text.base,
            },
        };
        let settings = build::pipeline(&doc, revision(document), &around, &mut report);
        self.refuse_twins(&doc, document, &mut report);
        if report.is_clean() {
            self.documents.insert(doc.name.clone(), document.to_value());
            self.pipelines.extend(settings);
        }
        self.problems.extend(report.into_problems());
    }

    /// A name and a group belong to one pipeline.
    fn refuse_twins(&mut self, doc: &PipelineDoc, document: &Node, report: &mut Report<'_>) {
        let (name, group) = (Path::of("name"), Path::of("source.group"));
        if report.is_broken(&name) {
            return;
        }
        let here = format!("{}:{}", report.file(), document.at.line);
        if let Some(other) = self.names.get(&doc.name) {
            let message = format!(
                "another pipeline is called {}, in {other}; expected names that differ",
                doc.name
            );
            report.between(&[&name], Code::Conflict, message);
            return;
        }
        self.names.insert(doc.name.clone(), here.clone());
        let its_group = doc
            .source
            .group
            .clone()
            .unwrap_or_else(|| format!("fnbridge-{}", doc.name));
        let key = (doc.source.cluster.clone(), its_group);
        if let Some(other) = self.groups.get(&key) {
            let message = format!(
                "the group {} belongs to the pipeline in {other}; expected one of its own",
                key.1
            );
            report.between(&[&group, &Path::of("source.cluster")], Code::Conflict, message);
            return;
        }
        self.groups.insert(key, here);
    }
}

pub(super) fn read<T: DeserializeOwned + Default>(document: &Node, schema: &Value, report: &mut Report<'_>) -> T {
    let value = conform(document, schema, report);
    serde_json::from_value(value).unwrap_or_else(|error| {
        // The schema and the type are one: this is a mistake of ours, and no reason to start.
        report.value(
            &Path::root(),
            Code::InvalidValue,
            format!("the document can't be read: {error}"),
        );
        T::default()
    })
}

/// The start of the SHA-256 of a document's values: neither comments nor the order of fields change it.
fn revision(document: &Node) -> String {
    let mut value = document.to_value();
    value.sort_all_objects();
    let digest = Sha256::digest(value.to_string().as_bytes());
    digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
