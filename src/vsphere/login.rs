//! In, again, and out.

use crate::cancel::Stop;
use crate::error::{Context, Error, Kind, Phase, Result};
use crate::log::Level;
use crate::transport::soap::Element;
use crate::vsphere::endpoint::{Call, secret_of, service_instance, session_cookie};
use crate::vsphere::fault::{self, Stage};
use crate::vsphere::session::{About, Refused, Session, Shared, again};
use crate::vsphere::sessions;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::time::sleep;
use zeroize::Zeroizing;

/// Shorter intervals would only keep the server busy.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

/// However often a log-in was refused, the next attempt comes by then.
const LONGEST_LOGIN_PAUSE: Duration = Duration::from_secs(1800);

impl Refused {
    fn error(&self, now: Instant) -> Error {
        let left = self.next.saturating_duration_since(now);
        let message = format!(
            "{}; the next attempt to log in is possible in {} s",
            self.error,
            left.as_secs().max(1)
        );
        let error = Error::new(Kind::Auth, message).retryable();
        let error = error.in_phase(Phase::Connect);
        match &self.fault {
            Some(fault) => error.with_fault(fault),
            None => error,
        }
    }
}

impl Session {
    /// Logs in again, unless another call did since `lost`.
    pub(super) async fn renew(&self, lost: u64) -> Result<()> {
        let mut login = tokio::select! {
            biased;
            login = self.shared.login.lock() => login,
            () = self.stop.thrown() => {
                let message = "the session is lost, and another request is logging in again";
                let error = Error::new(Kind::Auth, message).retryable();
                return Err(error.in_phase(Phase::Connect));
            }
        };
        if self.live_cookie()?.generation != lost {
            return Ok(());
        }
        let now = Instant::now();
        if let Some(refused) = &login.refused
            && now < refused.next
        {
            return Err(refused.error(now));
        }
        self.log().record(Level::Warn, || {
            "the server has lost the session: logging in again".into()
        });
        let renewed = self.log_in_patiently(None).await.context("log in again");
        let Err(error) = renewed else {
            login.refused = None;
            return Ok(());
        };
        if error.kind() != Kind::Auth {
            // A server that starts answers with other faults at first.
            return Err(error.retryable().in_phase(Phase::Connect));
        }
        let pause = match &login.refused {
            Some(before) => (before.pause * 2).min(LONGEST_LOGIN_PAUSE),
            None => self.shared.login_pause,
        };
        let now = Instant::now();
        let refused = Refused {
            error: error.to_string(),
            fault: error.fault().map(str::to_owned),
            next: now + pause,
            pause,
        };
        let error = refused.error(now);
        login.refused = Some(refused);
        Err(error)
    }

    /// Logs in, also to a server that has too much to do at first. A log-in whose answer was lost
    /// is not repeated: it would leave a session behind.
    pub(super) async fn log_in_patiently(&self, cookie: Option<Zeroizing<String>>) -> Result<()> {
        let mut pauses = self.shared.retries.pauses();
        loop {
            match self.log_in(cookie.clone()).await {
                Err(error) if error.is_untouched() => {
                    again(self.log(), &mut pauses, &self.stop, error).await?;
                }
                outcome => return outcome,
            }
        }
    }

    async fn log_in(&self, cookie: Option<Zeroizing<String>>) -> Result<()> {
        let shared = &*self.shared;
        let arguments = [
            Element::new("userName").text(&shared.username),
            Element::new("password").text(shared.password.as_str()),
        ];
        let call = Call {
            this: &shared.content.session_manager,
            method: "Login",
            arguments: &arguments,
            cookie: cookie.as_ref().map(|cookie| cookie.as_str()),
            operation: self.operation.as_deref(),
            secret: true,
        };
        let reply = shared.endpoint.call(&shared.endpoint.action, call).await?;
        let response = reply.outcome.as_ref().map_err(|fault| {
            fault::of_login(fault).context(format_args!("log in as {}", shared.username))
        })?;
        let digest = response
            .text_at("returnval.key")
            .map(|key| sessions::digest(key).into());
        // The server names the cookie with its first answer, or again with this one.
        let Some(text) = session_cookie(&reply.cookies).or(cookie) else {
            let message = "log in: the server gave no session cookie";
            return Err(Error::new(Kind::Fault, message));
        };
        self.log().hide(secret_of(&text), &[]);
        let mut known = shared
            .cookie
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        known.text = text;
        known.digest = digest;
        known.generation += 1;
        drop(known);
        self.log().record(Level::Info, || {
            let About { name, version, .. } = &shared.content.about;
            format!(
                "logged in to {} ({name} {version}) as {}",
                shared.authority.0, shared.username
            )
        });
        Ok(())
    }

    /// Touches the session each `interval`, from a task that ends with the last clone.
    pub(super) fn keep_alive(&self, interval: Duration) {
        let shared = Arc::downgrade(&self.shared);
        let task = self.spawn(async move {
            loop {
                sleep(interval.max(SHORTEST_INTERVAL)).await;
                let Some(session) = Session::upgrade(&shared) else {
                    return;
                };
                session.touch().await;
            }
        });
        // Only ever set here.
        let _ = self.shared.keepalive.set(task.abort_handle());
    }

    fn upgrade(shared: &Weak<Shared>) -> Option<Session> {
        Some(Session {
            shared: shared.upgrade()?,
            operation: None,
            stop: Stop::default(),
            stage: Stage::default(),
        })
    }

    async fn touch(&self) {
        let touched = self
            .call_idempotent(&service_instance(), "CurrentTime", Vec::new())
            .await;
        if let Err(error) = touched {
            self.log()
                .record(Level::Warn, || format!("keep the session alive: {error}"));
        }
    }

    /// Logs out, once; every call after that is refused here.
    pub async fn logout(&self) {
        let shared = &*self.shared;
        if shared.ended.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Some(keepalive) = shared.keepalive.get() {
            keepalive.abort();
        }
        // Whoever is logging in just now would leave another session behind.
        let _login = shared.login.lock().await;
        let manager = &shared.content.session_manager;
        let cookie = self.current_cookie();
        let logged_out = self.attempt(&cookie, manager, "Logout", &[]).await;
        self.log().record(Level::Info, || match logged_out {
            Ok(_) => "logged out".into(),
            Err(error) => format!("the session is left to end by itself: {error}"),
        });
    }
}
