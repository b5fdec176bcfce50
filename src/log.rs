//! Log records to one callback per client, with secrets cut out of every text that leaves.

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

/// Shorter secrets would tear holes into ordinary words, and hide nothing.
const SHORTEST_SECRET: usize = 4;

impl Log {
    /// A log that passes on records up to `level`.
    pub fn new(level: Level, sink: Sink) -> Self {
        Log {
            sink: Some((level, sink)),
            secrets: Arc::default(),
        }
    }

    /// From now on `secret` appears in no text that went through [`Log::redact`].
    pub fn hide(&self, secret: &str) {
        if secret.len() < SHORTEST_SECRET {
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
        log.hide("s3cret!");
        log.record(Level::Info, || "login with s3cret! twice: s3cret!".into());
        log.record(Level::Debug, || "below the level".into());
        assert_eq!(
            *seen.lock().unwrap(),
            ["login with [hidden] twice: [hidden]"]
        );
    }
}
