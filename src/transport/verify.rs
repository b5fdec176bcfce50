//! The verdict on a server's certificate, and what to tell the user when it is bad.

use crate::transport::tls::Fingerprint;
use crate::transport::verdict::{self, Verdict};
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

    fn refuse(&self, presented: &[u8], verdict: Verdict) -> rustls::Error {
        let refused = Refused {
            reason: format!(
                "the certificate presented has the SHA-256 fingerprint {}: {}",
                Fingerprint::sha256_of(presented),
                verdict.reason
            ),
            remedy: verdict.remedy,
        };
        CertificateError::Other(OtherError(Arc::new(refused))).into()
    }

    /// The same for a certificate that nothing proves, whatever the endpoint vouched for.
    fn unproven(&self, presented: &[u8], mut verdict: Verdict) -> rustls::Error {
        if let Some(vouched) = self.vouched {
            verdict.reason = format!(
                "it is not the certificate {vouched} that the server vouched for, and {}",
                verdict.reason
            );
        }
        self.refuse(presented, verdict)
    }

    /// Whether the server has the key of the certificate that it presents.
    fn holds_key(
        &self,
        certificate: &CertificateDer<'_>,
        verified: Result<HandshakeSignatureValid, rustls::Error>,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if matches!(self.proof, Proof::Nothing) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verified.map_err(|error| self.refuse(certificate, verdict::of_signature(&error)))
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
        if matches!(self.proof, Proof::Nothing) {
            return Ok(ServerCertVerified::assertion());
        }
        let vouched = |vouched: Fingerprint| vouched.is_of(end_entity);
        let vouched = self.vouched.is_some_and(vouched);
        let proven = match &self.proof {
            _ if vouched => Ok(()),
            Proof::Nothing => Ok(()),
            Proof::Pin(pin) if pin.is_of(end_entity) => Ok(()),
            Proof::Pin(pin) => Err(verdict::of_pin(*pin)),
            Proof::Chain {
                verifier,
                authorities,
            } => verifier
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                .map(drop)
                .map_err(|error| {
                    verdict::of_chain(&error, end_entity, authorities, &server_name.to_str())
                }),
        };
        // Who has a weak certificate is told that, and not to pin it.
        match (verdict::of_strength(end_entity), proven) {
            (Err(weak), Ok(())) => Err(self.refuse(end_entity, weak)),
            (Err(weak), Err(_)) => Err(self.unproven(end_entity, weak)),
            (Ok(()), Err(unproven)) => Err(self.unproven(end_entity, unproven)),
            (Ok(()), Ok(())) => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let verified = verify_tls12_signature(message, certificate, signed, algorithms);
        self.holds_key(certificate, verified)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let verified = verify_tls13_signature(message, certificate, signed, algorithms);
        self.holds_key(certificate, verified)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
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
