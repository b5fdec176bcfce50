//! Integration tests.

mod vmdk;
