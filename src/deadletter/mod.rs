//! Dead letters: the record format.
