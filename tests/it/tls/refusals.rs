//! Each reason for which a handshake fails, and what the user is told to do.

use super::*;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;

/// DER values, to take certificates apart and put them together in another way.
mod der {
    pub fn value(tag: u8, content: &[u8]) -> Vec<u8> {
        let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
        let head = match (high, low) {
            (0, 0..=0x7f) => vec![tag, low],
            (0, _) => vec![tag, 0x81, low],
            _ => vec![tag, 0x82, high, low],
        };
        [head, content.to_vec()].concat()
    }

    /// The values that follow each other, each with its tag and length.
    pub fn values(mut content: &[u8]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        while !content.is_empty() {
            let (head, length) = head(content);
            found.push(content[..head + length].to_vec());
            content = &content[head + length..];
        }
        found
    }

    /// What is inside a value.
    pub fn inside(value: &[u8]) -> &[u8] {
        &value[head(value).0..]
    }

    fn head(value: &[u8]) -> (usize, usize) {
        match value[1] {
            length @ 0..=0x7f => (2, length.into()),
            0x81 => (3, value[2].into()),
            0x82 => (4, u16::from_be_bytes([value[2], value[3]]).into()),
            _ => panic!("too long"),
        }
    }
}

const KEY: usize = 6;

/// The identity's certificate with other fields, in the order of the standard: version, number,
/// algorithm, issuer, dates, subject, key, extensions. Its signature is not a good one any more.
fn altered(identity: &Identity, alter: impl Fn(&mut Vec<Vec<u8>>)) -> CertificateDer<'static> {
    let mut parts = der::values(der::inside(identity.certificate.der()));
    let mut fields = der::values(der::inside(&parts[0]));
    alter(&mut fields);
    parts[0] = der::value(0x30, &fields.concat());
    der::value(0x30, &parts.concat()).into()
}

fn first_version(fields: &mut Vec<Vec<u8>>) {
    fields.retain(|field| field[0] != 0xa0 && field[0] != 0xa3);
}

fn rsa(bits: usize) -> Vec<u8> {
    let mut modulus = vec![0xff; bits / 8];
    modulus.insert(0, 0);
    let numbers = [der::value(2, &modulus), der::value(2, &[1, 0, 1])].concat();
    let key = [&[0], &der::value(0x30, &numbers)[..]].concat();
    let rsa = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
    let info = [der::value(0x30, &rsa), der::value(3, &key)].concat();
    der::value(0x30, &info)
}

fn p521() -> Vec<u8> {
    let curve = [
        6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81, 4, 0, 0x23,
    ];
    let info = [der::value(0x30, &curve), der::value(3, &[0; 134])].concat();
    der::value(0x30, &info)
}

/// A server that presents any certificate, whoever's its key is.
fn present(certificate: CertificateDer<'static>, identity: &Identity) -> Server {
    let key = ring::sign::any_supported_type(&identity.private_key()).unwrap();
    let certified = CertifiedKey::new(vec![certificate], key);
    let resolver = Arc::new(Thief(Arc::new(certified)));
    serve_with(builder(rustls::ALL_VERSIONS).with_cert_resolver(resolver))
}

fn sha1(certificate: &[u8]) -> Fingerprint {
    Fingerprint::Sha1(Sha1::digest(certificate).into())
}

fn assert_all_in(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "no {part:?} in: {message}");
    }
}

#[test]
fn a_weak_certificate_is_refused_whatever_it_is_pinned_by() {
    let identity = Identity::self_signed();
    let weak: [(CertificateDer<'static>, &str); 5] = [
        (altered(&identity, first_version), "X.509 v1"),
        (
            altered(&identity, |fields| fields[KEY] = rsa(512)),
            "512 bits",
        ),
        (
            altered(&identity, |fields| fields[KEY] = rsa(1024)),
            "1024 bits",
        ),
        (
            altered(&identity, |fields| fields[KEY] = rsa(2040)),
            "2040 bits",
        ),
        (
            altered(&identity, |fields| fields[KEY] = p521()),
            "not supported",
        ),
    ];
    for (certificate, reason) in weak {
        let pin = Fingerprint::sha256_of(&certificate);
        let server = present(certificate.clone(), &identity);
        for trust in [Trust::Pin(pin), Trust::Pin(sha1(&certificate))] {
            let message = refused(&trusting(trust), &server);
            assert_all_in(&message, &[reason, &pin.to_string(), "2048", "P-256"]);
            assert!(!message.contains("vouched"), "{message}");
        }
        // A thumbprint that the endpoint vouches for is no better than a pin.
        let endpoint = trusting(Authority::new().trust());
        let message = refused(&endpoint.for_data_host(Some(pin)).unwrap(), &server);
        assert_all_in(&message, &[reason]);
        let other = Fingerprint::Sha256([7; 32]);
        let message = refused(&endpoint.for_data_host(Some(other)).unwrap(), &server);
        assert_all_in(&message, &[reason, &other.to_string()]);
    }
}

#[test]
fn an_rsa_key_of_2048_bits_is_strong_enough_to_be_asked_for_its_signature() {
    let identity = Identity::self_signed();
    let certificate = altered(&identity, |fields| fields[KEY] = rsa(2048));
    let pin = Trust::Pin(Fingerprint::sha256_of(&certificate));
    // Nobody has the key that was made up here, and the server does not hide that.
    let message = refused(&trusting(pin), &present(certificate, &identity));
    assert!(!message.contains("2048"), "{message}");
    assert_all_in(&message, &["key"]);
}

#[test]
fn a_weak_certificate_that_an_authority_issued_is_refused() {
    let authority = Authority::new();
    let identity = authority.issue("127.0.0.1", |_| ());
    let certificate = altered(&identity, first_version);
    let message = refused(
        &trusting(authority.trust()),
        &present(certificate, &identity),
    );
    assert_all_in(&message, &["X.509 v1", "pinning does not help"]);
}

#[test]
fn what_is_not_a_certificate_is_refused_as_such() {
    let identity = Identity::self_signed();
    let certificate = CertificateDer::from(vec![0x30, 3, 2, 1, 1]);
    let pin = Trust::Pin(Fingerprint::sha256_of(&certificate));
    let message = refused(&trusting(pin), &present(certificate, &identity));
    assert_all_in(&message, &["not a certificate"]);
}

#[test]
fn nobody_who_asked_for_no_checks_is_stopped_by_a_weak_certificate() {
    let identity = Identity::self_signed();
    let server = present(altered(&identity, first_version), &identity);
    let_through(&trusting(Trust::Insecure), &server);
}

#[test]
fn a_pin_stands_for_issuer_name_dates_and_constraints() {
    let authority = Authority::new();
    let expired = authority.issue("elsewhere.example.org", |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let server = serve(&expired, rustls::ALL_VERSIONS);
    for pin in [expired.sha256(), expired.sha1()] {
        let_through(&trusting(Trust::Pin(pin)), &server);
        let endpoint = trusting(Authority::new().trust());
        let_through(&endpoint.for_data_host(Some(pin)).unwrap(), &server);
    }
}

#[test]
fn a_stolen_certificate_is_told_as_such() {
    let identity = Identity::self_signed();
    let certificate = identity.certificate.der().clone();
    let server = present(certificate, &Identity::self_signed());
    let message = refused(&trusting(Trust::Pin(identity.sha256())), &server);
    let fingerprint = identity.sha256().to_string();
    assert_all_in(
        &message,
        &["does not have its private key", "in between", &fingerprint],
    );
}

#[test]
fn a_name_that_is_not_in_the_certificate_is_told_with_those_that_are() {
    let authority = Authority::new();
    let identity = authority.issue("vc.example.org", |_| ());
    let server = serve(&identity, rustls::ALL_VERSIONS);
    let message = refused(&trusting(authority.trust()), &server);
    assert_all_in(
        &message,
        &["not for the name 127.0.0.1, but for vc.example.org", "pin"],
    );
}

#[test]
fn dates_that_are_over_or_to_come_are_told() {
    let authority = Authority::new();
    for (from, to, parts) in [
        (2001, 2002, ["expired on 2002-01-01", "renew"]),
        (2990, 2999, ["not valid before 2990-01-01", "clocks"]),
    ] {
        let identity = authority.issue("127.0.0.1", |params| {
            params.not_before = date_time_ymd(from, 1, 1);
            params.not_after = date_time_ymd(to, 1, 1);
        });
        let server = serve(&identity, rustls::ALL_VERSIONS);
        let message = refused(&trusting(authority.trust()), &server);
        assert_all_in(&message, &parts);
        assert_all_in(&message, &["now is 20", "pin"]);
    }
}

#[test]
fn an_authoritys_certificate_is_not_a_servers() {
    let authority = Authority::new();
    let identity = authority.issue("127.0.0.1", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let server = serve(&identity, rustls::ALL_VERSIONS);
    let message = refused(&trusting(authority.trust()), &server);
    assert_all_in(
        &message,
        &["CA:TRUE", "CA:FALSE", "pin the presented fingerprint"],
    );
    let_through(&trusting(Trust::Pin(identity.sha256())), &server);
}

#[test]
fn a_self_signed_authority_named_as_its_own_is_not_a_servers() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(certificate.pem().as_bytes()).unwrap();
    let server = serve(&Identity { certificate, key }, rustls::ALL_VERSIONS);
    let trust = Trust::CaFile(file.path().to_owned());
    assert_all_in(&refused(&trusting(trust), &server), &["CA:TRUE", "pin"]);
}

#[test]
fn a_certificate_that_is_not_for_servers_is_refused() {
    let authority = Authority::new();
    let identity = authority.issue("127.0.0.1", |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });
    let server = serve(&identity, rustls::ALL_VERSIONS);
    let message = refused(&trusting(authority.trust()), &server);
    assert_all_in(&message, &["serverAuth", "pin"]);
}

#[test]
fn a_signature_with_an_old_digest_is_refused_unless_the_certificate_is_pinned() {
    let authority = Authority::new();
    let identity = authority.issue("127.0.0.1", |_| ());
    // ecdsa-with-SHA1, in both places where the algorithm stands.
    let sha1 = der::value(0x30, &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1]);
    let certificate = altered(&identity, |fields| fields[2] = sha1.clone());
    let mut parts = der::values(der::inside(&certificate));
    parts[1] = sha1;
    let certificate = CertificateDer::from(der::value(0x30, &parts.concat()));
    let server = present(certificate.clone(), &identity);
    let message = refused(&trusting(authority.trust()), &server);
    assert_all_in(&message, &["SHA-1", "issued again", "pin"]);
    let pin = Trust::Pin(Fingerprint::sha256_of(&certificate));
    let_through(&trusting(pin), &server);
}

/// A server that answers the client's first words with an alert.
fn alerting(description: u8) -> Server {
    let peer = Peer::plain(move |connection| {
        let head = connection.body(5)?;
        connection.body(u16::from_be_bytes([head[3], head[4]]).into())?;
        connection.write([21, 3, 3, 0, 2, 2, description])?;
        connection.hold();
        Ok(())
    });
    let requests = Arc::default();
    Server { peer, requests }
}

#[test]
fn each_alert_has_a_reason_and_a_remedy() {
    for (description, name, remedy) in [
        (0x46, "ProtocolVersion", "enable TLS 1.2"),
        (0x28, "HandshakeFailure", "cipher suite"),
        (0x47, "InsufficientSecurity", "cipher suite"),
        (0x30, "UnknownCA", "client certificate"),
        (0x2a, "BadCertificate", "client certificate"),
        (0x31, "AccessDenied", "client certificate"),
        (0x74, "CertificateRequired", "client certificate"),
        (0x70, "UnrecognisedName", "the server's own name"),
        (0x50, "InternalError", "the server's log"),
        (0x33, "DecryptError", "proxy"),
        (0x78, "NoApplicationProtocol", "check host and port"),
        (0xee, "0xee", "check host and port"),
    ] {
        let server = alerting(description);
        let message = refused(&trusting(Trust::Insecure), &server);
        let authority = server.peer.authority();
        assert_all_in(
            &message,
            &[name, remedy, &authority, "the server ended the handshake"],
        );
    }
}

#[test]
fn a_server_that_asks_for_a_client_certificate_is_told_as_such() {
    let identity = Identity::self_signed();
    let mut roots = RootCertStore::empty();
    roots.add(identity.certificate.der().clone()).unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let provider = Arc::new(ring::default_provider());
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), provider.clone());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(
                vec![identity.certificate.der().clone()],
                identity.private_key(),
            )
            .unwrap();
        let server = serve_with(config);
        let message = refused(&trusting(Trust::Pin(identity.sha256())), &server);
        assert_all_in(&message, &["client certificate", "443"]);
    }
}

#[test]
fn a_server_without_a_common_cipher_suite_is_told_as_such() {
    let identity = Identity::self_signed();
    // Answers with TLS 1.0, and with a suite that was not offered.
    for (version, suite, reason) in [(1, 0x2f, "no TLS version"), (3, 0x2f, "TLS")] {
        let peer = Peer::plain(move |connection| {
            let head = connection.body(5)?;
            connection.body(u16::from_be_bytes([head[3], head[4]]).into())?;
            let mut hello = vec![2, 0, 0, 38, 3, version];
            hello.extend([7; 32]);
            hello.extend([0, 0, suite, 0]);
            let mut record = vec![22, 3, 3, 0, hello.len() as u8];
            record.extend(hello);
            connection.write(record)?;
            connection.hold();
            Ok(())
        });
        let requests = Arc::default();
        let server = Server { peer, requests };
        let message = refused(&trusting(Trust::Pin(identity.sha256())), &server);
        assert_all_in(&message, &[reason]);
        assert!(message.contains('('), "no remedy: {message}");
    }
}
