//! What a failed TLS handshake means, and what the user can do about it.

use crate::error::{Error, Kind};
use crate::transport::verify::Refused;
use rustls::{AlertDescription, CertificateError, PeerIncompatible};

/// The error that a failure of TLS stands for.
pub(super) fn explain(error: &rustls::Error) -> Error {
    if let rustls::Error::InvalidCertificate(CertificateError::Other(other)) = error
        && let Some(refused) = other.0.downcast_ref::<Refused>()
    {
        return Error::new(Kind::Tls, refused.to_string()).remedy(&refused.remedy);
    }
    let (message, remedy) = match error {
        rustls::Error::InvalidMessage(_) => (
            "the server does not speak TLS".into(),
            "check the port; for a server without TLS, write http:// and permit plain http",
        ),
        rustls::Error::AlertReceived(alert) => received(*alert),
        rustls::Error::PeerIncompatible(reason) => incompatible(reason),
        rustls::Error::PeerMisbehaved(_) => (
            format!("the server does not keep to the protocol: {error}"),
            "check what stands between this machine and the server, such as a proxy that inspects \
             TLS",
        ),
        rustls::Error::NoCertificatesPresented => (
            "the server presents no certificate".into(),
            "check that host and port are those of a vCenter or an ESXi host",
        ),
        rustls::Error::InvalidCertificate(_) => (
            error.to_string(),
            "replace the server's certificate, or pin its fingerprint",
        ),
        _ => (
            error.to_string(),
            "check host and port, and what stands between this machine and the server",
        ),
    };
    Error::new(Kind::Tls, format!("TLS: {message}")).remedy(remedy)
}

/// Repeated, where the server only says that the two have nothing in common.
const TOO_OLD: &str = "enable TLS 1.2 or 1.3 on the server, with an AES-GCM or ChaCha20 cipher \
     suite with ECDHE; vSphere 6.7 and newer have them enabled";

/// The server ended the handshake, and says why.
fn received(alert: AlertDescription) -> (String, &'static str) {
    let (reason, remedy) = match alert {
        AlertDescription::ProtocolVersion => ("it has no TLS version of 1.2 or newer", TOO_OLD),
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => (
            "it has no cipher suite or key exchange in common with this library",
            TOO_OLD,
        ),
        AlertDescription::CertificateRequired
        | AlertDescription::NoCertificate
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => (
            "it asks for a client certificate, and this library has none",
            "connect to the API's own port, 443 on a vCenter, where user and password are enough, \
             or around the proxy that asks for it",
        ),
        AlertDescription::UnrecognisedName => (
            "it does not know the name that it was connected to by",
            "connect by the server's own name, as its certificate has it",
        ),
        AlertDescription::InternalError => (
            "it failed by itself",
            "look into the server's log, and try again when it is well",
        ),
        AlertDescription::DecryptError
        | AlertDescription::BadRecordMac
        | AlertDescription::DecryptionFailed => (
            "it could not read what it was sent",
            "check what stands between this machine and the server, such as a proxy that inspects \
             TLS",
        ),
        _ => (
            "it does not say more",
            "check host and port, and the server's log",
        ),
    };
    let message = format!("the server ended the handshake: {alert:?}: {reason}");
    (message, remedy)
}

fn incompatible(reason: &PeerIncompatible) -> (String, &'static str) {
    let message = match reason {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => {
            "the server has no TLS version of 1.2 or newer".into()
        }
        _ => format!("the server's TLS does not fit to this library's: {reason:?}"),
    };
    (message, TOO_OLD)
}
