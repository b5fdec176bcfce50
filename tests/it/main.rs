//! The integration tests: one crate, a module a topic.

mod bench;
mod capi;
mod capi_operations;
mod convert;
mod examples;
mod faults;
mod fixture;
mod floors;
mod header;
mod peer;
mod peers;
mod raw;
mod recover;
mod refusals;
mod retries;
mod roundtrip;
mod sanitizer;
mod secrets;
mod session;
mod stage;
mod system;
mod tls;
mod transport;
mod verify;
mod vmdk;
