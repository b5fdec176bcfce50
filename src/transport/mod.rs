//! Bytes to and from servers: TLS, HTTP, SOAP.
pub mod tls;
