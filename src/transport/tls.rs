//! What proves that a server is the right one.

use crate::error::{Context, Error, Kind, Result};
use crate::transport::verify::{Proof, Verifier};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

/// A certificate's fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fingerprint {
    /// SHA-256 of the DER certificate.
    Sha256([u8; 32]),
    /// SHA-1 of the DER certificate.
    Sha1([u8; 20]),
}

impl Fingerprint {
    /// The SHA-256 fingerprint of a DER certificate.
    pub fn sha256_of(certificate: &[u8]) -> Self {
        Fingerprint::Sha256(Sha256::digest(certificate).into())
    }

    /// Whether this is the fingerprint of the DER certificate.
    pub fn is_of(&self, certificate: &[u8]) -> bool {
        match self {
            Fingerprint::Sha256(hash) => same(hash, &Sha256::digest(certificate)),
            Fingerprint::Sha1(hash) => same(hash, &Sha1::digest(certificate)),
        }
    }
}

/// Compares without telling by the time it takes how far two hashes agree.
fn same(left: &[u8], right: &[u8]) -> bool {
    let differing = left
        .iter()
        .zip(right)
        .fold(0, |bits, (a, b)| bits | (a ^ b));
    left.len() == right.len() && differing == 0
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash: &[u8] = match self {
            Fingerprint::Sha256(hash) => hash,
            Fingerprint::Sha1(hash) => hash,
        };
        for (at, byte) in hash.iter().enumerate() {
            let colon = if at == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

/// Servers give fingerprints, too: so much of a text that is none is shown.
const LONGEST_SHOWN: usize = 128;

impl FromStr for Fingerprint {
    type Err = Error;

    /// Takes hexadecimal digits in either case, with or without colons, after an optional
    /// `SHA256:` or `SHA1:`, or after openssl's `SHA256 Fingerprint=`.
    fn from_str(text: &str) -> Result<Self> {
        let invalid = || {
            let shown: String = text.chars().take(LONGEST_SHOWN).collect();
            let message = format!("{shown:?} is no certificate fingerprint");
            Error::new(Kind::InvalidArgument, message)
                .remedy("a fingerprint is 64 (SHA-256) or 40 (SHA-1) hexadecimal digits, with or without colons")
        };
        let (announced, digits) = split_announced(text.trim());
        let bytes = unhex(digits).ok_or_else(invalid)?;
        let fingerprint = if let Ok(hash) = <[u8; 32]>::try_from(bytes.as_slice()) {
            Fingerprint::Sha256(hash)
        } else if let Ok(hash) = <[u8; 20]>::try_from(bytes.as_slice()) {
            Fingerprint::Sha1(hash)
        } else {
            return Err(invalid());
        };
        match (announced, fingerprint) {
            (Some(32), Fingerprint::Sha1(_)) | (Some(20), Fingerprint::Sha256(_)) => Err(invalid()),
            _ => Ok(fingerprint),
        }
    }
}

/// The length that a prefix announces, and what follows the prefix.
fn split_announced(text: &str) -> (Option<usize>, &str) {
    const PREFIXES: [(&str, usize); 6] = [
        ("sha256 fingerprint=", 32),
        ("sha1 fingerprint=", 20),
        ("sha-256:", 32),
        ("sha256:", 32),
        ("sha-1:", 20),
        ("sha1:", 20),
    ];
    for (prefix, length) in PREFIXES {
        if let Some((start, rest)) = text.split_at_checked(prefix.len())
            && start.eq_ignore_ascii_case(prefix)
        {
            return (Some(length), rest.trim());
        }
    }
    (None, text)
}

/// The bytes that hexadecimal digits tell, which colons may separate.
pub(crate) fn unhex(digits: &str) -> Option<Vec<u8>> {
    let byte = |pair: &str| {
        let hexadecimal = pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
        hexadecimal.then(|| u8::from_str_radix(pair, 16).ok())?
    };
    if digits.contains(':') {
        return digits.split(':').map(byte).collect();
    }
    (0..digits.len())
        .step_by(2)
        .map(|at| byte(digits.get(at..at + 2)?))
        .collect()
}

/// What proves that a server is the right one.
#[derive(Clone, Debug)]
pub enum Trust {
    /// The operating system's certificate authorities.
    System,
    /// The certificate authorities in a PEM file, and no others.
    CaFile(PathBuf),
    /// Exactly this certificate, whatever its issuer, names and dates; its version and key must
    /// be good all the same.
    Pin(Fingerprint),
    /// Nothing is checked.
    Insecure,
}

impl Trust {
    /// Reads what the proof needs: the authorities' certificates.
    pub(super) fn load(&self) -> Result<Proof> {
        let provider = provider();
        Ok(match self {
            Trust::System => {
                let chain = rustls_platform_verifier::Verifier::new(provider).map_err(|error| {
                    let message = format!("load the system's certificate authorities: {error}");
                    Error::new(Kind::Tls, message)
                        .remedy("name a file of certificate authorities, or pin the certificate")
                })?;
                Proof::Chain {
                    verifier: Arc::new(chain),
                    authorities: "the system's certificate authorities".into(),
                }
            }
            Trust::CaFile(path) => {
                let roots = read_authorities(path)
                    .with_context(|| format!("certificate authorities in {}", path.display()))?;
                let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .map_err(|error| Error::new(Kind::Tls, error.to_string()))?;
                Proof::Chain {
                    verifier: chain,
                    authorities: format!("the authorities in {}", path.display()),
                }
            }
            Trust::Pin(fingerprint) => Proof::Pin(*fingerprint),
            Trust::Insecure => Proof::Nothing,
        })
    }
}

/// A CA file of more than this is none.
const LARGEST_CA_FILE: u64 = 16 << 20;

fn read_authorities(path: &Path) -> Result<RootCertStore> {
    let size = std::fs::metadata(path).map_err(|e| Error::io("read", &e))?;
    if size.len() > LARGEST_CA_FILE {
        let message = format!(
            "{} bytes are too many for a file of certificates",
            size.len()
        );
        return Err(Error::new(Kind::InvalidArgument, message));
    }
    let pem = std::fs::read(path).map_err(|e| Error::io("read", &e))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let added = certificate
            .map_err(|error| error.to_string())
            .and_then(|certificate| roots.add(certificate).map_err(|error| error.to_string()));
        added.map_err(|error| Error::new(Kind::InvalidArgument, error))?;
    }
    if roots.is_empty() {
        let message = "there is no certificate in PEM form in the file";
        return Err(Error::new(Kind::InvalidArgument, message));
    }
    Ok(roots)
}

/// Named here and given to each configuration: a library must not install a process-wide one.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A configuration that lets through whom `proof` proves, or whose certificate is `vouched` for.
pub(super) fn client_config(proof: &Proof, vouched: Option<Fingerprint>) -> Result<ClientConfig> {
    let provider = provider();
    let verifier = Verifier::new(proof.clone(), vouched, provider.clone());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(Kind::Tls, format!("set up TLS: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA1: &str = "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33";

    #[test]
    fn a_fingerprint_reads_what_it_prints() {
        let fingerprint: Fingerprint = SHA1.parse().unwrap();
        assert_eq!(fingerprint.to_string(), SHA1);
    }

    #[test]
    fn a_fingerprint_may_be_written_as_the_common_tools_do() {
        let plain: Fingerprint = SHA1.parse().unwrap();
        let bare = SHA1.replace(':', "").to_lowercase();
        for text in [
            bare.clone(),
            format!(" sha1:{bare} "),
            format!("SHA-1:{SHA1}"),
            format!("sha1 Fingerprint={SHA1}"),
        ] {
            assert_eq!(text.parse::<Fingerprint>().unwrap(), plain, "{text}");
        }
        let long = "ab".repeat(32);
        assert_eq!(
            format!("SHA256:{long}").parse::<Fingerprint>().unwrap(),
            Fingerprint::Sha256([0xab; 32])
        );
    }

    #[test]
    fn what_is_no_fingerprint_is_refused() {
        let bare = SHA1.replace(':', "");
        for text in [
            "",
            "AA:BB",
            &bare[..38],
            &format!("SHA256:{bare}"),
            &SHA1.replacen("00", "0", 1),
            &SHA1.replacen("00", "+0", 1),
            &SHA1.replacen("00", "ä", 1),
        ] {
            let error = text.parse::<Fingerprint>().unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidArgument, "{text}");
        }
    }

    #[test]
    fn a_file_without_certificates_is_no_file_of_authorities() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "nothing of that kind").unwrap();
        let error = Trust::CaFile(file.path().into()).load().err().unwrap();
        assert_eq!(error.kind(), Kind::InvalidArgument);
        let error = Trust::CaFile("/nowhere/ca.pem".into())
            .load()
            .err()
            .unwrap();
        assert!(error.message().contains("/nowhere/ca.pem"), "{error}");
    }
}
