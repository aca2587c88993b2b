//! `fnbridge try`.

use clap::Args;

use super::output::Output;
use super::remote::{Failure, Remote};
use super::show;
use crate::api::wire::{Tried, TryRequest};

/// Call a pipeline's function on a real record, and deliver nothing
#[derive(Args, Clone, Debug)]
pub struct TryArgs {
    /// The pipeline
    name: String,

    /// The record: TOPIC/PARTITION/OFFSET
    #[arg(long, value_name = "RECORD")]
    at: String,

    /// Another function, such as the one that is to be deployed next
    #[arg(long, value_name = "URL")]
    function: Option<String>,

    /// How it is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    remote: Remote,
}

impl TryArgs {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let request = TryRequest {
            at: self.at.clone(),
            url: self.function.clone(),
        };
        let found = self
            .remote
            .client()?
            .post::<Tried>(&["pipelines", &self.name, "try"], &request)
            .await?;
        self.output.print(&found.raw, || show::tried(&found.value))
    }
}
