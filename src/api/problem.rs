//! What goes wrong with a request, as `application/problem+json` (RFC 9457). Each code has its page in `docs/errors.md`.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::wire::{FieldProblem, ProblemDocument};
use crate::config::{Code, Problems};
use crate::control::registry::{ChangeError, Refusal};
use crate::store::StoreError;

/// Where a code is explained: a worker serves the page.
const PAGES: &str = "/v1/errors#";

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    kind: Kind,
    detail: String,
    field: Option<String>,
    problems: Vec<FieldProblem>,
    revision: Option<u64>,
}

macro_rules! kinds {
    ($($kind:ident $code:literal $status:ident $title:literal $does:literal;)*) => {
        /// Each kind of problem.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $(#[doc = $title] $kind,)*
        }

        impl Kind {
            /// All of them, in the order of their page.
            pub const ALL: &[Kind] = &[$(Kind::$kind),*];

            /// For machines; stable.
            pub fn code(self) -> &'static str {
                match self { $(Kind::$kind => $code),* }
            }

            /// The HTTP status.
            pub fn status(self) -> StatusCode {
                match self { $(Kind::$kind => StatusCode::$status),* }
            }

            /// In words.
            pub fn title(self) -> &'static str {
                match self { $(Kind::$kind => $title),* }
            }

            /// What it means, and what to do.
            pub fn help(self) -> &'static str {
                match self { $(Kind::$kind => $does),* }
            }
        }
    };
}

kinds! {
    InvalidDocument "invalid_document" UNPROCESSABLE_ENTITY "The document has problems"
        "`problems` lists all of them, each with its field, its line, what was found and what was expected. Nothing was changed.";
    InvalidRequest "invalid_request" BAD_REQUEST "The request can't be understood"
        "A parameter, a header or the body is not what the route takes; `detail` says which, and what was expected.";
    Unauthenticated "unauthenticated" UNAUTHORIZED "A token is needed"
        "The request has no token, or one that is not known or was revoked. Send `Authorization: Bearer` with a token's secret; \
         `fnbridge tokens create` makes one.";
    Forbidden "forbidden" FORBIDDEN "The token may not do this"
        "The token's role, or the prefix of names that it is for, does not reach so far. `detail` says which role is needed.";
    ForeignHost "foreign_host" FORBIDDEN "The request comes from somewhere else"
        "Without tokens, only requests to a loopback name are answered, and none that a web page of another origin makes. Call the \
         API by its loopback address, or configure `access`.";
    NotFound "not_found" NOT_FOUND "There is no such thing"
        "Nothing has this name or path. `GET` of the list shows what there is.";
    MethodNotAllowed "method_not_allowed" METHOD_NOT_ALLOWED "The path does not take this method"
        "The OpenAPI document at `/v1/openapi.json` lists each path's methods.";
    NameInUse "name_in_use" PRECONDITION_FAILED "The name is in use"
        "`If-None-Match: *` asks to create only, and a pipeline has the name. `revision` is its revision.";
    RevisionMismatch "revision_mismatch" PRECONDITION_FAILED "Somebody was faster"
        "`If-Match` names another revision than the pipeline has now, which is in `revision`. Read it again, and decide anew.";
    FixedField "fixed_field" CONFLICT "The field can't be changed"
        "`name`, `source.cluster` and `source.group` are what a pipeline's offsets belong to. Register another pipeline, and delete this \
         one.";
    GroupInUse "group_in_use" CONFLICT "The consumer group belongs to another pipeline"
        "Two pipelines in one group would take each other's partitions. Leave `source.group` out, or give each its own.";
    WorkerIdInUse "worker_id_in_use" CONFLICT "Another live worker has the id"
        "Each worker has an id of its own: set `worker.id` to another, or leave it out. Partitions would be taken from one by the other.";
    NoControlRole "no_control_role" MISDIRECTED_REQUEST "This worker does not serve the API"
        "It has no `control` role, and no store: it asks those at `worker.control`, and so can you.";
    HeldByFile "held_by_file" CONFLICT "The pipeline is held by a file"
        "Workers of this fleet read it from their files; it is changed there, and read again when the file changes.";
    NotPaused "not_paused" CONFLICT "The pipeline has to be paused"
        "Where reading goes on is only changed while nothing is read. Pause it first, or ask for it with `pause`.";
    SeekUnderWay "seek_under_way" CONFLICT "A seek is under way"
        "The pipeline's workers are leaving its group, so that its offsets can be moved. `GET …/status` tells when it has ended.";
    CannotTry "cannot_try" CONFLICT "The record can't be tried"
        "It is not, or no longer, in the log, the cluster does not answer, or the pipeline has no function; `detail` says which.";
    NothingToRedrive "nothing_to_redrive" CONFLICT "No letter would be sent"
        "No letter was found that may be sent through again; `detail` says why not. A dry run (`dry_run`) lists the reasons.";
    WrongState "wrong_state" CONFLICT "The redrive can't be told that now"
        "One that is done or cancelled stays so: ask for another. `GET /v1/redrives/{id}` tells how it stands.";
    CannotAudit "cannot_audit" CONFLICT "The pipeline can't be audited"
        "It has committed nothing yet, or a cluster does not answer; `detail` says which.";
    NotSupportedHere "not_supported_here" CONFLICT "This cluster can't do it"
        "The embedded broker of `fnbridge dev` has no such function; a Kafka has.";
    NoSecretsKey "no_secrets_key" CONFLICT "No key for secrets is configured"
        "Secrets are encrypted at rest. Set `access.secrets_key` to 32 random bytes, as base64 in a file or an environment variable.";
    IndexElsewhere "index_elsewhere" MISDIRECTED_REQUEST "Another worker has the index"
        "Without PostgreSQL, the index of dead letters is kept by the worker that leads. Others pass questions on to it, at the URL that its \
         `advertise` or `listen` says; `detail` says what came of that.";
    ClusterAway "cluster_away" SERVICE_UNAVAILABLE "The cluster does not answer"
        "What stands in Kafka can't be read now; send the request again.";
    TooLarge "too_large" PAYLOAD_TOO_LARGE "The body is too large"
        "A body has at most 1 MiB.";
    TooSlow "too_slow" REQUEST_TIMEOUT "The request took too long"
        "It did not arrive, or was not answered, within 30 s.";
    StoreAway "store_away" SERVICE_UNAVAILABLE "The store is away"
        "The fleet's store does not answer. What runs goes on; send the request again.";
    Internal "internal" INTERNAL_SERVER_ERROR "A mistake of ours"
        "The request ended in a way that it never should. What runs goes on; please report it with the worker's log.";
}

impl Problem {
    /// What was found, what was expected, what to do.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// A problem of a kind; the detail says what was found, what was expected, what to do.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Problem {
        Problem {
            kind,
            detail: detail.into(),
            field: None,
            problems: Vec::new(),
            revision: None,
        }
    }

    /// About one field.
    pub fn at(self, field: impl Into<String>) -> Problem {
        Problem {
            field: Some(field.into()),
            ..self
        }
    }

    /// There is no pipeline of this name.
    pub fn no_pipeline(name: &str) -> Problem {
        Problem::new(
            Kind::NotFound,
            format!("found no pipeline named {name:?}; GET /v1/pipelines lists them"),
        )
    }

    /// A pipeline that files hold.
    pub fn held_by_file(name: &str) -> Problem {
        let detail = format!("{name} is read from files of the workers; change it there");
        Problem::new(Kind::HeldByFile, detail).at("name")
    }

    /// A document's own problems.
    pub fn of_document(problems: &Problems) -> Problem {
        let listed = fields(problems);
        let detail = match listed.as_slice() {
            [only] => only.message.clone(),
            more => format!("{} problems", more.len()),
        };
        Problem {
            field: listed.first().map(|first| first.field.clone()),
            problems: listed,
            ..Problem::new(Kind::InvalidDocument, detail)
        }
    }

    /// What is sent.
    pub fn document(&self) -> ProblemDocument {
        ProblemDocument {
            kind: format!("{PAGES}{}", self.kind.code()),
            title: self.kind.title().to_owned(),
            status: self.kind.status().as_u16(),
            code: self.kind.code().to_owned(),
            detail: self.detail.clone(),
            field: self.field.clone(),
            problems: self.problems.clone(),
            revision: self.revision,
        }
    }
}

/// What `docs/errors.md` says, and `/v1/errors`.
pub fn errors_page() -> String {
    let mut page = ERRORS_INTRO.to_owned();
    for kind in Kind::ALL {
        let (code, status) = (kind.code(), kind.status().as_u16());
        page += &format!(
            "\n### {code}\n\n**{}.** Status {status}. {}\n",
            kind.title(),
            kind.help()
        );
    }
    page += FIELDS_INTRO;
    for code in Code::ALL {
        page += &format!("| `{}` | {} |\n", code.name(), code.help());
    }
    page
}

const ERRORS_INTRO: &str = "# Errors\n
Made from the code; a test keeps it. What goes wrong with a request comes as `application/problem+json` (RFC 9457): `code` is stable and for \
machines, `detail` says what was found, what was expected and what to do, `field` is a path in the document. Nothing was changed, unless it says \
so. Commands print the code in brackets at the end of the line.\n
## Codes\n";

const FIELDS_INTRO: &str = "\n## Codes of a document's fields\n
In `problems` of `invalid_document`, of `POST /v1/pipelines:check`, and behind each line that `fnbridge check` prints.\n
| code | meaning |\n|---|---|\n";

/// A document's problems, for the wire.
pub(super) fn fields(problems: &Problems) -> Vec<FieldProblem> {
    let field = |problem: &crate::config::Problem| FieldProblem {
        field: problem.field.clone(),
        code: problem.code.name().to_owned(),
        message: problem.message.clone(),
        line: Some(problem.line),
    };
    problems.0.iter().map(field).collect()
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.kind.status(), Json(self.document())).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if self.kind == Kind::Unauthenticated {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        Problem::new(Kind::StoreAway, error.to_string())
    }
}

impl Problem {
    /// Why a change of this pipeline was not made.
    pub fn of_change(name: &str, error: ChangeError) -> Problem {
        match error {
            ChangeError::Store(error) => error.into(),
            ChangeError::GroupTaken { group, by } => {
                let detail = format!("the group {group} belongs to the pipeline {by}; expected one of its own");
                Problem::new(Kind::GroupInUse, detail).at("source.group")
            }
            ChangeError::Refused(Refusal::Missing) => Problem::no_pipeline(name),
            ChangeError::Refused(Refusal::Exists { revision }) => Problem {
                revision: Some(revision),
                ..Problem::new(
                    Kind::NameInUse,
                    format!("{name} is registered with revision {revision}; expected the name to be free"),
                )
                .at("name")
            },
            ChangeError::Refused(Refusal::Conflict { expected, found }) => Problem {
                revision: Some(found),
                ..Problem::new(
                    Kind::RevisionMismatch,
                    format!("found revision {found}, expected {expected}; read it again, and decide anew"),
                )
            },
            ChangeError::Refused(Refusal::NotPaused) => Problem::new(
                Kind::NotPaused,
                format!("{name} runs; pause it first, or ask for it with `pause`"),
            ),
            ChangeError::Refused(Refusal::Seeking) => Problem::new(
                Kind::SeekUnderWay,
                format!("a seek of {name} is under way; wait until its status says that it has ended"),
            ),
            ChangeError::Refused(Refusal::Fixed(difference)) => {
                let shown = |value: &Option<serde_json::Value>| {
                    value.as_ref().map_or("nothing".to_owned(), ToString::to_string)
                };
                let detail = format!(
                    "found {}, expected {}, as it was when the pipeline was registered; its offsets belong to it",
                    shown(&difference.to),
                    shown(&difference.from)
                );
                Problem::new(Kind::FixedField, detail).at(difference.field.clone())
            }
        }
    }
}
