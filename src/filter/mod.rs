//! Which records a pipeline's function sees: a CEL expression over `key`, `value`, `headers` and `timestamp`.

mod budget;
mod check;
mod failed;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use cel::common::types::{CelBool, CelNull, CelTimestamp};
use cel::common::value::Val;
use cel::{Context, Env, IdedExpr, Value};

pub use check::{Expected, View};

use crate::delivery::answer::Stage;
use crate::delivery::event::Admission;
use crate::delivery::record::Record;

/// Longer expressions belong into a function.
const MAX_EXPRESSION_BYTES: usize = 16 * 1024;

/// A filter, compiled.
pub struct Filter {
    source: String,
    expression: IdedExpr,
    /// Functions and types, made once; what is known of a record stands in a scope within.
    root: Context<'static, 'static>,
    view: View,
    uses: Uses,
}

/// What the expression looks at: nothing else is read of a record.
#[derive(Debug)]
struct Uses {
    key: bool,
    value: bool,
    headers: bool,
    timestamp: bool,
    /// The members of an object that it names; `None`: it may look at each.
    members: Option<BTreeSet<String>>,
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&self.source).finish()
    }
}

impl Filter {
    /// Compiles an expression for records whose keys and values are seen like this.
    ///
    /// # Errors
    /// Everything that is known to be wrong with it before there is a record, each with its place.
    pub fn compile(source: &str, view: View) -> Result<Filter, Vec<String>> {
        if source.len() > MAX_EXPRESSION_BYTES {
            return Err(vec![format!(
                "it has {} bytes, expected at most {MAX_EXPRESSION_BYTES}",
                source.len()
            )]);
        }
        let mut env = Env::stdlib();
        budget::declare(&mut env).map_err(|error| vec![error.to_string()])?;
        let (mut expression, places) = (env.parser().parse_with_source_info(source)).map_err(|errors| {
            let place = |pos: (isize, isize)| check::at(usize::try_from(pos.0).ok(), usize::try_from(pos.1).ok());
            let said = |error: &cel::ParseError| format!("{}: {}", place(error.pos), error.msg.trim());
            errors.errors.iter().map(said).collect::<Vec<_>>()
        })?;
        check::check(&expression, &places, &view)?;
        let references = expression.references();
        let uses = Uses {
            key: references.has_variable("key"),
            value: references.has_variable("value"),
            headers: references.has_variable("headers"),
            timestamp: references.has_variable("timestamp"),
            members: check::members_of_value(&expression),
        };
        budget::bound(&mut expression);
        Ok(Filter {
            source: source.to_owned(),
            expression,
            root: Context::with_env(Arc::new(env)),
            view,
            uses,
        })
    }

    /// Whether a record may pass.
    pub fn admit(&self, record: &Record) -> Admission {
        match self.passes(record) {
            Ok(true) => Admission::Pass,
            Ok(false) => Admission::Filtered,
            Err(found) => Admission::Refused {
                stage: Stage::Filter,
                reason: format!("the filter {found}"),
            },
        }
    }

    fn passes(&self, record: &Record) -> Result<bool, String> {
        // It borrows what it holds from the record.
        let root: &Context<'_, '_> = &self.root;
        let mut scope = root.new_inner_scope();
        let mut values = record.headers.len();
        if self.uses.key {
            let key = value::of(record.key.as_deref(), self.view.key, None);
            let (key, count) = key.map_err(|found| format!("can't read the key: it {found}"))?;
            values += count;
            scope.add_variable_as_val("key", key);
        }
        if self.uses.value {
            let value = value::of(record.value.as_deref(), self.view.value, self.uses.members.as_ref());
            let (value, count) = value.map_err(|found| format!("can't read the value: it {found}"))?;
            values += count;
            scope.add_variable_as_val("value", value);
        }
        if self.uses.headers {
            scope.add_variable_as_val("headers", value::headers(&record.headers));
        }
        if self.uses.timestamp {
            scope.add_variable_as_val("timestamp", timestamp(record.timestamp_ms));
        }
        budget::renew(values, record.payload_bytes());
        let result = Value::resolve_val(&self.expression, &scope).map_err(|error| failed::told(&error))?;
        let passes = result.downcast_ref::<CelBool>().map(|passes| *passes.inner());
        passes.ok_or_else(|| {
            let found = result.get_type().name();
            format!("is {found} for this record, expected true or false")
        })
    }
}

fn timestamp(ms: i64) -> Box<dyn Val> {
    match chrono::DateTime::from_timestamp_millis(ms).filter(|_| ms >= 0) {
        Some(time) => Box::new(CelTimestamp::from(time.fixed_offset())),
        None => Box::new(CelNull),
    }
}
