//! The proxy's credentials are sent, and reach no text.

use crate::fixture::Scene;
use crate::peer::Peer;
use vmdk_backup::client::Client;
use vmdk_backup::error::Kind;
use vsphere_sim::Options;

/// A proxy that wants credentials, and repeats what it got where it refuses.
fn proxy(refuse: bool) -> Peer {
    Peer::plain(move |connection| {
        let head = connection.head()?;
        let line = head
            .lines()
            .find(|line| line.to_lowercase().starts_with("proxy-authorization"));
        let got = line.unwrap_or("nothing").to_owned();
        let status = if refuse {
            "407 Proxy Authentication Required"
        } else {
            "502 Bad Gateway"
        };
        connection.answer(status, &format!("I got {got}"))
    })
}

#[test]
fn a_proxys_password_is_sent_and_reaches_no_text() {
    // The credentials in base64, as the proxy must get them.
    for (userinfo, secret, sent) in [
        ("agent:s3cret!x", "s3cret!x", "YWdlbnQ6czNjcmV0IXg="),
        ("agent:p%40s%2Fs", "p%40s%2Fs", "YWdlbnQ6cEBzL3M="),
        ("agent:name", "agent:name", "YWdlbnQ6bmFtZQ=="),
        ("agent", "agent:", "YWdlbnQ6"),
        ("agent:%C3%BC", "%C3%BC", "YWdlbnQ6w7w="),
    ] {
        for refuse in [true, false] {
            let scene = Scene::new(Options::default());
            let proxy = proxy(refuse);
            let mut options = scene.impatient_options();
            options.proxy = Some(format!("http://{userinfo}@{}", proxy.authority()));
            let error = Client::connect(options).err().unwrap();
            // In clear, the proxy answers in the server's place, and can say what it got.
            let mut options = scene.impatient_options();
            options.proxy = Some(format!("http://{userinfo}@{}", proxy.authority()));
            options.server = "http://vc.invalid/sdk".into();
            options.allow_plain_http = true;
            let plain = Client::connect(options).err().unwrap();
            assert_eq!(plain.to_string().contains(sent), !refuse, "{sent}: {plain}");
            let log = scene.log.lock().unwrap().join("\n");
            for text in [error.to_string(), plain.to_string(), log] {
                assert!(!text.contains(secret), "{text}");
            }
            assert!(!error.to_string().contains(sent), "{error}");
        }
    }
}

#[test]
fn a_proxys_address_that_cannot_be_used_is_not_repeated() {
    for proxy in [
        "http://agent:s3cret",
        "http://agent:12/s3cret@proxy:3128",
        "http://agent:12#s3cret@proxy:3128",
        "http://agent:12?s3cret@proxy:3128",
        "http://agent:pa/s3cret@proxy:3128",
        "http://s3cret/x@proxy",
        "agent:s3cret@proxy:3128",
        "s3cret",
        "socks5://agent:s3cret@proxy",
    ] {
        let scene = Scene::new(Options::default());
        let mut options = scene.connect_options();
        options.proxy = Some(proxy.into());
        let error = Client::connect(options).err().unwrap();
        assert_eq!(error.kind(), Kind::InvalidArgument, "{proxy}: {error}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}
