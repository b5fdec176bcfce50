//! Bytes to and from servers: TLS, HTTP, SOAP.

mod failure;
pub mod http;
pub mod soap;
pub mod tls;
mod upload;
mod verify;
mod xml;
