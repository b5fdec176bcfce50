//! The verdict on a server's certificate, and what to tell the user when it is bad.

use crate::transport::tls::Fingerprint;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, SignatureScheme};
use std::fmt;
use std::sync::Arc;

/// What proves who a server is, with everything read that the proof needs.
#[derive(Clone, Debug)]
pub(super) enum Proof {
    /// A chain up to one of the `authorities`, and the right host name.
    Chain {
        verifier: Arc<dyn ServerCertVerifier>,
        authorities: String,
    },
    /// The certificate itself.
    Pin(Fingerprint),
    /// Nothing has to be proven.
    Nothing,
}

/// Lets a server through that is proven or vouched for.
#[derive(Debug)]
pub(super) struct Verifier {
    proof: Proof,
    vouched: Option<Fingerprint>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    pub(super) fn new(
        proof: Proof,
        vouched: Option<Fingerprint>,
        provider: Arc<CryptoProvider>,
    ) -> Self {
        Verifier {
            proof,
            vouched,
            provider,
        }
    }

    fn refuse(&self, presented: &[u8], reason: String, remedy: String) -> rustls::Error {
        let vouched = self.vouched.map(|vouched| {
            format!("it is not the certificate {vouched} that the server vouched for, and ")
        });
        let refused = Refused {
            reason: format!(
                "the certificate presented has the SHA-256 fingerprint {}: {}{reason}",
                Fingerprint::sha256_of(presented),
                vouched.unwrap_or_default()
            ),
            remedy,
        };
        CertificateError::Other(OtherError(Arc::new(refused))).into()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self
            .vouched
            .is_some_and(|vouched| vouched.is_of(end_entity))
        {
            return Ok(ServerCertVerified::assertion());
        }
        match &self.proof {
            Proof::Nothing => Ok(ServerCertVerified::assertion()),
            Proof::Pin(pin) if pin.is_of(end_entity) => Ok(ServerCertVerified::assertion()),
            Proof::Pin(pin) => Err(self.refuse(
                end_entity,
                format!("it is not the pinned {pin}"),
                "if the server's certificate was renewed, compare the presented fingerprint at \
                 the server itself and pin that; else somebody is in between"
                    .into(),
            )),
            Proof::Chain {
                verifier,
                authorities,
            } => verifier
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                .map_err(|error| {
                    let (reason, remedy) = explain(&error, authorities, &server_name.to_str());
                    self.refuse(end_entity, reason, remedy)
                }),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if matches!(self.proof, Proof::Nothing) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if matches!(self.proof, Proof::Nothing) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// Why a chain is no proof, and what the user can do.
fn explain(error: &rustls::Error, authorities: &str, host: &str) -> (String, String) {
    let pin = "or pin the presented fingerprint after comparing it at the server itself";
    let other = || {
        (
            error.to_string(),
            format!("replace the server's certificate, {pin}"),
        )
    };
    let rustls::Error::InvalidCertificate(invalid) = error else {
        return other();
    };
    match invalid {
        // A reinstalled server's authority has the name of the old one, but another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => (
            format!("it was not issued by {authorities}"),
            format!(
                "name the CA file of its issuer (a vCenter offers it at https://{host}/certs/download.zip), {pin}"
            ),
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            format!("it is not for the name {host}"),
            format!("connect by a name that stands in it, {pin}"),
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
            "it has expired".into(),
            format!("renew it, check this machine's clock, {pin}"),
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
            "it is not valid yet".into(),
            format!("check the clocks of the server and of this machine, {pin}"),
        ),
        _ => other(),
    }
}

/// Travels through rustls and its users to [`super::failure`].
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) reason: String,
    pub(super) remedy: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Refused {}
