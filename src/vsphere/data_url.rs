//! The URL of a disk's data: which host it leads to, and what that host may see.
//!
//! The ticket in the URL's path authenticates a transfer: hosts ask for nothing else. So govmomi
//! keeps cookies by host, and pyVmomi's `deploy_ovf` sample uploads with no cookie at all. The
//! session's cookie, which can do whatever its user can do, is therefore sent only to the endpoint
//! that set it, and only over TLS. Ticket and data travel in clear only where that is permitted.
//! No text made here contains a URL: whoever reads a log must not learn the ticket.

use crate::error::{Error, Kind, Result};
use url::Url;

/// The URL that a lease gives for a disk, made usable: a host `*` is the `endpoint`'s host and
/// port.
///
/// # Errors
/// [`Kind::Fault`] for what is not the URL of a disk; [`Kind::Tls`] for plain HTTP, unless
/// `allow_plain`.
pub(crate) fn resolve(given: &str, endpoint: &Url, allow_plain: bool) -> Result<Url> {
    let invalid = |why: &str| {
        let message = format!("the lease's URL of the disk is not usable: {why}");
        Error::new(Kind::Fault, message)
    };
    let foreign = |char: char| char.is_whitespace() || char.is_control() || char == '\\';
    if given.contains(foreign) {
        return Err(invalid("it contains white space, controls or backslashes"));
    }
    let (scheme, rest) = given
        .split_once("://")
        .ok_or_else(|| invalid("it is not absolute"))?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let authority = match authority.strip_prefix('*') {
        None => authority,
        // A port of its own after the `*` is overruled: only the endpoint's is known to work.
        Some(port) if port.is_empty() || port.starts_with(':') => endpoint.authority(),
        Some(_) => return Err(invalid("only a port may follow the host *")),
    };
    if authority.is_empty() {
        return Err(invalid("it has no host"));
    }
    let url = Url::parse(&format!("{scheme}://{authority}{path}"))
        .map_err(|error| invalid(&error.to_string()))?;
    // Whoever is named there would be sent along as basic authentication.
    if authority.contains('@') {
        return Err(invalid("it contains a user name"));
    }
    if url.port() == Some(0) {
        return Err(invalid("its port is 0"));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if allow_plain => Ok(url),
        "http" => {
            let message = format!(
                "the lease's URL of the disk on {} is plain http, which shows the disk and the \
                 ticket for it to everybody on the way",
                host_and_port(&url)
            );
            Err(Error::new(Kind::Tls, message)
                .remedy("enable TLS on that host, or permit plain http with allow_plain_http"))
        }
        _ => Err(invalid("its scheme is neither https nor http")),
    }
}

/// Whether `url` leads to the endpoint itself, over TLS.
pub(super) fn takes_cookie(url: &Url, endpoint: &Url) -> bool {
    url.scheme() == "https" && url.origin() == endpoint.origin()
}

/// Host and port, for messages.
pub(super) fn host_and_port(url: &Url) -> String {
    format!(
        "{}:{}",
        url.host_str().unwrap_or("?"),
        url.port_or_known_default().unwrap_or(0)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> Url {
        Url::parse(url).unwrap()
    }

    #[test]
    fn a_star_is_the_endpoint_with_its_port() {
        for (given, at, url) in [
            (
                "https://*/nfc/52/disk-0.vmdk",
                "https://10.0.0.1:8443/sdk",
                "https://10.0.0.1:8443/nfc/52/disk-0.vmdk",
            ),
            (
                "https://*:443/nfc/52/disk-0.vmdk",
                "https://[fd00::1]/sdk",
                "https://[fd00::1]/nfc/52/disk-0.vmdk",
            ),
            ("https://*", "https://vc/sdk", "https://vc/"),
            (
                "https://esx3.example.org/nfc/52/disk-0.vmdk",
                "https://10.0.0.1/sdk",
                "https://esx3.example.org/nfc/52/disk-0.vmdk",
            ),
        ] {
            let resolved = resolve(given, &endpoint(at), false).unwrap();
            assert_eq!(resolved.as_str(), url);
        }
    }

    #[test]
    fn the_cookie_goes_to_the_endpoints_own_host_port_and_scheme_only() {
        let at = endpoint("https://vc.example.org/proxied/sdk");
        for (given, takes) in [
            ("https://*/nfc/52/disk-0.vmdk", true),
            ("https://vc.example.org/nfc/52/disk-0.vmdk", true),
            ("HTTPS://VC.EXAMPLE.ORG:443/folder/disk.vmdk", true),
            ("https://vc.example.org:8443/nfc/52/disk-0.vmdk", false),
            ("https://vc.example.org./nfc/52/disk-0.vmdk", false),
            ("https://vc/nfc/52/disk-0.vmdk", false),
            ("https://esx.vc.example.org/nfc/52/disk-0.vmdk", false),
            ("https://127.0.0.1/nfc/52/disk-0.vmdk", false),
            ("http://vc.example.org/nfc/52/disk-0.vmdk", false),
            ("http://vc.example.org:443/nfc/52/disk-0.vmdk", false),
        ] {
            let url = resolve(given, &at, true).unwrap();
            assert_eq!(takes_cookie(&url, &at), takes, "{given}");
        }
        let plain = endpoint("http://vc:8080/sdk");
        let url = resolve("http://*/nfc/52/disk-0.vmdk", &plain, true).unwrap();
        assert!(!takes_cookie(&url, &plain));
    }

    #[test]
    fn what_is_not_the_url_of_a_disk_is_refused_without_its_ticket() {
        for given in [
            "",
            "52ab",
            "not a url/52ab",
            "file:///52ab",
            "ftp://esx3/52ab",
            "https:///52ab/disk-0.vmdk",
            "https:52ab",
            "https:\\\\esx3\\52ab",
            "https://esx3:0/52ab",
            "https://esx3:x/52ab",
            "https://user@esx3/52ab",
            "https://user:52ab@esx3/",
            "https://@esx3/52ab",
            "https://*@esx3/52ab",
            "https://*.esx3/52ab",
            "https://esx3/52ab\n",
        ] {
            let error = resolve(given, &endpoint("https://vc/sdk"), true).unwrap_err();
            assert_eq!(error.kind(), Kind::Fault, "{given}");
            assert!(!error.to_string().contains("52ab"), "{error}");
        }
    }

    #[test]
    fn plain_http_must_be_permitted() {
        let (given, at) = ("http://esx3/nfc/52ab/disk-0.vmdk", endpoint("https://vc"));
        let error = resolve(given, &at, false).unwrap_err();
        assert_eq!(error.kind(), Kind::Tls);
        assert!(error.to_string().contains("esx3:80"), "{error}");
        assert!(!error.to_string().contains("52ab"), "{error}");
        assert!(resolve(given, &at, true).is_ok());
    }
}
