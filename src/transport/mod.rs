//! Bytes to and from servers: TLS, HTTP, SOAP.

mod certificate;
mod element;
mod failure;
mod handshake;
pub mod http;
pub mod soap;
pub mod tls;
mod upload;
mod verdict;
mod verify;
mod xml;
