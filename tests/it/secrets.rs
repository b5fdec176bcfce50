//! Password and session cookie reach no log record, no error and no file name.

use crate::fixture::{Memory, Scene};
use vmdk_backup::client::Client;
use vmdk_backup::ops::{BackupOptions, Common, RestoreOptions, backup_volume, restore_backup};
use vmdk_backup::service::Staging;
use vsphere_sim::Options;

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
    };
    let restore = |id: &str| RestoreOptions {
        backup_id: id.into(),
        common: common(),
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
