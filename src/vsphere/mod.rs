//! Managed objects and what is done with them.
pub mod session;
pub use session::Session;
