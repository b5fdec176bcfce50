//! Who is let through: certificates made for the test, a rustls server on loopback.

mod refusals;

use crate::peer::Peer;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::NamedTempFile;
use url::Url;
use vmdk_backup::error::{Kind, Result};
use vmdk_backup::log::Log;
use vmdk_backup::runtime::Runtime;
use vmdk_backup::transport::http::{Http, HttpOptions};
use vmdk_backup::transport::tls::{Fingerprint, Trust};

const PATIENT: Duration = Duration::from_secs(60);

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: NamedTempFile,
}

impl Authority {
    fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(certificate.pem().as_bytes()).unwrap();
        Authority {
            issuer: Issuer::new(params, key),
            file,
        }
    }

    fn trust(&self) -> Trust {
        Trust::CaFile(self.file.path().to_owned())
    }

    fn issue(&self, name: &str, adjust: impl Fn(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        adjust(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { certificate, key }
    }
}

struct Identity {
    certificate: Certificate,
    key: KeyPair,
}

impl Identity {
    /// As ESXi hosts make themselves one.
    fn self_signed() -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost.localdomain".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Identity { certificate, key }
    }

    fn sha256(&self) -> Fingerprint {
        Fingerprint::Sha256(Sha256::digest(self.certificate.der()).into())
    }

    fn sha1(&self) -> Fingerprint {
        Fingerprint::Sha1(Sha1::digest(self.certificate.der()).into())
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.serialize_der().into())
    }
}

/// A server with a certificate, which counts the requests it got to see.
struct Server {
    peer: Peer,
    requests: Arc<AtomicUsize>,
}

fn serve(identity: &Identity, versions: &[&'static rustls::SupportedProtocolVersion]) -> Server {
    let config = builder(versions)
        .with_single_cert(
            vec![identity.certificate.der().clone()],
            identity.private_key(),
        )
        .unwrap();
    serve_with(config)
}

fn builder(
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> rustls::ConfigBuilder<ServerConfig, rustls::server::WantsServerCert> {
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
}

fn serve_with(config: ServerConfig) -> Server {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = requests.clone();
    let peer = Peer::tls(config, move |connection| {
        connection.head()?;
        counter.fetch_add(1, Ordering::SeqCst);
        connection.answer("200 OK", "disk")
    });
    Server { peer, requests }
}

fn options(trust: Trust) -> HttpOptions {
    HttpOptions {
        trust,
        connect_timeout: PATIENT,
        proxy: None,
        plain_endpoint: false,
        log: Log::default(),
    }
}

fn get(http: &Http, server: &Server) -> Result<Vec<u8>> {
    let http = http.clone();
    let url = Url::parse(&format!("https://127.0.0.1:{}/", server.peer.port())).unwrap();
    let runtime = Runtime::new().unwrap();
    runtime.run(&mut || Ok(()), async move {
        let mut download = http.get(&url, None, PATIENT).await?;
        let mut body = Vec::new();
        while let Some(chunk) = download.chunk().await? {
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    })
}

fn trusting(trust: Trust) -> Http {
    Http::new(&options(trust)).unwrap()
}

fn let_through(http: &Http, server: &Server) {
    assert_eq!(get(http, server).unwrap(), b"disk");
}

/// The message, after a refusal before any request was sent.
fn refused(http: &Http, server: &Server) -> String {
    let error = get(http, server).unwrap_err();
    assert_eq!(error.kind(), Kind::Tls, "{error}");
    assert!(!error.is_retryable(), "{error}");
    assert_eq!(server.requests.load(Ordering::SeqCst), 0);
    error.message()
}

#[test]
fn a_pinned_certificate_is_let_through_by_either_hash_and_in_either_version() {
    let identity = Identity::self_signed();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let server = serve(&identity, &[version]);
        let_through(&trusting(Trust::Pin(identity.sha256())), &server);
        let_through(&trusting(Trust::Pin(identity.sha1())), &server);
    }
}

#[test]
fn another_certificate_than_the_pinned_is_refused_with_both_fingerprints() {
    let identity = Identity::self_signed();
    let server = serve(&identity, rustls::ALL_VERSIONS);
    for pin in [
        Identity::self_signed().sha256(),
        Identity::self_signed().sha1(),
    ] {
        let message = refused(&trusting(Trust::Pin(pin)), &server);
        assert!(message.contains(&format!("pinned {pin}")), "{message}");
        assert!(
            message.contains(&identity.sha256().to_string()),
            "{message}"
        );
        assert!(message.contains(&server.peer.authority()), "{message}");
    }
}

/// Presents a certificate and signs with the key of another.
#[derive(Debug)]
struct Thief(Arc<CertifiedKey>);

impl ResolvesServerCert for Thief {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

#[test]
fn a_pinned_certificate_without_its_key_is_refused() {
    let identity = Identity::self_signed();
    let foreign = ring::sign::any_supported_type(&Identity::self_signed().private_key()).unwrap();
    let stolen = CertifiedKey::new(vec![identity.certificate.der().clone()], foreign);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let thief = Thief(Arc::new(stolen.clone()));
        let server = serve_with(builder(&[version]).with_cert_resolver(Arc::new(thief)));
        refused(&trusting(Trust::Pin(identity.sha256())), &server);
    }
}

#[test]
fn a_certificate_of_the_named_authority_is_let_through() {
    let authority = Authority::new();
    let server = serve(&authority.issue("127.0.0.1", |_| ()), rustls::ALL_VERSIONS);
    let_through(&trusting(authority.trust()), &server);
}

#[test]
fn a_certificate_of_another_authority_is_refused_with_what_to_do() {
    let identity = Authority::new().issue("127.0.0.1", |_| ());
    let server = serve(&identity, rustls::ALL_VERSIONS);
    let authority = Authority::new();
    let message = refused(&trusting(authority.trust()), &server);
    let file = authority.file.path().display().to_string();
    for part in [
        &file,
        "name the CA file",
        "pin",
        &identity.sha256().to_string(),
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let authority = Authority::new();
    let server = serve(
        &authority.issue("vc.example.org", |_| ()),
        rustls::ALL_VERSIONS,
    );
    let message = refused(&trusting(authority.trust()), &server);
    assert!(message.contains("not for the name 127.0.0.1"), "{message}");
}

#[test]
fn an_expired_certificate_is_refused() {
    let authority = Authority::new();
    let identity = authority.issue("127.0.0.1", |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    let message = refused(
        &trusting(authority.trust()),
        &serve(&identity, rustls::ALL_VERSIONS),
    );
    assert!(message.contains("expired"), "{message}");
}

#[test]
fn the_systems_authorities_do_not_vouch_for_anybody() {
    let server = serve(&Identity::self_signed(), rustls::ALL_VERSIONS);
    let outcome = Http::new(&options(Trust::System)).and_then(|http| get(&http, &server));
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), Kind::Tls, "{error}");
    assert!(error.message().contains("pin"), "{error}");
}

#[test]
fn everybody_is_let_through_only_when_that_was_asked_for() {
    let server = serve(&Identity::self_signed(), rustls::ALL_VERSIONS);
    let_through(&trusting(Trust::Insecure), &server);
}

#[test]
fn a_data_host_is_let_through_by_the_thumbprint_or_as_the_endpoint_is() {
    let authority = Authority::new();
    let endpoint = trusting(authority.trust());
    let host = Identity::self_signed();
    let server = serve(&host, rustls::ALL_VERSIONS);
    for thumbprint in [host.sha1(), host.sha256()] {
        let_through(&endpoint.for_data_host(Some(thumbprint)).unwrap(), &server);
    }
    // A thumbprint that is out of date does not shut out a host with a good certificate.
    let good = serve(&authority.issue("127.0.0.1", |_| ()), rustls::ALL_VERSIONS);
    let_through(&endpoint.for_data_host(Some(host.sha1())).unwrap(), &good);
    let_through(&endpoint.for_data_host(None).unwrap(), &good);
}

#[test]
fn a_data_host_that_nobody_vouches_for_is_refused() {
    let authority = Authority::new();
    let endpoint = trusting(authority.trust());
    let server = serve(&Identity::self_signed(), rustls::ALL_VERSIONS);
    refused(&endpoint.for_data_host(None).unwrap(), &server);
    let thumbprint = Identity::self_signed().sha1();
    let message = refused(&endpoint.for_data_host(Some(thumbprint)).unwrap(), &server);
    assert!(message.contains(&thumbprint.to_string()), "{message}");
}

#[test]
fn the_endpoints_pin_is_no_thumbprint_of_a_data_host() {
    let endpoint = trusting(Trust::Pin(Identity::self_signed().sha256()));
    let host = Identity::self_signed();
    let server = serve(&host, rustls::ALL_VERSIONS);
    refused(&endpoint.for_data_host(None).unwrap(), &server);
    let_through(&endpoint.for_data_host(Some(host.sha1())).unwrap(), &server);
}

#[test]
fn an_endpoint_without_tls_can_vouch_for_nobody() {
    let authority = Authority::new();
    let plain = HttpOptions {
        plain_endpoint: true,
        ..options(authority.trust())
    };
    let host = Identity::self_signed();
    let server = serve(&host, rustls::ALL_VERSIONS);
    let http = Http::new(&plain)
        .unwrap()
        .for_data_host(Some(host.sha256()));
    refused(&http.unwrap(), &server);
}

#[test]
fn a_server_that_speaks_no_tls_is_told_as_such() {
    let peer = Peer::plain(|connection| connection.write("SSH-2.0-OpenSSH_9.9\r\n"));
    let server = Server {
        peer,
        requests: Arc::default(),
    };
    let message = refused(&trusting(Trust::Insecure), &server);
    assert!(message.contains("does not speak TLS"), "{message}");
}
