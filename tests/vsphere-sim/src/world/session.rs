//! Sessions, and the collectors, filters and views that belong to them.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::wire::{Object, Ref, Value, object};

use super::World;
use super::clock::Clock;
use super::ids::{ticket, uuid};

pub struct Session {
    pub key: String,
    /// The value of the cookie `vmware_soap_session`.
    pub cookie: String,
    pub user: String,
    pub login_time: String,
    pub last_active: Duration,
    /// The calls that are being answered: a session that waits for updates is not idle.
    pub busy: usize,
    pub user_agent: String,
    pub calls: i64,
    pub collectors: HashMap<String, Collector>,
    pub views: HashMap<String, View>,
}

/// A PropertyCollector: the session's own, or one that it made.
#[derive(Default)]
pub struct Collector {
    pub filters: Vec<Filter>,
    /// The version that the last update had.
    pub version: u64,
    /// What the client knew at each version that it may come back to.
    pub known: BTreeMap<u64, Known>,
    /// Whether the last version is of an update that is not complete: it may be passed once, and only as the next one.
    pub truncated: bool,
    /// Results that wait for ContinueRetrievePropertiesEx, by token.
    pub pages: HashMap<String, Vec<Object>>,
}

pub struct Filter {
    pub reference: Ref,
    pub spec: Object,
    /// What was last reported.
    pub reported: Reported,
}

/// For each object its properties.
pub type Reported = BTreeMap<Ref, BTreeMap<String, Value>>;

/// What each filter, by its id, had reported at a version.
pub type Known = HashMap<String, Reported>;

pub enum View {
    Container {
        container: Ref,
        kinds: Vec<String>,
        recursive: bool,
    },
    List(Vec<Ref>),
}

impl Session {
    pub fn describe(&self, clock: &Clock) -> Object {
        object("UserSession")
            .with("key", &self.key)
            .with("userName", &self.user)
            .with("fullName", &self.user)
            .with("loginTime", &self.login_time)
            .with("lastActiveTime", clock.text_at(self.last_active))
            .with("locale", "en")
            .with("messageLocale", "en")
            .with("extensionSession", false)
            .with("ipAddress", "127.0.0.1")
            .with("userAgent", &self.user_agent)
            .with("callCount", self.calls)
    }
}

impl World {
    /// Whether the options take a privilege from the user.
    pub fn denies(&self, privilege: &str) -> bool {
        let denied = &self.options.denied_privileges;
        denied.iter().any(|denied| denied == privilege)
    }

    /// A new session; returns its key.
    pub fn open_session(&mut self, user: &str, user_agent: &str) -> String {
        let session = Session {
            key: uuid("52"),
            cookie: ticket(),
            user: user.to_owned(),
            login_time: self.clock.text(),
            last_active: self.clock.now(),
            busy: 0,
            user_agent: user_agent.to_owned(),
            calls: 0,
            collectors: HashMap::new(),
            views: HashMap::new(),
        };
        let key = session.key.clone();
        self.sessions.push(session);
        key
    }

    pub fn session(&self, key: &str) -> Option<&Session> {
        self.sessions.iter().find(|session| session.key == key)
    }

    pub fn session_mut(&mut self, key: &str) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|session| session.key == key)
    }

    pub fn session_of_cookie(&mut self, cookie: &str) -> Option<&mut Session> {
        self.sessions
            .iter_mut()
            .find(|session| session.cookie == cookie)
    }

    /// The keys of the sessions that have been idle for too long.
    fn idle_sessions(&self) -> Vec<String> {
        let now = self.clock.now();
        let timeout = self.options.session_timeout;
        let idle = self.sessions.iter().filter(|session| {
            session.busy == 0 && now.saturating_sub(session.last_active) > timeout
        });
        idle.map(|session| session.key.clone()).collect()
    }

    pub fn has_idle_session(&self) -> bool {
        !self.idle_sessions().is_empty()
    }

    pub fn expire_idle_sessions(&mut self) {
        for key in self.idle_sessions() {
            self.close_session(&key);
        }
    }

    /// Ends a session and what belongs to it.
    pub fn close_session(&mut self, key: &str) {
        self.sessions.retain(|session| session.key != key);
        if !self.options.leases_survive_sessions {
            self.end_leases_of(key);
        }
    }
}
