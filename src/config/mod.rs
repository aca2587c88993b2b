//! What a person writes, validated whole: every problem at once, then trusted types.
//!
//! A text becomes a tree with places (`yaml`), is held against the schema of its document (`shape`, `schema`), read into
//! the document's types (`document`) and built into the settings of the modules above (`build`).

mod build;
mod document;
mod files;
mod hidden;
mod load;
mod page;
mod path;
mod problem;
mod quantity;
mod schema;
mod shape;
mod share;
#[cfg(test)]
mod tests;
mod yaml;

pub use build::{AccessSettings, StoreUrl, WorkerSettings};
pub use hidden::hidden;
pub use load::{Checked, Foundation, Loaded, Registration, check, check_text, documents, load};
pub use page::{pipeline_page, worker_page};
pub use problem::{Code, Problem, Problems};
pub use schema::{pipeline_schema, worker_schema};
pub use share::share_out;
