//! Where the server is: what users write, and the URL it means.

use crate::error::{Error, Kind, Result};
use std::net::Ipv6Addr;
use url::{Host, Url};

/// The URL of the service that `server` names: `vc.example.org`, `10.0.0.1:8443`, `[::1]:443`,
/// `::1` or `https://vc.example.org/sdk`; `http://` only where `allow_plain` permits it.
///
/// What cannot be read is not repeated: there may be a password anywhere in it.
pub(super) fn parse(server: &str, allow_plain: bool) -> Result<Url> {
    let url = read(server, allow_plain)?;
    if !url.path().ends_with("/sdk") {
        return Err(invalid(
            "it has the path of something else than the API, whose path ends in /sdk: leave it out",
        ));
    }
    Ok(url)
}

fn invalid(why: &str) -> Error {
    let message = format!("the server's address: {why}");
    Error::new(Kind::InvalidArgument, message)
        .remedy("name it as host, host:port or https://host:port/sdk")
}

/// The same, whatever its path.
fn read(server: &str, allow_plain: bool) -> Result<Url> {
    // Also where a password has a slash or the like in it, by which the URL's host would be the
    // user's name, and its port or path the password.
    if server.contains('@') {
        return Err(invalid("user and password do not belong into it"));
    }
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
    let first = url.path().split('/').nth(1).unwrap_or_default();
    if let Some(page) = PAGES.iter().find(|page| **page == first) {
        let why = format!("it is that of the page /{page}, not of the API: leave out the path");
        return Err(invalid(&why));
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

/// What people copy out of a browser: the first part of its path.
const PAGES: [&str; 14] = [
    "ui",
    "mob",
    "vsphere-client",
    "folder",
    "host",
    "websso",
    "apiexplorer",
    "api",
    "rest",
    "sso-adminserver",
    "psc",
    "cgi-bin",
    "screen",
    "guestFile",
];

/// What a port is, where it is one of vSphere's that has no API.
pub(crate) fn port_hint(server: &str) -> &'static str {
    match read(server, true).map(|url| authority(&url).1) {
        Ok(902) => " (902 is the port of disk data; the API has 443)",
        Ok(5480) => " (5480 is the port of the appliance's management; the API has 443)",
        Ok(9443) => " (9443 is the port of the old web client; the API has 443)",
        _ => "",
    }
}

/// The server's name in messages: host and port, where it can be read that far.
pub(crate) fn label(server: &str) -> String {
    match read(server, true) {
        Ok(url) => {
            let (host, port) = authority(&url);
            if host.contains(':') {
                format!("[{host}]:{port}")
            } else {
                format!("{host}:{port}")
            }
        }
        Err(_) => "the server".into(),
    }
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
    fn a_pasted_page_is_refused_with_what_to_leave_out() {
        for (server, hint) in [
            ("https://vc/ui", "/ui"),
            ("https://vc/ui/", "/ui"),
            (
                "vc.example.org/ui/app/vm;nav=h/urn:vmomi:VM:vm-1/summary",
                "/ui",
            ),
            ("https://vc/ui/#?extensionId=vsphere", "/ui"),
            ("https://vc/mob/?moid=ServiceInstance", "/mob"),
            ("https://vc/vsphere-client/?csp", "/vsphere-client"),
            ("https://esx:443/folder?dcPath=ha-datacenter", "/folder"),
            ("https://vc/websso/SAML2/SSO/vsphere.local", "/websso"),
            ("https://vc/api/session", "/api"),
            ("https://vc/somewhere", "leave it out"),
            ("vc/sdk/vimService.wsdl", "leave it out"),
            ("https://vc/#/login", "fragment"),
        ] {
            let error = parse(server, false).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidArgument, "{server}");
            assert!(error.message().contains(hint), "{server}: {error}");
            assert!(error.message().contains("name it as host"), "{error}");
        }
    }

    #[test]
    fn a_port_without_the_api_has_a_hint() {
        assert!(port_hint("esx:902").contains("disk data"));
        assert!(port_hint("https://vc:5480").contains("management"));
        assert_eq!(port_hint("vc"), "");
        assert_eq!(port_hint("vc:8443"), "");
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
    fn a_password_in_the_address_is_refused_and_not_repeated() {
        for server in [
            "https://root:s3cret@vc/sdk",
            "http://root:s3cret@vc/sdk",
            "ftp://root:s3cret@vc/sdk",
            "root:s3cret@vc",
            "//root:s3cret@vc",
            "https://root:12/s3cret@vc",
            "https://root:12?s3cret@vc",
            "https://root:12#s3cret@vc",
            "https://root:12\\s3cret@vc",
            "https://s3cret@",
            "https://root%3As3cret%40vc/",
            "https://vc:s3cret/sdk",
            "vc:s3cret",
            "https://[s3cret]/",
            "https://vc/sdk?password=s3cret",
            "https://vc/sdk#s3cret",
            "vc s3cret",
            "s3cret://vc",
        ] {
            let error = parse(server, false).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidArgument, "{server}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
            assert!(!label(server).contains("s3cret"), "{}", label(server));
        }
    }

    #[test]
    fn a_server_is_called_by_host_and_port() {
        assert_eq!(label("vc.example.org"), "vc.example.org:443");
        assert_eq!(label("https://[::1]:444/s3cret"), "[::1]:444");
        assert_eq!(label("http://vc/sdk"), "vc:80");
    }
}
