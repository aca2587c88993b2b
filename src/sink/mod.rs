//! Where results go: one folder each, one trait.
