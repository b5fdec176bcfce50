//! Log records to one callback per client.
//!
//! Texts are made without secrets: what a user or a server wrote where a secret may stand (addresses,
//! URLs, answers to a log-in) is never taken over. The second net is here: whatever leaves is
//! searched for the secrets that cannot be anything else. Only for those: to cut a password such as
//! `name` out of ordinary sentences would hide nothing, and tell everybody what the password is.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, RwLock};
use zeroize::Zeroizing;

/// How much a record matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Level {
    /// The operation goes on or failed, and somebody should know.
    Warn,
    /// A step of an operation: a handful of records each.
    Info,
    /// Each request and its outcome.
    Debug,
}

/// Receives records, from any of the library's threads and several at once.
pub type Sink = Arc<dyn Fn(Level, &str) + Send + Sync>;

/// Where a client's records go. Cloning shares the sink and the secrets.
#[derive(Clone, Default)]
pub struct Log {
    sink: Option<(Level, Sink)>,
    secrets: Arc<RwLock<Vec<Zeroizing<String>>>>,
}

impl Log {
    /// A log that passes on records up to `level`.
    pub fn new(level: Level, sink: Sink) -> Self {
        Log {
            sink: Some((level, sink)),
            secrets: Arc::default(),
        }
    }

    /// From now on `secret` appears in no text that went through [`Log::redact`], unless it could
    /// be a part of an ordinary text, or stands in one of the `public` ones.
    pub fn hide(&self, secret: &str, public: &[&str]) {
        if !is_unmistakable(secret) || public.iter().any(|text| text.contains(secret)) {
            return;
        }
        let mut secrets = match self.secrets.write() {
            Ok(secrets) => secrets,
            Err(poisoned) => poisoned.into_inner(),
        };
        if !secrets.iter().any(|known| known.as_str() == secret) {
            secrets.push(Zeroizing::new(secret.to_owned()));
        }
    }

    /// `text` without any hidden secret in it.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let secrets = match self.secrets.read() {
            Ok(secrets) => secrets,
            Err(poisoned) => poisoned.into_inner(),
        };
        let mut clean = Cow::Borrowed(text);
        for secret in secrets.iter() {
            if clean.contains(secret.as_str()) {
                clean = Cow::Owned(clean.replace(secret.as_str(), "[hidden]"));
            }
        }
        clean
    }

    /// Passes a record on, redacted; its text is only made when somebody listens.
    pub fn record(&self, level: Level, text: impl FnOnce() -> String) {
        if let Some((most, sink)) = &self.sink
            && level <= *most
        {
            sink(level, &self.redact(&text()));
        }
    }
}

/// The shortest secret with a character that names, paths and addresses do not have.
const SHORTEST: usize = 8;

/// The shortest of any other characters, such as a session's cookie.
const SHORTEST_WORDLIKE: usize = 24;

/// Whether a text that contains `secret` contains it because somebody put it there.
fn is_unmistakable(secret: &str) -> bool {
    let ordinary = |char: char| char.is_alphanumeric() || " -_.,:;/\\@()[]'\"".contains(char);
    let length = secret.chars().count();
    length >= SHORTEST_WORDLIKE || (length >= SHORTEST && !secret.chars().all(ordinary))
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Log")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn a_hidden_secret_reaches_no_record() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = {
            let seen = seen.clone();
            Arc::new(move |_: Level, text: &str| seen.lock().unwrap().push(text.to_owned()))
        };
        let log = Log::new(Level::Info, sink);
        log.hide("s3cret!!", &[]);
        log.record(Level::Info, || "login with s3cret!! twice: s3cret!!".into());
        log.record(Level::Debug, || "below the level".into());
        assert_eq!(
            *seen.lock().unwrap(),
            ["login with [hidden] twice: [hidden]"]
        );
    }
    #[test]
    fn what_may_be_an_ordinary_word_is_not_cut_out_of_texts() {
        let log = Log::default();
        let text =
            "connect to vc-01.example.org:443: user name or password of volume-1 on [Datastore1]";
        for secret in [
            "name",
            "a",
            "",
            "password",
            "volume-1",
            "Datastore1",
            "://",
            ": user name or",
        ] {
            log.hide(secret, &[]);
        }
        log.hide(
            "administrator@vsphere.local",
            &["vc", "administrator@vsphere.local"],
        );
        let text = format!("{text} as administrator@vsphere.local");
        assert_eq!(log.redact(&text), text);
    }

    #[test]
    fn a_session_is_cut_out_of_texts() {
        let log = Log::default();
        let key = "52ab0f52-8a3e-4bd1-9b1c-f35cd8b1b0b5";
        log.hide(key, &[]);
        assert_eq!(log.redact(&format!("of {key}.")), "of [hidden].");
    }
}
