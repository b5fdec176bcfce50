//! Password, session cookie, tickets and the proxy's password reach no log record, no error and no
//! file name; and no text tells by what is missing in it what a password is.

mod proxy;

use crate::fixture::{MIB, Memory, Scene};
use std::path::Path;
use std::time::Duration;
use vmdk_backup::client::{Client, ConnectOptions};
use vmdk_backup::error::{Error, Kind};
use vmdk_backup::ops::{
    BackupOptions, Common, RecoverOptions, RestoreOptions, backup_volume, recover, restore_backup,
};
use vmdk_backup::service::Staging;
use vsphere_sim::{Fault, Options, Trouble, VolumeSpec};

#[test]
fn no_secret_reaches_a_log_or_an_error() {
    let scene = Scene::new(Options::default());
    let service = Memory::default();
    let mut texts = Vec::new();
    let client = scene.client();
    let common = || Common {
        staging: Some(Staging::File),
        ..Common::default()
    };
    let backup = |id: &str| BackupOptions {
        backup_id: id.into(),
        common: common(),
        ..BackupOptions::default()
    };
    let restore = |id: &str| RestoreOptions {
        backup_id: id.into(),
        common: common(),
        ..RestoreOptions::default()
    };
    texts.push(format!(
        "{:?}",
        backup_volume(&client, &service, &scene.volume(), backup("b")).unwrap()
    ));
    texts.push(service.kept.borrow()["b"].metadata.clone().unwrap());
    texts.push(format!(
        "{:?}",
        restore_backup(&client, &service, &scene.volume(), restore("b")).unwrap()
    ));
    let missing = restore_backup(&client, &service, &scene.volume(), restore("none"));
    texts.push(format!("{:?}", missing.unwrap_err()));
    scene.sim.set_power(&scene.vm, true).unwrap();
    let running = backup_volume(&client, &service, &scene.volume(), backup("c"));
    texts.push(format!("{:?}", running.unwrap_err()));
    drop(client);
    let mut wrong = scene.connect_options();
    wrong.username = "nobody".into();
    texts.push(format!("{:?}", Client::connect(wrong).err().unwrap()));
    texts.extend(scene.log.lock().unwrap().iter().cloned());
    assert!(
        texts.len() > 50,
        "only {} texts: is the log on?",
        texts.len()
    );

    let mut secrets = vec![scene.options.password.clone()];
    for request in scene.sim.requests() {
        if let Some((_, value)) = request.header("cookie").and_then(|c| c.split_once('=')) {
            secrets.push(value.trim_matches('"').to_owned());
        }
    }
    secrets.sort();
    secrets.dedup();
    assert!(secrets.len() >= 2, "the session cookie is among them");
    for text in &texts {
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{text}");
        }
    }
}

/// A password that no text of the library or the simulator can contain by accident.
const NEUTRAL: &str = "Zq9\u{fc}~xJ#kkVw!";

/// Words of the texts, parts of words, names, and what parsers trip over.
fn odd_passwords() -> Vec<String> {
    let mut odd: Vec<String> = [
        "a",
        "e",
        "1",
        " ",
        ":",
        "://",
        "name",
        "user",
        "pass",
        "password",
        "disk",
        "log",
        "log in",
        "connect",
        "volume-1",
        "the server",
        "Login",
        "InvalidLogin",
        "127.0.0.1",
        "https://",
        "[hidden]",
        "administrator@vsphere.local",
        "administrator",
        "vm-",
        "Datastore1",
        "s3cret",
        "p%40ss%2Fword%00",
        "p@ss/word?#",
        "<a>&amp;]]>\"'",
        "&#x41;",
        "\u{fc}\u{4e2d}\u{1f511}",
        "two\twords",
        "{}",
        "%s%n",
        "\\n",
        "$(id)",
        "Passw0rd!",
        "correct horse battery staple",
    ]
    .map(String::from)
    .into();
    odd.push("Aa1!".repeat(50));
    odd.push("x".repeat(200));
    odd
}

/// What clients say in many failures, with the address and the port left out.
fn said(password: &str) -> Vec<String> {
    let options = Options {
        password: password.into(),
        ..Options::default()
    };
    let scene = Scene::with_volume(options, VolumeSpec::new("volume-1", MIB));
    let mut texts = Vec::new();
    let mut failed = |error: Error| {
        texts.push(format!(
            "{error:?} {:?} {:?}",
            error.fault(),
            error.object()
        ));
    };
    let refused = |adjust: &dyn Fn(&mut ConnectOptions)| {
        let mut options = scene.impatient_options();
        adjust(&mut options);
        Client::connect(options).err().unwrap()
    };
    failed(refused(&|options| options.username = "nobody".into()));
    let words = format!("cannot authorize with {password}, is the password '{password}' right?");
    for fault in [
        Fault::new("InvalidLogin", &words),
        Fault::new("SystemError", &words).with("reason", words.as_str()),
    ] {
        let faults = scene.sim.faults();
        faults.on_call("Login", 1, Trouble::Fault(fault));
        failed(refused(&|_| ()));
    }
    for status in [200, 400, 401, 500, 502, 503] {
        scene
            .sim
            .faults()
            .on_call("Login", 1, Trouble::Echo(status));
        failed(refused(&|_| ()));
    }
    let client = scene.impatient_client();
    let service = Memory::default();
    let backup = |id: &str, name: &str| {
        let mut volume = scene.volume();
        if name != volume.name {
            volume.id = None;
        }
        volume.name = name.into();
        let how = BackupOptions {
            backup_id: id.into(),
            common: Common::default(),
            ..BackupOptions::default()
        };
        backup_volume(&client, &service, &volume, how)
    };
    backup("b", "volume-1").unwrap();
    failed(backup("b", "volume-1").unwrap_err());
    failed(backup("c", "nothing").unwrap_err());
    for method in ["ExportVm", "RetrievePropertiesEx"] {
        let fault =
            Fault::new("SystemError", "A general system error: name in use").with("reason", "name");
        scene.sim.faults().on_call(method, 1, Trouble::Fault(fault));
        failed(backup("c", "volume-1").unwrap_err());
    }
    service.kept.borrow_mut().remove("b");
    drop(client);
    let logged = scene.log.lock().unwrap().clone();
    texts.extend(logged.into_iter().filter(|line| {
        // How long a request took, and which one was on its way at the end, differs anyway.
        !line.contains(" ms") && !line.contains("operation")
    }));
    let port = scene.sim.address().port().to_string();
    let texts = texts.iter().map(|text| text.replace(&port, "PORT"));
    texts.map(|text| without_ids(&text)).collect()
}

/// Without the numbers and ids that are made anew each time.
fn without_ids(text: &str) -> String {
    let parts = text.split_inclusive(|char: char| !char.is_ascii_alphanumeric());
    let random = |part: &&str| !(part.len() > 4 && part.bytes().any(|b| b.is_ascii_digit()));
    parts.filter(random).collect()
}

#[test]
fn no_text_depends_on_the_password() {
    let neutral = said(NEUTRAL);
    assert!(neutral.len() > 15, "{neutral:#?}");
    for text in &neutral {
        assert!(
            !text.contains(NEUTRAL) && !text.contains("[hidden]"),
            "{text}"
        );
    }
    for password in odd_passwords() {
        assert_eq!(said(&password), neutral, "{password:?}");
    }
}

#[test]
fn a_password_that_a_server_repeats_later_is_cut_out() {
    let scene = Scene::new(Options::default());
    let client = scene.impatient_client();
    let words = format!("the user's password is {}", scene.options.password);
    let fault = Fault::new("SystemError", &words).with("reason", words.as_str());
    scene
        .sim
        .faults()
        .on_call("ExportVm", 1, Trouble::Fault(fault));
    let how = BackupOptions {
        backup_id: "b".into(),
        common: Common::default(),
        ..BackupOptions::default()
    };
    let error = backup_volume(&client, &Memory::default(), &scene.volume(), how).unwrap_err();
    assert!(
        error.to_string().contains("password is [hidden]"),
        "{error}"
    );
}

#[test]
fn a_password_in_the_servers_address_reaches_no_text() {
    let scene = Scene::new(Options::default());
    let port = scene.sim.address().port();
    for server in [
        format!("https://root:s3cret@127.0.0.1:{port}/sdk"),
        format!("root:s3cret@127.0.0.1:{port}"),
        format!("https://127.0.0.1:{port}/sdk?password=s3cret"),
        format!("https://127.0.0.1:{port}/sdk#s3cret"),
        format!("https://root:{port}/s3cret@127.0.0.1/sdk"),
        "127.0.0.1:s3cret".into(),
        "https://root%3As3cret%40127.0.0.1/".into(),
    ] {
        let mut options = scene.connect_options();
        options.server = server.clone();
        let shown = format!("{options:?}");
        let error = Client::connect(options).err().unwrap();
        assert_eq!(error.kind(), Kind::InvalidArgument, "{server}: {error}");
        for text in [shown, format!("{error:?} {error}")] {
            assert!(!text.contains("s3cret"), "{text}");
        }
    }
    // A path is permitted, but not shown.
    let mut options = scene.connect_options();
    options.server = format!("https://127.0.0.1:{port}/s3cret");
    let error = Client::connect(options).err().unwrap();
    assert!(!error.to_string().contains("s3cret"), "{error}");
    assert!(!scene.log.lock().unwrap().join("\n").contains("s3cret"));
}

#[test]
fn the_options_of_a_client_show_no_secret() {
    let scene = Scene::new(Options::default());
    let mut options = scene.connect_options();
    options.proxy = Some("http://user:s3cret@proxy:3128".into());
    let shown = format!("{options:?}");
    assert!(shown.contains("administrator@vsphere.local"), "{shown}");
    for secret in ["s3cret", scene.options.password.as_str(), "proxy:3128"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

/// Everything that is in a directory, as text; and the names.
fn contents(directory: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        text += &format!("{}\n", path.display());
        text += &String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_default());
    }
    text
}

#[test]
fn neither_journal_nor_metadata_has_a_secret() {
    let scene = Scene::new(Options::default());
    let state = tempfile::tempdir().unwrap();
    let mut options = scene.impatient_options();
    options.state_dir = Some(state.path().to_owned());
    let client = Client::connect(options).unwrap();
    let service = Memory::default();
    let how = BackupOptions {
        backup_id: "b".into(),
        common: Common::default(),
        ..BackupOptions::default()
    };
    backup_volume(&client, &service, &scene.volume(), how).unwrap();
    // A restore that can neither go on nor undo leaves its journal behind.
    for method in ["ReconfigVM_Task", "Destroy_Task", "UnregisterVM"] {
        for nth in 1..9 {
            scene
                .sim
                .faults()
                .on_call(method, nth, Trouble::Status(500));
        }
    }
    let how = RestoreOptions {
        backup_id: "b".into(),
        common: Common::default(),
        ..RestoreOptions::default()
    };
    let error = restore_backup(&client, &service, &scene.volume(), how).unwrap_err();
    let journal = contents(state.path());
    assert!(journal.contains(".journal"), "{error}");
    let mut secrets = vec![scene.options.password.clone()];
    for request in scene.sim.requests() {
        if let Some((_, value)) = request.header("cookie").and_then(|c| c.split_once('=')) {
            secrets.push(value.trim_matches('"').to_owned());
        }
        if let Some(ticket) = request.path.strip_prefix("/nfc/") {
            secrets.push(ticket.split('/').next().unwrap().to_owned());
        }
    }
    let metadata = service.kept.borrow()["b"].metadata.clone().unwrap();
    let log = scene.log.lock().unwrap().join("\n");
    for text in [journal, metadata, log, error.to_string()] {
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{text}");
        }
    }
}

#[test]
fn what_a_server_repeats_is_cut_out_of_notices_and_reports_too() {
    let scene = Scene::new(Options::default());
    let client = scene.impatient_client();
    let service = Memory::default();
    let backup = BackupOptions {
        backup_id: "b".into(),
        common: Common::default(),
        ..BackupOptions::default()
    };
    backup_volume(&client, &service, &scene.volume(), backup).unwrap();
    let words = format!("the user's password is {}", scene.options.password);
    let repeating = |method: &str| {
        let fault = Fault::new("SystemError", &words).with("reason", words.as_str());
        let faults = scene.sim.faults();
        faults.on_call(method, 1, Trouble::Fault(fault));
    };
    repeating("DeleteVirtualDisk_Task");
    let restore = RestoreOptions {
        backup_id: "b".into(),
        common: Common::default(),
        ..RestoreOptions::default()
    };
    let summary = restore_backup(&client, &service, &scene.volume(), restore).unwrap();
    repeating("DeleteVirtualDisk_Task");
    let options = RecoverOptions {
        min_age: Some(Duration::ZERO),
        ..RecoverOptions::default()
    };
    let told = recover(&client, options).unwrap();
    assert_eq!((summary.notices.len(), told.len()), (1, 1), "{told:?}");
    for text in [&summary.notices[0], &told[0].what] {
        assert!(text.contains("password is [hidden]"), "{text}");
        assert!(!text.contains(&scene.options.password), "{text}");
    }
}
