//! The integration tests: one crate, a module a topic.

mod floors;
mod peer;
mod tls;
mod transport;
mod vmdk_corpus;
