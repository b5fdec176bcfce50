//! Sessions, properties and tasks against the simulator.

use crate::fixture::Scene;
use std::time::Duration;
use vmdk_backup::error::{Error, Kind, Result};
use vmdk_backup::runtime::Runtime;
use vmdk_backup::transport::soap::Element;
use vmdk_backup::vsphere::session::SessionOptions;
use vmdk_backup::vsphere::{Moref, Session, property, task};
use vsphere_sim::{ExpiredAnswer, Fault, Gate, Options, Rule, Trouble, VolumeSpec};

/// Longer than anything here takes.
const PATIENT: Duration = Duration::from_secs(60);

const PASSWORD: &str = "s3cret&<>\"'pass";

struct Connected {
    scene: Scene,
    runtime: Runtime,
    session: Session,
}

fn options_for(scene: &Scene) -> SessionOptions {
    let options = scene.connect_options();
    SessionOptions {
        server: options.server,
        username: options.username,
        password: options.password,
        trust: options.trust,
        connect_timeout: None,
        request_timeout: None,
        keepalive_interval: None,
        proxy: None,
        allow_plain_http: false,
        login_pause: None,
        retries: options.retries,
        log: options.log,
    }
}

impl Connected {
    fn new(options: Options) -> Connected {
        Connected::with(options, |_| ())
    }

    fn with(options: Options, adjust: impl FnOnce(&mut SessionOptions)) -> Connected {
        let scene = Scene::new(options);
        let mut session_options = options_for(&scene);
        adjust(&mut session_options);
        let runtime = Runtime::new().unwrap();
        let session = runtime.run(&mut || Ok(()), Session::connect(session_options));
        Connected {
            scene,
            runtime,
            session: session.unwrap(),
        }
    }

    fn run<T: Send + 'static, F>(&self, work: impl FnOnce(Session) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        self.runtime.run(&mut || Ok(()), work(self.session.clone()))
    }

    fn vm(&self) -> Moref {
        Moref::new("VirtualMachine", &self.scene.vm)
    }

    fn read_name(&self) -> Result<String> {
        let vm = self.vm();
        self.run(|session| async move {
            let properties = property::read(&session, &vm, &["name"]).await?;
            Ok(properties.text("name").unwrap_or_default().to_owned())
        })
    }

    /// Starts to rename the volume's machine and waits for the end.
    fn rename(&self) -> Result<()> {
        let vm = self.vm();
        self.run(|session| async move { rename(&session, &vm).await })
    }

    fn plan(&self, method: &str, trouble: Trouble) {
        self.scene.sim.faults().on_call(method, 1, trouble);
    }

    fn count(&self, method: &str) -> usize {
        let requests = self.scene.sim.requests();
        requests.iter().filter(|one| one.method == method).count()
    }
}

async fn rename(session: &Session, vm: &Moref) -> Result<()> {
    let arguments = vec![Element::new("newName").text("renamed")];
    let response = session.call(vm, "Rename_Task", arguments).await?;
    let task = response
        .child("returnval")
        .and_then(Moref::from_node)
        .unwrap();
    task::finish(session, &task).await.map(drop)
}

fn refused(adjust: impl FnOnce(&mut SessionOptions)) -> (Scene, Error) {
    let scene = Scene::new(Options::default());
    let mut options = options_for(&scene);
    adjust(&mut options);
    let runtime = Runtime::new().unwrap();
    let connected = runtime.run(&mut || Ok(()), Session::connect(options));
    (scene, connected.err().unwrap())
}

#[test]
fn a_wrong_password_is_refused_at_once_and_not_repeated_in_the_message() {
    let (scene, error) = refused(|options| options.password = "wr0ng-pass".to_owned().into());
    assert_eq!(error.kind(), Kind::Auth, "{error}");
    assert_eq!(error.fault(), Some("InvalidLogin"));
    assert!(!error.message().contains("wr0ng-pass"), "{error}");
    let requests = scene.sim.requests();
    assert_eq!(
        requests.iter().filter(|one| one.method == "Login").count(),
        1
    );
}

#[test]
fn plain_http_is_refused_before_the_password_is_sent() {
    let (scene, error) =
        refused(|options| options.server = options.server.replace("https", "http"));
    assert_eq!(error.kind(), Kind::InvalidArgument, "{error}");
    assert!(scene.sim.requests().is_empty());
}

#[test]
fn the_servers_own_api_version_is_spoken_after_the_first_request() {
    for options in [Options::default(), Options::esxi()] {
        let connected = Connected::new(options);
        connected.read_name().unwrap();
        let requests = connected.scene.sim.requests();
        let version = &connected.session.content().about.api_version;
        assert_eq!(requests[0].soap_action, "\"urn:vim25/6.5\"");
        let spoken = format!("\"urn:vim25/{version}\"");
        assert!(requests[1..].iter().all(|one| one.soap_action == spoken));
    }
}

#[test]
fn an_operations_id_stands_in_its_requests() {
    let connected = Connected::new(Options::default());
    let vm = connected.vm();
    connected
        .run(|session| async move {
            let session = session.with_operation("op-1");
            property::read(&session, &vm, &["name"]).await
        })
        .unwrap();
    let requests = connected.scene.sim.requests();
    assert!(
        requests
            .last()
            .unwrap()
            .body
            .contains("<operationID>op-1</operationID>")
    );
}

#[test]
fn neither_password_nor_cookie_reaches_the_log() {
    let connected = Connected::new(Options::default());
    connected.read_name().unwrap();
    let cookie = connected.session.cookie();
    let secret = cookie.split('"').nth(1).unwrap();
    assert!(secret.len() > 16, "{}", secret.len());
    let log = connected.scene.log.lock().unwrap().join("\n");
    assert!(log.contains("Login of SessionManager: 200"), "{log}");
    assert!(!log.contains(PASSWORD) && !log.contains(secret), "{log}");
}

#[test]
fn a_lost_session_is_renewed_once_for_all_calls_that_find_it_lost() {
    let connected = Connected::new(Options::default());
    connected.scene.sim.expire_sessions();
    let vm = connected.vm();
    connected
        .run(|session| async move {
            let reads = (0..5).map(|_| {
                let (reader, vm) = (session.clone(), vm.clone());
                session.spawn(async move { property::read(&reader, &vm, &["name"]).await })
            });
            for read in reads.collect::<Vec<_>>() {
                read.await.unwrap()?;
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(connected.count("Login"), 2);
    assert_eq!(connected.scene.sim.sessions(), 1);
}

#[test]
fn a_lost_session_that_only_shows_in_missing_properties_is_renewed() {
    let connected = Connected::new(Options {
        expired_answer: ExpiredAnswer::MissingSet,
        ..Options::default()
    });
    connected.scene.sim.expire_sessions();
    assert_eq!(connected.read_name().unwrap(), "volume-1");
    assert_eq!(connected.count("Login"), 2);
}

#[test]
fn a_refused_renewal_of_the_session_is_tried_again_after_a_pause() {
    let connected = Connected::with(Options::default(), |options| {
        options.login_pause = Some(Duration::from_secs(3600));
    });
    let sim = &connected.scene.sim;
    sim.change_options(|options| options.password = "another".into());
    sim.expire_sessions();
    for _ in 0..3 {
        let error = connected.read_name().unwrap_err();
        assert_eq!(error.kind(), Kind::Auth, "{error}");
        assert_eq!(error.fault(), Some("InvalidLogin"));
        assert!(error.is_retryable());
        assert!(
            error.message().contains("next attempt to log in"),
            "{error}"
        );
    }
    assert_eq!(connected.count("Login"), 2);
}

#[test]
fn a_client_whose_renewal_was_refused_goes_on_when_the_password_is_right_again() {
    for fault in [
        "InvalidLogin",
        "NoPermission",
        "InvalidState",
        "SystemError",
    ] {
        let connected = Connected::with(Options::default(), |options| {
            options.login_pause = Some(Duration::from_millis(20));
        });
        let sim = &connected.scene.sim;
        sim.faults().add(Rule {
            at: vsphere_sim::At::Call(Some("Login".into())),
            nth: 1,
            times: 2,
            trouble: Trouble::Fault(Fault::planned(fault)),
        });
        sim.expire_sessions();
        let error = connected.read_name().unwrap_err();
        assert!(error.is_retryable(), "{fault}: {error}");
        let end = std::time::Instant::now() + PATIENT;
        while let Err(error) = connected.read_name() {
            assert!(std::time::Instant::now() < end, "{error}");
            std::thread::sleep(Duration::from_millis(5));
        }
        // One at first, two that are refused, one that is not.
        assert_eq!(connected.count("Login"), 4, "{fault}");
    }
}

#[test]
fn a_session_is_kept_alive_and_renewed_by_its_own_timer() {
    let gate = Gate::new();
    let connected = Connected::with(Options::default(), |options| {
        options.keepalive_interval = Some(Duration::from_millis(20));
    });
    connected.scene.sim.expire_sessions();
    // The log-in after this one is a renewal, since no other call is made.
    connected.plan("Login", Trouble::HoldReply(gate.clone()));
    assert!(gate.wait_for_arrival(PATIENT));
    gate.open();
}

#[test]
fn a_session_is_logged_out_once_and_is_of_no_use_then() {
    let connected = Connected::new(Options::default());
    for _ in 0..2 {
        connected
            .run(|session| async move {
                session.logout().await;
                Ok(())
            })
            .unwrap();
    }
    assert_eq!(connected.count("Logout"), 1);
    assert_eq!(connected.scene.sim.sessions(), 0);
    let error = connected.read_name().unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidState, "{error}");
    assert_eq!(connected.count("Login"), 1);
}

#[test]
fn a_read_is_repeated_when_the_connection_breaks() {
    let connected = Connected::new(Options::default());
    for trouble in [
        Trouble::Close,
        Trouble::Reset,
        Trouble::ReplyLost,
        Trouble::Status(503),
        Trouble::Html,
        Trouble::TruncatedXml,
    ] {
        connected.plan("RetrievePropertiesEx", trouble);
        assert_eq!(connected.read_name().unwrap(), "volume-1");
    }
}

#[test]
fn a_read_is_not_repeated_for_ever() {
    let connected = Connected::new(Options::default());
    connected.scene.sim.faults().add(Rule {
        at: vsphere_sim::At::Call(Some("RetrievePropertiesEx".into())),
        nth: 1,
        times: u32::MAX,
        trouble: Trouble::Status(503),
    });
    let error = connected.read_name().unwrap_err();
    assert_eq!(error.kind(), Kind::Connection, "{error}");
    assert_eq!(connected.count("RetrievePropertiesEx"), 4);
}

#[test]
fn a_change_is_not_repeated_when_its_reply_is_lost() {
    let connected = Connected::new(Options::default());
    connected.plan("Rename_Task", Trouble::ReplyLost);
    let error = connected.rename().unwrap_err();
    assert_eq!(error.kind(), Kind::Connection, "{error}");
    assert_eq!(connected.count("Rename_Task"), 1);
}

#[test]
fn a_change_is_repeated_that_the_server_was_too_busy_for() {
    let connected = Connected::new(Options::default());
    for status in [429, 503] {
        connected.plan("Rename_Task", Trouble::Status(status));
        connected.rename().unwrap();
    }
    let busy = Fault::planned("TaskInProgress");
    connected.plan("Rename_Task", Trouble::Fault(busy));
    connected.rename().unwrap();
    assert_eq!(connected.count("Rename_Task"), 6);
}

#[test]
fn an_object_that_stays_busy_is_an_error_after_a_while() {
    let connected = Connected::new(Options::default());
    connected.scene.sim.faults().add(Rule {
        at: vsphere_sim::At::Call(Some("Rename_Task".into())),
        nth: 1,
        times: u32::MAX,
        trouble: Trouble::Fault(Fault::planned("TaskInProgress")),
    });
    let error = connected.rename().unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidState, "{error}");
    assert!(error.is_retryable(), "{error}");
    assert!(connected.count("Rename_Task") > 2);
}

#[test]
fn a_server_that_is_too_busy_at_first_is_logged_in_to() {
    let scene = Scene::new(Options::default());
    for method in ["RetrieveServiceContent", "Login"] {
        scene.sim.faults().on_call(method, 1, Trouble::Status(503));
    }
    drop(scene.client());
    assert_eq!(scene.sim.sessions(), 0);
}

#[test]
fn a_change_refused_for_a_lost_session_is_made_after_a_new_log_in() {
    let connected = Connected::new(Options::default());
    connected.scene.sim.expire_sessions();
    connected.rename().unwrap();
    assert_eq!(connected.read_name().unwrap(), "renamed");
}

#[test]
fn an_answer_that_is_no_soap_is_an_error() {
    let connected = Connected::with(Options::default(), |options| options.retries.count = 0);
    for trouble in [Trouble::Html, Trouble::TruncatedXml] {
        connected.plan("RetrievePropertiesEx", trouble);
        let error = connected.read_name().unwrap_err();
        assert_eq!(error.kind(), Kind::Fault, "{error}");
        assert!(error.message().contains("not SOAP"), "{error}");
    }
}

#[test]
fn a_read_tells_absent_properties_from_absent_objects() {
    let connected = Connected::new(Options::default());
    let vm = connected.vm();
    let properties = connected
        .run(|session| async move { property::read(&session, &vm, &["name", "snapshot"]).await })
        .unwrap();
    assert_eq!(properties.text("name"), Some("volume-1"));
    assert!(properties.get("snapshot").is_none());
    let gone = Moref::new("VirtualMachine", "vm-999999");
    let error = connected
        .run(|session| async move { property::read(&session, &gone, &["name"]).await })
        .unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{error}");
    assert_eq!(error.object(), Some("vm-999999"));
}

/// A connected scene with five machines, of which the server tells two at a time.
fn five_machines() -> Connected {
    let connected = Connected::new(Options {
        page_size: 2,
        ..Options::default()
    });
    for name in ["volume-2", "volume-3", "volume-4", "volume-5"] {
        let spec = VolumeSpec::new(name, 1 << 20);
        connected.scene.sim.add_volume(&spec).unwrap();
    }
    connected
}

fn names_below_root(connected: &Connected) -> Result<Vec<String>> {
    connected.run(|session| async move {
        let root = &session.content().root_folder;
        let found = property::below(&session, root, "VirtualMachine", &["name"]).await?;
        let names = found.iter().map(|(_, machine)| machine.text("name"));
        let mut names: Vec<_> = names.flatten().map(str::to_owned).collect();
        names.sort();
        Ok(names)
    })
}

const FIVE: [&str; 5] = ["volume-1", "volume-2", "volume-3", "volume-4", "volume-5"];

#[test]
fn everything_below_a_container_is_read_page_by_page_and_the_view_destroyed() {
    let connected = five_machines();
    assert_eq!(names_below_root(&connected).unwrap(), FIVE);
    assert_eq!(connected.count("ContinueRetrievePropertiesEx"), 2);
    assert_eq!(connected.count("DestroyView"), 1);
}

#[test]
fn a_session_lost_between_pages_costs_no_object() {
    let connected = five_machines();
    connected.plan("ContinueRetrievePropertiesEx", Trouble::LoseSession);
    assert_eq!(names_below_root(&connected).unwrap(), FIVE);
    let connected = five_machines();
    connected.plan("RetrievePropertiesEx", Trouble::LoseSession);
    assert_eq!(names_below_root(&connected).unwrap(), FIVE);
}

#[test]
fn objects_that_are_gone_are_left_out_of_a_read_of_many() {
    let connected = five_machines();
    let there = connected.vm();
    let asked = [there.clone(), Moref::new("VirtualMachine", "vm-999999")];
    let found = connected
        .run(|session| async move { property::read_each(&session, &asked, &["name"]).await })
        .unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, there);
}

#[test]
fn a_task_is_waited_for_until_it_is_done() {
    let connected = Connected::new(Options::default());
    let (task, second) = (Gate::new(), Gate::new());
    let faults = connected.scene.sim.faults();
    faults.on_task("Rename_Task", 1, Trouble::Hold(task.clone()));
    // The first answer says how things stand, the second that something has changed.
    faults.on_call("WaitForUpdatesEx", 2, Trouble::Hold(second.clone()));
    std::thread::scope(|scope| {
        let renamed = scope.spawn(|| connected.rename());
        assert!(second.wait_for_arrival(PATIENT));
        second.open();
        task.open();
        renamed.join().unwrap().unwrap();
    });
    assert_eq!(connected.count("CreatePropertyCollector"), 1);
    assert_eq!(connected.count("DestroyPropertyCollector"), 1);
}

#[test]
fn a_failed_task_is_the_error_of_its_fault() {
    let connected = Connected::new(Options::default());
    let fault = Trouble::Fault(Fault::planned("DuplicateName"));
    connected
        .scene
        .sim
        .faults()
        .on_task("Rename_Task", 1, fault);
    let error = connected.rename().unwrap_err();
    assert_eq!(error.kind(), Kind::Exists, "{error}");
    assert_eq!(error.fault(), Some("DuplicateName"));
}

#[test]
fn a_wait_outlives_a_lost_session_and_a_broken_connection() {
    for trouble in [
        Trouble::LoseSession,
        Trouble::Reset,
        Trouble::ReplyLost,
        Trouble::Status(503),
    ] {
        let connected = Connected::new(Options::default());
        let task = Gate::new();
        let faults = connected.scene.sim.faults();
        faults.on_task("Rename_Task", 1, Trouble::Hold(task.clone()));
        faults.on_call("WaitForUpdatesEx", 1, trouble);
        let again = Gate::new();
        faults.on_call("WaitForUpdatesEx", 2, Trouble::Hold(again.clone()));
        std::thread::scope(|scope| {
            let renamed = scope.spawn(|| connected.rename());
            assert!(again.wait_for_arrival(PATIENT));
            again.open();
            task.open();
            renamed.join().unwrap().unwrap();
        });
    }
}

#[test]
fn a_wait_that_is_given_up_destroys_its_collector() {
    let connected = Connected::new(Options::default());
    let (task, destroyed) = (Gate::new(), Gate::new());
    let faults = connected.scene.sim.faults();
    faults.on_task("Rename_Task", 1, Trouble::Hold(task.clone()));
    let waiting = Gate::new();
    faults.on_call("WaitForUpdatesEx", 1, Trouble::Hold(waiting.clone()));
    faults.on_call(
        "DestroyPropertyCollector",
        1,
        Trouble::Hold(destroyed.clone()),
    );
    let (session, vm) = (connected.session.clone(), connected.vm());
    let mut give_up = || {
        assert!(waiting.wait_for_arrival(PATIENT));
        Err(Error::new(Kind::Cancelled, "enough"))
    };
    let given_up: Result<()> = connected
        .runtime
        .run(&mut give_up, async move { rename(&session, &vm).await });
    assert_eq!(given_up.unwrap_err().kind(), Kind::Cancelled);
    assert!(destroyed.wait_for_arrival(PATIENT));
    for gate in [task, waiting, destroyed] {
        gate.open();
    }
}
