//! Why a certificate does not prove a server, and what the user can do about each reason.

use crate::transport::certificate::Certificate;
use crate::transport::tls::Fingerprint;
use rustls::CertificateError;
use rustls::pki_types::UnixTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Why a certificate is refused.
pub(super) struct Verdict {
    pub(super) reason: String,
    pub(super) remedy: String,
}

impl Verdict {
    fn new(reason: impl Into<String>, remedy: impl Into<String>) -> Verdict {
        Verdict {
            reason: reason.into(),
            remedy: remedy.into(),
        }
    }
}

/// What any of the remedies can end with.
const PIN: &str = "or pin the presented fingerprint after comparing it at the server itself";

/// Whether a certificate can prove a server at all, be it pinned or not.
pub(super) fn of_strength(presented: &[u8]) -> Result<(), Verdict> {
    let weakness = match Certificate::read(presented) {
        Some(certificate) => certificate.weakness(),
        None => Some("it is not a certificate that can be read".into()),
    };
    let Some(weakness) = weakness else {
        return Ok(());
    };
    Err(Verdict::new(
        weakness,
        "replace it with an X.509 v3 certificate that has an RSA key of at least 2048 bits or an \
         ECDSA key (P-256 or P-384), as a vCenter's Certificate Manager and an ESXi host's \
         generate-certificates make them; pinning does not help",
    ))
}

/// It is not the pinned one.
pub(super) fn of_pin(pin: Fingerprint) -> Verdict {
    Verdict::new(
        format!("it is not the pinned {pin}"),
        "if the server's certificate was renewed, compare the presented fingerprint at the server \
         itself and pin that; else somebody is in between",
    )
}

/// The handshake is not signed with the certificate's key.
pub(super) fn of_signature(error: &rustls::Error) -> Verdict {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::BadSignature) => Verdict::new(
            "the server does not have its private key",
            "somebody who has only copied the certificate may be in between: check the address and \
             the network; else replace the server's certificate together with its key",
        ),
        _ => Verdict::new(
            format!("its key cannot be used: {error}"),
            "replace the server's certificate",
        ),
    }
}

/// No chain leads to an authority that is trusted.
pub(super) fn of_chain(
    error: &rustls::Error,
    presented: &[u8],
    authorities: &str,
    host: &str,
) -> Verdict {
    let rustls::Error::InvalidCertificate(invalid) = error else {
        return other(error);
    };
    match invalid {
        // A reinstalled server's authority has the name of the old one, but another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Verdict::new(
            format!("it was not issued by {authorities}"),
            format!(
                "name the CA file of its issuer (a vCenter offers it at \
                 https://{host}/certs/download.zip), {PIN}"
            ),
        ),
        CertificateError::NotValidForNameContext { presented, .. } => Verdict::new(
            format!(
                "it is not for the name {host}, but for {}",
                names(presented)
            ),
            format!("connect by a name that stands in it, {PIN}"),
        ),
        CertificateError::NotValidForName => Verdict::new(
            format!("it is not for the name {host}"),
            format!("connect by a name that stands in it, {PIN}"),
        ),
        CertificateError::ExpiredContext { time, not_after } => Verdict::new(
            format!(
                "it has expired on {}; now is {}",
                date(*not_after),
                date(*time)
            ),
            format!("renew it, check this machine's clock, {PIN}"),
        ),
        CertificateError::Expired => Verdict::new(
            "it has expired, or its dates contradict each other",
            format!("renew it, check this machine's clock, {PIN}"),
        ),
        CertificateError::NotValidYetContext { time, not_before } => Verdict::new(
            format!(
                "it is not valid before {}; now is {}",
                date(*not_before),
                date(*time)
            ),
            format!("check the clocks of the server and of this machine, {PIN}"),
        ),
        CertificateError::NotValidYet => Verdict::new(
            "it is not valid yet",
            format!("check the clocks of the server and of this machine, {PIN}"),
        ),
        CertificateError::Revoked => Verdict::new(
            "its issuer has revoked it",
            "replace the server's certificate; do not pin it, others may have its key",
        ),
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            Verdict::new(
                "it, or one that it depends on, is signed in a way that is not supported, such as \
                 with MD5 or SHA-1",
                format!("have it issued again with SHA-256, {PIN}"),
            )
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            Verdict::new(
                "it is not for servers (its extended key usage has no serverAuth)",
                format!("have it issued again for servers, {PIN}"),
            )
        }
        CertificateError::Other(_) if is_authority(presented) => Verdict::new(
            "it is an authority's certificate (CA:TRUE), which is not accepted as a server's own",
            format!("have a certificate with CA:FALSE issued for the server, {PIN}"),
        ),
        _ => other(error),
    }
}

fn other(error: &rustls::Error) -> Verdict {
    Verdict::new(
        error.to_string(),
        format!("replace the server's certificate, {PIN}"),
    )
}

fn is_authority(presented: &[u8]) -> bool {
    Certificate::read(presented).is_some_and(|certificate| certificate.authority)
}

fn date(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("second {seconds} of 1970"))
}

/// Whoever made the certificate chose its names: so many, and so much of each, are shown.
const MOST_NAMES: usize = 8;
const LONGEST_NAME: usize = 100;

/// Names as webpki tells them: `DnsName("vc.example.org")`, `IpAddress(10.0.0.1)`.
fn names(presented: &[String]) -> String {
    if presented.is_empty() {
        return "no name".into();
    }
    let bare = |name: &String| -> String {
        let inner = name.split_once('(').map_or(name.as_str(), |(_, rest)| rest);
        let inner = inner.trim_end_matches(')').trim_matches('"');
        let printable = inner.chars().filter(|char| !char.is_control());
        printable.take(LONGEST_NAME).collect()
    };
    let mut text = presented
        .iter()
        .take(MOST_NAMES)
        .map(bare)
        .collect::<Vec<_>>()
        .join(", ");
    if presented.len() > MOST_NAMES {
        text += &format!(" and {} more", presented.len() - MOST_NAMES);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_few_short_and_printable() {
        assert_eq!(names(&[]), "no name");
        let two = ["DnsName(\"vc.example.org\")", "IpAddress(10.0.0.1)"].map(String::from);
        assert_eq!(names(&two), "vc.example.org, 10.0.0.1");
        let many = vec![format!("DnsName(\"a\n{}\")", "b".repeat(500)); 100];
        let text = names(&many);
        assert!(text.ends_with("bb and 92 more"), "{text}");
        assert!(text.len() < 1000 && !text.contains('\n'), "{text}");
    }

    #[test]
    fn a_date_is_told_as_people_write_it() {
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_000_000_000));
        assert_eq!(date(time), "2001-09-09T01:46:40Z");
    }
}
