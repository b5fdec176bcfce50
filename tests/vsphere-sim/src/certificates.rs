//! The certificate authority of one start, and the certificates of the endpoint and of the data hosts.

use std::io;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha1::Sha1;
use sha2::{Digest, Sha256};

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

/// A certificate with its key, and the fingerprints it is known by.
pub struct Identity {
    pub config: Arc<ServerConfig>,
    pub sha1: String,
    pub sha256: String,
}

fn failed(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

fn params(names: &[&str], common_name: &str) -> io::Result<CertificateParams> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).map_err(failed)?;
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    Ok(params)
}

impl Authority {
    pub fn new() -> io::Result<Authority> {
        let mut params = params(&[], "vSphere simulator CA")?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(failed)?;
        let pem = params.self_signed(&key).map_err(failed)?.pem();
        Ok(Authority {
            issuer: Issuer::new(params, key),
            pem,
        })
    }

    /// A certificate of this authority for an endpoint on the loopback.
    pub fn endpoint(&self) -> io::Result<Identity> {
        let key = KeyPair::generate().map_err(failed)?;
        let params = params(&["localhost", "127.0.0.1", "::1"], "vcenter.sim.test")?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        identity(certificate.der().clone(), &key)
    }
}

/// A certificate that no authority vouches for, as ESX hosts make it for themselves.
pub fn self_signed(common_name: &str) -> io::Result<Identity> {
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params(&[common_name], common_name)?
        .self_signed(&key)
        .map_err(failed)?;
    identity(certificate.der().clone(), &key)
}

fn identity(certificate: CertificateDer<'static>, key: &KeyPair) -> io::Result<Identity> {
    let (sha1, sha256) = (
        colons(&Sha1::digest(&certificate)),
        colons(&Sha256::digest(&certificate)),
    );
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .map_err(failed)?;
    Ok(Identity {
        config: Arc::new(config),
        sha1,
        sha256,
    })
}

fn colons(digest: &[u8]) -> String {
    let bytes: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}
