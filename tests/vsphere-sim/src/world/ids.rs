//! Numbers and random names for new things.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

fn random() -> u64 {
    // Each RandomState is seeded by the system's randomness.
    RandomState::new().build_hasher().finish()
}

/// A random name of 32 hexadecimal digits: a ticket, a session's key.
pub fn ticket() -> String {
    format!("{:016x}{:016x}", random(), random())
}

/// A random UUID, with the first digits given.
pub fn uuid(prefix: &str) -> String {
    let digits = ticket();
    let digits = format!("{prefix}{}", &digits[prefix.len()..]);
    dashed(&digits)
}

fn dashed(digits: &str) -> String {
    format!(
        "{}-{}-{}-{}-{}",
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..32]
    )
}

/// A UUID in any of its spellings, as the canonical one.
pub fn canonical_uuid(text: &str) -> Option<String> {
    let digits: String = text
        .chars()
        .filter(|letter| !matches!(letter, '-' | ' '))
        .collect();
    let hexadecimal = digits.len() == 32 && digits.chars().all(|digit| digit.is_ascii_hexdigit());
    hexadecimal.then(|| dashed(&digits.to_lowercase()))
}

/// A UUID as a disk's descriptor spells it: `60 00 c2 93 7b a0 3a 03-9f 22 56 c5 29 93 b7 27`.
pub fn spaced_uuid(uuid: &str) -> String {
    let digits: Vec<char> = uuid.chars().filter(|letter| *letter != '-').collect();
    let bytes: Vec<String> = digits.chunks(2).map(|pair| pair.iter().collect()).collect();
    let (first, second) = bytes.split_at(bytes.len() / 2);
    format!("{}-{}", first.join(" "), second.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_a_uuid_are_one() {
        let uuid = uuid("6000c29");
        assert!(uuid.starts_with("6000c29"));
        assert_eq!(canonical_uuid(&spaced_uuid(&uuid)), Some(uuid.clone()));
        assert_eq!(canonical_uuid(&uuid.to_uppercase()), Some(uuid));
        assert_eq!(canonical_uuid("6000c29"), None);
    }
}
