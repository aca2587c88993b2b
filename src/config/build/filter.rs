//! A pipeline's filter.

use std::sync::Arc;

use crate::config::document::{FormatDoc, PipelineDoc};
use crate::config::path::Path;
use crate::config::problem::{Code, Report};
use crate::filter::{Expected, Filter, View};

/// A filter, if there is one and nothing is wrong with it; what is, was reported.
pub(super) fn filter(doc: &PipelineDoc, report: &mut Report<'_>) -> Option<Arc<Filter>> {
    let source = doc.filter.as_ref()?;
    let view = View {
        key: (doc.source.key.format).map_or(Expected::TextOrBytes, expected),
        value: (doc.source.value.format).map_or(Expected::Json, expected),
    };
    match Filter::compile(source, view) {
        Ok(filter) => Some(Arc::new(filter)),
        Err(problems) => {
            report.value(&Path::of("filter"), Code::InvalidValue, problems.join("; "));
            None
        }
    }
}

fn expected(format: FormatDoc) -> Expected {
    match format {
        FormatDoc::Bytes => Expected::Bytes,
        FormatDoc::String => Expected::Text,
        // Those of a schema are refused with the document's shape.
        FormatDoc::Json | FormatDoc::Avro | FormatDoc::Protobuf | FormatDoc::JsonSchema => Expected::Json,
    }
}
