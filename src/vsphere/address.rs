//! Where the server is: what users write, and the URL it means.

use crate::error::{Error, Kind, Result};
use std::net::Ipv6Addr;
use url::{Host, Url};

/// The URL of the service that `server` names: `vc.example.org`, `10.0.0.1:8443`, `[::1]:443`,
/// `::1` or `https://vc.example.org/sdk`; `http://` only where `allow_plain` permits it.
pub(super) fn parse(server: &str, allow_plain: bool) -> Result<Url> {
    let invalid = |why: &str| {
        // A password that somebody wrote into the URL must not come out in a message.
        let shown = if server.contains('@') {
            "the server"
        } else {
            server
        };
        Error::new(Kind::InvalidArgument, format!("{shown:?}: {why}"))
            .remedy("name it as host, host:port or https://host:port/sdk")
    };
    let text = if server.contains("://") {
        server.to_owned()
    } else if server.parse::<Ipv6Addr>().is_ok() {
        format!("https://[{server}]")
    } else {
        format!("https://{server}")
    };
    if text.contains(|char: char| char.is_whitespace() || char.is_control()) {
        return Err(invalid("there is white space in the server's name"));
    }
    let mut url = Url::parse(&text).map_err(|error| invalid(&error.to_string()))?;
    match url.scheme() {
        "https" => {}
        "http" if allow_plain => {}
        "http" => {
            return Err(invalid(
                "http would show password and disks to everybody on the way",
            ));
        }
        _ => return Err(invalid("neither https nor http")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("user and password do not belong into the URL"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("there is a query or a fragment in the URL"));
    }
    if url.port() == Some(0) {
        return Err(invalid("there is no port 0"));
    }
    let path = match url.path().trim_end_matches('/') {
        "" => "/sdk".to_owned(),
        path => path.to_owned(),
    };
    url.set_path(&path);
    Ok(url)
}

/// The host, without brackets, and the port.
pub(super) fn authority(url: &Url) -> (String, u16) {
    let host = match url.host() {
        Some(Host::Ipv6(address)) => address.to_string(),
        Some(host) => host.to_string(),
        None => String::new(),
    };
    (host, url.port_or_known_default().unwrap_or(443))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_that_users_write_mean_one_url() {
        for (server, url, host, port) in [
            (
                "vc.example.org",
                "https://vc.example.org/sdk",
                "vc.example.org",
                443,
            ),
            (
                "10.0.0.1:8443",
                "https://10.0.0.1:8443/sdk",
                "10.0.0.1",
                8443,
            ),
            ("[::1]:444", "https://[::1]:444/sdk", "::1", 444),
            ("fe80::1", "https://[fe80::1]/sdk", "fe80::1", 443),
            ("https://vc:443/sdk/", "https://vc/sdk", "vc", 443),
            (
                "https://vc/proxied/sdk",
                "https://vc/proxied/sdk",
                "vc",
                443,
            ),
        ] {
            let parsed = parse(server, false).unwrap();
            assert_eq!(parsed.as_str(), url);
            assert_eq!(authority(&parsed), (host.to_owned(), port), "{server}");
        }
    }

    #[test]
    fn what_names_no_server_is_refused() {
        for server in [
            "",
            ":443",
            "vc:0",
            "vc:99999",
            "ftp://vc",
            "vc example",
            "https://",
            "vc/sdk?x=1",
            "vc\n",
            "[::1",
        ] {
            let error = parse(server, true).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidArgument, "{server}");
        }
    }

    #[test]
    fn plain_http_must_be_permitted() {
        assert!(parse("http://vc", false).is_err());
        assert_eq!(
            parse("http://vc:8080", true).unwrap().as_str(),
            "http://vc:8080/sdk"
        );
    }

    #[test]
    fn a_password_in_the_url_is_refused_and_not_repeated() {
        let error = parse("https://root:s3cret@vc/sdk", false).unwrap_err();
        assert!(!error.message().contains("s3cret"), "{error}");
    }
}
