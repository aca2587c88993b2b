//! Bytes to values: what a record must be before the function may see it.
