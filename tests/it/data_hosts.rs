//! What a data host gets to see: the ticket in its URL over TLS, and never the session's cookie.

use crate::fixture::{Memory, Scene};
use vmdk_backup::client::{Client, ConnectOptions};
use vmdk_backup::error::{Error, Kind};
use vmdk_backup::ops::{BackupOptions, Common, RestoreOptions, backup_volume, restore_backup};
use vsphere_sim::{DataHostCookie, DeviceUrls, Options, Recorded};

fn base(text: &str) -> Options {
    Options {
        urls: DeviceUrls::Base(text.into()),
        ..Options::default()
    }
}

fn backup(client: &Client, scene: &Scene, service: &Memory) -> Result<(), Error> {
    let how = BackupOptions {
        backup_id: "b".into(),
        common: Common::default(),
        ..BackupOptions::default()
    };
    backup_volume(client, service, &scene.volume(), how).map(drop)
}

fn restore(client: &Client, scene: &Scene, service: &Memory) -> Result<(), Error> {
    let how = RestoreOptions {
        backup_id: "b".into(),
        common: Common::default(),
        ..RestoreOptions::default()
    };
    restore_backup(client, service, &scene.volume(), how).map(drop)
}

/// The requests that moved a disk in a backup and a restore.
fn round_trip(scene: &Scene, options: ConnectOptions) -> Vec<Recorded> {
    let client = Client::connect(options).unwrap();
    let service = Memory::default();
    backup(&client, scene, &service).unwrap();
    restore(&client, scene, &service).unwrap();
    scene.assert_restored(&scene.vm);
    let mut moved = scene.sim.requests();
    moved.retain(|request| request.path.starts_with("/nfc/"));
    assert_eq!(moved.len(), 2);
    moved
}

/// Why a backup fails; nothing is left of it, and no request moved a disk.
fn refused(scene: &Scene, options: ConnectOptions) -> Error {
    let before = scene.state();
    let client = Client::connect(options).unwrap();
    let service = Memory::default();
    let error = backup(&client, scene, &service).unwrap_err();
    assert!(service.kept.borrow().is_empty());
    drop(client);
    assert_eq!(scene.state(), before);
    for request in scene.sim.requests() {
        assert!(!request.path.starts_with("/nfc/"), "{}", request.path);
    }
    error
}

/// The tickets of the leases there were.
fn no_ticket_in(scene: &Scene, error: &Error) {
    let log = scene.log.lock().unwrap().join("\n");
    for text in [error.to_string(), log] {
        assert!(
            !text.contains("/nfc/") && !text.contains("disk-0"),
            "{text}"
        );
    }
}

#[test]
fn a_data_host_gets_no_cookie() {
    for urls in [
        DeviceUrls::Host,
        DeviceUrls::HostName("localhost".into()),
        DeviceUrls::Base("https://localhost:{port}".into()),
    ] {
        let options = Options {
            urls,
            data_host_cookie: DataHostCookie::Refused,
            ..Options::default()
        };
        let scene = Scene::new(options);
        for request in round_trip(&scene, scene.connect_options()) {
            assert!(request.data_host.is_some());
            assert_eq!(request.header("cookie"), None);
            assert_eq!(request.header("authorization"), None);
        }
    }
}

#[test]
fn the_endpoint_gets_its_own_cookie() {
    for options in [
        Options::esxi(),
        base("https://*:443"),
        base("https://{endpoint}"),
    ] {
        let scene = Scene::new(options);
        for request in round_trip(&scene, scene.connect_options()) {
            assert_eq!(request.data_host, None);
            let cookie = request.header("cookie").unwrap_or_default();
            assert!(cookie.starts_with("vmware_soap_session="), "{cookie}");
        }
    }
}

#[test]
fn a_host_that_asks_for_the_cookie_does_not_get_it() {
    let options = Options {
        data_host_cookie: DataHostCookie::Required,
        ..Options::default()
    };
    let scene = Scene::new(options);
    let client = scene.impatient_client();
    let error = backup(&client, &scene, &Memory::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Auth, "{error}");
    assert!(
        error.to_string().contains("no session cookie is sent"),
        "{error}"
    );
    for request in scene.sim.requests() {
        assert!(request.data_host.is_none() || request.header("cookie").is_none());
    }
    no_ticket_in(&scene, &error);
}

#[test]
fn a_plain_http_url_is_refused_before_the_ticket_travels() {
    let options = Options {
        data_host_tls: false,
        ..base("http://{host}")
    };
    let scene = Scene::new(options);
    let error = refused(&scene, scene.connect_options());
    assert_eq!(error.kind(), Kind::Tls, "{error}");
    assert!(!error.is_retryable(), "{error}");
    for part in ["plain http", "127.0.0.1:", "allow_plain_http"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    no_ticket_in(&scene, &error);
}

#[test]
fn a_restore_refuses_a_plain_http_url_too() {
    let scene = Scene::new(Options::default());
    let service = Memory::default();
    backup(&scene.client(), &scene, &service).unwrap();
    let plain = Scene::new(Options {
        data_host_tls: false,
        ..base("http://{host}")
    });
    let before = plain.state();
    let error = restore(&plain.client(), &plain, &service).unwrap_err();
    assert_eq!(error.kind(), Kind::Tls, "{error}");
    assert_eq!(plain.state(), before);
    no_ticket_in(&plain, &error);
}

#[test]
fn a_plain_http_url_is_used_where_that_is_permitted_and_gets_no_cookie() {
    let options = Options {
        data_host_tls: false,
        ..base("http://{host}")
    };
    let scene = Scene::new(options);
    let mut how = scene.connect_options();
    how.allow_plain_http = true;
    for request in round_trip(&scene, how) {
        assert_eq!(request.header("cookie"), None);
    }
}

#[test]
fn no_cookie_travels_in_clear_with_a_disk() {
    let options = Options {
        tls: false,
        ..Options::esxi()
    };
    let scene = Scene::new(options);
    let mut how = scene.connect_options();
    how.allow_plain_http = true;
    for request in round_trip(&scene, how) {
        assert_eq!(request.header("cookie"), None);
    }
}

#[test]
fn a_url_that_no_disk_can_have_is_refused_without_showing_its_ticket() {
    for url in [
        "https://root:s3cret@{host}",
        "https://root@{host}",
        "ftp://{host}",
        "file://",
        "https://*.example.org",
        "https://*@{host}",
        "https://",
        "{host}",
        "https://[::1",
        "https://127.0.0.1:0",
        "https://127.0.0.1:99999",
    ] {
        let scene = Scene::new(base(url));
        let error = refused(&scene, scene.impatient_options());
        assert_eq!(error.kind(), Kind::Fault, "{url}: {error}");
        assert!(error.to_string().contains("URL"), "{error}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
        no_ticket_in(&scene, &error);
    }
}
