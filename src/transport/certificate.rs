//! What a certificate must be before anything can prove a server by it, read from its DER form.
//!
//! A pin or a thumbprint says that a certificate is the right one; it does not make a key strong
//! that others can compute. So version and key are checked whatever proves the server. What a pin
//! replaces is the authority's word: issuer, names, dates and the certificate's own signature are
//! not looked at then. A host's self-signed certificate that has expired is still that host's.

/// The smallest RSA key that NIST SP 800-131A permits; smaller ones were computed in public.
const SMALLEST_RSA: usize = 2048;

/// The largest RSA key that signatures can be verified with.
const LARGEST_RSA: usize = 8192;

/// What a certificate is, as far as trust depends on it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    /// The X.509 version.
    version: u8,
    key: Key,
    /// Whether it is marked as an authority's (`CA:TRUE`).
    pub(super) authority: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Key {
    Rsa { bits: usize },
    P256,
    P384,
    Ed25519,
    Other,
}

impl Certificate {
    /// `None` for what is not a certificate.
    pub(super) fn read(der: &[u8]) -> Option<Certificate> {
        let mut tbs = Der(Der(Der(der).take(SEQUENCE)?).take(SEQUENCE)?);
        let version = match tbs.take_if(VERSION) {
            Some(version) => match Der(version).take(INTEGER)? {
                [number] => number.checked_add(1)?,
                _ => return None,
            },
            None => 1,
        };
        tbs.take(INTEGER)?;
        // Signature algorithm, issuer, validity, subject.
        for _ in 0..4 {
            tbs.take(SEQUENCE)?;
        }
        let key = Key::read(tbs.take(SEQUENCE)?)?;
        tbs.take_if(ISSUER_ID);
        tbs.take_if(SUBJECT_ID);
        let authority = match tbs.take_if(EXTENSIONS) {
            Some(extensions) => is_authority(Der(extensions).take(SEQUENCE)?)?,
            None => false,
        };
        Some(Certificate {
            version,
            key,
            authority,
        })
    }

    /// Why nobody can be trusted by it.
    pub(super) fn weakness(&self) -> Option<String> {
        if self.version != 3 {
            return Some(format!(
                "it is an X.509 v{} certificate, and only v3 says what its key may be used for",
                self.version
            ));
        }
        match self.key {
            Key::Rsa { bits } if bits < SMALLEST_RSA => Some(format!(
                "its RSA key has {bits} bits, and fewer than {SMALLEST_RSA} can be broken"
            )),
            Key::Rsa { bits } if bits > LARGEST_RSA => Some(format!(
                "its RSA key has {bits} bits, and more than {LARGEST_RSA} are not supported"
            )),
            Key::Other => Some("its key is of a kind that is not supported".into()),
            Key::Rsa { .. } | Key::P256 | Key::P384 | Key::Ed25519 => None,
        }
    }
}

impl Key {
    /// Reads a SubjectPublicKeyInfo.
    fn read(info: &[u8]) -> Option<Key> {
        let mut info = Der(info);
        let mut algorithm = Der(info.take(SEQUENCE)?);
        let bits = info.take(BIT_STRING)?;
        Some(match algorithm.take(OID)? {
            RSA => {
                let key = bits.split_first()?.1;
                let modulus = Der(Der(key).take(SEQUENCE)?).take(INTEGER)?;
                Key::Rsa {
                    bits: bit_length(modulus),
                }
            }
            EC => match algorithm.take(OID)? {
                CURVE_P256 => Key::P256,
                CURVE_P384 => Key::P384,
                _ => Key::Other,
            },
            ED25519 => Key::Ed25519,
            _ => Key::Other,
        })
    }
}

fn bit_length(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let rest = &number[zeros..];
    let unused = rest.first().map_or(0, |first| first.leading_zeros());
    rest.len() * 8 - unused as usize
}

/// Whether the basic constraints among the extensions say so.
fn is_authority(extensions: &[u8]) -> Option<bool> {
    let mut extensions = Der(extensions);
    while !extensions.0.is_empty() {
        let mut extension = Der(extensions.take(SEQUENCE)?);
        let id = extension.take(OID)?;
        extension.take_if(BOOLEAN);
        let value = extension.take(OCTET_STRING)?;
        if id == BASIC_CONSTRAINTS {
            let marked = Der(Der(value).take(SEQUENCE)?).take_if(BOOLEAN);
            return Some(marked.is_some_and(|marked| marked != [0]));
        }
    }
    Some(false)
}

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const ISSUER_ID: u8 = 0x81;
const SUBJECT_ID: u8 = 0x82;
const EXTENSIONS: u8 = 0xa3;

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const CURVE_P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const CURVE_P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];

/// DER values, one after the other.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next value, which must have this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let [first, length, rest @ ..] = self.0 else {
            return None;
        };
        if *first != tag {
            return None;
        }
        let (length, rest) = match length {
            0..=0x7f => (usize::from(*length), rest),
            // Four bytes of length are more than any certificate has.
            0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
                let add = |sum: usize, digit: &u8| sum << 8 | usize::from(*digit);
                (digits.iter().fold(0, add), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(content)
    }

    /// The same, where a value of this tag comes next.
    fn take_if(&mut self, tag: u8) -> Option<&'a [u8]> {
        (self.0.first() == Some(&tag)).then(|| self.take(tag))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    fn made(algorithm: &'static rcgen::SignatureAlgorithm, is_ca: IsCa) -> Vec<u8> {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut params = CertificateParams::new(vec!["vc".to_owned()]).unwrap();
        params.is_ca = is_ca;
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn version_key_and_constraints_are_read() {
        let authority = IsCa::Ca(BasicConstraints::Unconstrained);
        for (algorithm, key) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, Key::P256),
            (&rcgen::PKCS_ECDSA_P384_SHA384, Key::P384),
            (&rcgen::PKCS_ED25519, Key::Ed25519),
        ] {
            for (is_ca, marked) in [
                (IsCa::NoCa, false),
                (IsCa::ExplicitNoCa, false),
                (authority, true),
            ] {
                let read = Certificate::read(&made(algorithm, is_ca)).unwrap();
                assert_eq!((read.version, read.authority), (3, marked));
                assert_eq!(read.key, key);
                assert_eq!(read.weakness(), None);
            }
        }
    }

    #[test]
    fn the_length_of_a_number_is_told_in_bits() {
        assert_eq!(bit_length(&[]), 0);
        assert_eq!(bit_length(&[0, 0x80, 0]), 16);
        assert_eq!(bit_length(&[0x01, 0]), 9);
    }

    #[test]
    fn a_certificate_cut_or_changed_anywhere_is_read_or_refused() {
        let der = made(&rcgen::PKCS_ECDSA_P256_SHA256, IsCa::NoCa);
        for length in 0..der.len() {
            assert_eq!(Certificate::read(&der[..length]), None, "{length}");
        }
        for at in 0..der.len() {
            for byte in [0, 1, 0x30, 0x7f, 0x80, 0x84, 0x85, 0xff] {
                let mut changed = der.clone();
                changed[at] = byte;
                let _ = Certificate::read(&changed).and_then(|read| read.weakness());
            }
        }
    }
}
