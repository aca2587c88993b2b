//! What went wrong on a record, without any of the record itself.

use cel::ExecutionError;

use super::budget::SPENT;

/// One sentence, which begins behind "the filter".
pub(super) fn told(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(name) if is_name(name) => {
            format!("looks for {name}, which is not there; has(…) asks whether it is")
        }
        ExecutionError::NoSuchKey(_) | ExecutionError::IndexOutOfBounds(_) => {
            "looks for an element that is not there".to_owned()
        }
        ExecutionError::NoSuchOverload(overload) => {
            let types = overload.argument_types().join(" and ");
            format!("can't apply {} to {types}", readable(overload.function()))
        }
        ExecutionError::ValuesNotComparable(left, right) => {
            format!("can't compare {} with {}", left.type_of(), right.type_of())
        }
        ExecutionError::UnsupportedBinaryOperator(operator, left, right) => {
            format!("can't apply {operator} to {} and {}", left.type_of(), right.type_of())
        }
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "divides by zero".to_owned(),
        ExecutionError::Overflow(operator, ..) => format!("leaves the range of numbers with {operator}"),
        ExecutionError::UnexpectedType { got, want } => format!("finds {got}, expected {want}"),
        ExecutionError::FunctionError { message, .. } if message == SPENT => {
            "takes too many steps on this record".to_owned()
        }
        ExecutionError::FunctionError { function, .. } => {
            format!("can't apply {} to what it finds", readable(function))
        }
        ExecutionError::UndeclaredReference(name) if is_name(name) => format!("knows no {name} here"),
        _ => "can't be evaluated on this record".to_owned(),
    }
}

/// Names come from the expression, as far as it is not the record's own data that it looks up with.
fn is_name(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// `_>_` is `>` as it is written.
fn readable(function: &str) -> &str {
    match function.trim_matches('_') {
        "" => function,
        "[_]" => "[…]",
        "@in" => "in",
        name => name,
    }
}
