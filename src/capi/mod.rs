//! The C face: every `extern "C"` and every raw pointer of the library, the allocator that it has where it is not part of
//! a Rust program, and every unsafe block but those that call the compressor in C (`vmdk/igzip.rs`, behind a feature).
//!
//! The public documentation here is the text of `include/vmdk_backup.h`, written for C: NULL, not
//! `None`. Each exported body guards, converts, calls one Rust function and converts back.
#![allow(unsafe_code, reason = "this is the border to C, and the only one")]
#![allow(
    rustdoc::bare_urls,
    rustdoc::broken_intra_doc_links,
    rustdoc::invalid_html_tags,
    reason = "the texts are those of the C header"
)]
#![allow(non_camel_case_types, reason = "the types bear their C names")]
#![allow(
    clippy::missing_safety_doc,
    reason = "the header's contract says what C callers must keep to"
)]

#[cfg(any(c_library, test))]
mod allocator;
mod apart;
mod callbacks;
mod cancel;
mod client;
mod convert;
mod error;
mod guard;
mod handle;
mod log;
mod operation;
mod recover;
mod service;
mod sized;
mod status;
mod summary;
mod text;
mod verify;
mod version;
mod volume;

pub use cancel::*;
pub use client::*;
pub use convert::*;
pub use error::*;
pub use log::*;
pub use operation::*;
pub use recover::*;
pub use service::*;
pub use status::*;
pub use summary::*;
pub use verify::*;
pub use version::*;
pub use volume::*;
