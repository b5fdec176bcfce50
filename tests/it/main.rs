//! Integration tests.

mod vmdk_corpus;
