//! Accounts of what became of records: checkpoints of what commits say, kept in the store, and audits, which hold them against
//! what the logs hold.

mod audits;
mod checkpoints;
mod count;
mod have_run;

pub use audits::{Audit, Audited, Audits, Progress};
pub(super) use checkpoints::{Leads, keep};
pub(super) use have_run::{HaveRun, has_never_run};
