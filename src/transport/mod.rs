//! Bytes to and from servers: TLS, HTTP, SOAP.

pub mod http;
pub mod soap;
pub mod tls;
