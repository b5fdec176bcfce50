//! The versions of the API: which ones a server lists, and which ones a request may ask for.

/// All published versions of `urn:vim25`, the newest first.
const PUBLISHED: [&str; 37] = [
    "9.1.1.0",
    "9.1.0.0",
    "9.0.0.0",
    "8.0.3.1",
    "8.0.3.0",
    "8.0.2.0",
    "8.0.1.0",
    "8.0.0.2",
    "8.0.0.1",
    "8.0.0.0",
    "7.0.3.2",
    "7.0.3.1",
    "7.0.3.0",
    "7.0.2.1",
    "7.0.2.0",
    "7.0.1.1",
    "7.0.1.0",
    "7.0.0.2",
    "7.0.0.0",
    "6.9.1",
    "6.8.7",
    "6.7.3",
    "6.7.2",
    "6.7.1",
    "6.7",
    "6.5",
    "6.0",
    "5.5",
    "5.1",
    "5.0",
    "4.1",
    "4.0",
    "2.5u2server",
    "2.5u2",
    "2.5",
    "2.0.1",
    "2.0",
];

/// The numbers of a version, without the zeros at its end: clients write 7.0 for 7.0.0.0.
fn numbers(version: &str) -> Vec<&str> {
    let mut numbers: Vec<&str> = version.split('.').collect();
    while numbers.len() > 1 && numbers.last() == Some(&"0") {
        numbers.pop();
    }
    numbers
}

fn position(version: &str) -> Option<usize> {
    PUBLISHED
        .iter()
        .position(|published| numbers(published) == numbers(version))
}

/// Whether a request with this `SOAPAction` is answered. Servers also answer clients that are newer than
/// themselves: govmomi asks every server for the newest version that it knows. A version that was never published, or
/// one of another API, is refused.
pub fn is_known(action: &str) -> bool {
    match action.trim_matches('"').strip_prefix("urn:vim25") {
        Some("") => true,
        Some(rest) => rest
            .strip_prefix('/')
            .is_some_and(|version| position(version).is_some()),
        None => false,
    }
}

/// What clients read to find out which version to speak: the server's own, and all older ones.
pub fn listed(api_version: &str) -> String {
    let from = position(api_version).map_or(0, |position| position + 1);
    let prior = PUBLISHED[from..]
        .iter()
        .map(|version| format!("<version>{version}</version>"));
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\n<namespaces version=\"1.0\"><namespace><name>urn:vim25</name>\
         <version>{api_version}</version><priorVersions>{}</priorVersions></namespace></namespaces>",
        prior.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_versions_are_known_and_others_are_not() {
        for action in [
            "\"urn:vim25/8.0.2.0\"",
            "urn:vim25/7.0",
            "urn:vim25/6.5",
            "urn:vim25/9.1.0.0",
            "urn:vim25",
        ] {
            assert!(is_known(action), "{action}");
        }
        for action in [
            "urn:vim25/99.0",
            "urn:vim25/8.0.2.9",
            "urn:vim25/",
            "urn:vim25x/6.5",
            "urn:vim26/6.5",
            "urn:pbm/2.0",
            "",
        ] {
            assert!(!is_known(action), "{action}");
        }
    }

    #[test]
    fn a_server_lists_its_own_version_and_the_older_ones() {
        let listed = listed("6.7.1");
        assert!(listed.contains("<version>6.7.1</version><priorVersions><version>6.7</version>"));
        assert!(!listed.contains("7.0"), "{listed}");
    }
}
