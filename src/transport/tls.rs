//! What proves that a server is the right one.
use crate::error::{Error, Kind, Result};
use std::path::PathBuf;
use std::str::FromStr;
/// A certificate's fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fingerprint {
    /// SHA-256 of the DER certificate.
    Sha256([u8; 32]),
    /// SHA-1 of the DER certificate.
    Sha1([u8; 20]),
}
/// What proves that a server is the right one.
#[derive(Clone, Debug)]
pub enum Trust {
    /// The operating system's certificate authorities.
    System,
    /// The certificate authorities in a PEM file.
    CaFile(PathBuf),
    /// Exactly this certificate.
    Pin(Fingerprint),
    /// Nothing is checked.
    Insecure,
}

impl FromStr for Fingerprint {
    type Err = Error;

    fn from_str(_text: &str) -> Result<Self> {
        Err(Error::new(
            Kind::InvalidArgument,
            "fingerprints: not there yet",
        ))
    }
}
