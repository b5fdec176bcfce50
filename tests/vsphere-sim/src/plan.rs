//! The plan of what goes wrong, and when: rules that wait for their call, task or transfer.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::wire::Fault;

/// Holds something back until it is opened.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<GateState>);

#[derive(Debug)]
struct GateState {
    open: watch::Sender<bool>,
    arrivals: Mutex<usize>,
    arrived: Condvar,
}

impl Default for GateState {
    fn default() -> Self {
        GateState {
            open: watch::Sender::new(false),
            arrivals: Mutex::new(0),
            arrived: Condvar::new(),
        }
    }
}

impl Gate {
    pub fn new() -> Gate {
        Gate::default()
    }

    /// Lets everybody through, now and later.
    pub fn open(&self) {
        self.0.open.send_replace(true);
    }

    /// Waits until somebody stands at the gate; false where nobody came in time.
    pub fn wait_for_arrival(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let mut arrivals = self
            .0
            .arrivals
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        while *arrivals == 0 {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.0.arrived.wait_timeout(arrivals, left);
            arrivals = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn arrive(&self) {
        *self
            .0
            .arrivals
            .lock()
            .unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.arrived.notify_all();
    }

    pub(crate) async fn wait(&self) {
        self.arrive();
        // The sender lives as long as this gate does.
        let _ = self.0.open.subscribe().wait_for(|open| *open).await;
    }

    /// Waits on a thread of its own, as long as somebody still wants it.
    pub(crate) fn wait_blocking(&self, wanted: impl Fn() -> bool) {
        self.arrive();
        while !*self.0.open.borrow() && wanted() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Where a rule strikes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// A call of that method; of any where none is given.
    Call(Option<String>),
    /// A task of that method; of any where none is given. `HttpNfcLease` stands for a lease's way to ready.
    Task(Option<String>),
    /// A GET of a disk from a data host.
    Export,
    /// A POST of a disk to a data host.
    Import,
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// The call is answered with the fault and has no effect. A task or a lease fails with it and had no effect.
    Fault(Fault),
    /// The same after the call's, the task's effect.
    FaultAfter(Fault),
    /// The call has its effect, then the connection is closed without an answer. An import is stored, and not answered.
    ReplyLost,
    /// The connection is closed before anything has happened.
    Close,
    /// The connection is reset before anything has happened.
    Reset,
    /// An answer of HTTP with that status, and no effect.
    Status(u16),
    /// An answer of HTTP with that status after the effect.
    StatusAfter(u16),
    /// An answer of HTTP with that status, whose page repeats the request's body, and no effect.
    Echo(u16),
    /// 200 with a page of HTML, and no effect.
    Html,
    /// The effect, then an answer whose XML breaks off.
    TruncatedXml,
    /// The call, task or transfer does not begin before the gate is open.
    Hold(Gate),
    /// The call has its effect; its answer does not go out before the gate is open.
    HoldReply(Gate),
    /// The session is ended, then the call goes on.
    LoseSession,
    /// All leases fail with the fault, then the call goes on.
    LeaseError(Fault),
    /// Something happens to a transfer once that many bytes have flowed.
    Data(u64, DataTrouble),
}

/// What happens to a transfer. For an import it is the receiver that does it.
#[derive(Clone, Debug)]
pub enum DataTrouble {
    /// The connection is closed.
    Close,
    /// The connection is reset.
    Reset,
    /// Nothing moves before the gate is open.
    Stall(Gate),
    /// An export ends as if it were whole.
    End,
    /// A bit of the next byte is flipped.
    Flip,
    /// So many bytes are sent too much at the end of an export.
    TooLong(u64),
    /// The answer of an export announces that many bytes.
    ContentLength(u64),
    /// An import is answered with that status, without reading on.
    Answer(u16),
    /// The lease fails with the fault.
    LeaseError(Fault),
    /// The session is lost.
    LoseSession,
}

/// A point and what happens there: for the `nth` time since the rule was made (beginning with 1), and so many `times`.
#[derive(Clone, Debug)]
pub struct Rule {
    pub at: At,
    pub nth: u32,
    pub times: u32,
    pub trouble: Trouble,
}

#[derive(Default)]
struct Inner {
    rules: Vec<(Rule, u32)>,
    fired: usize,
    gates: HashMap<String, Gate>,
}

/// The rules that are in force.
#[derive(Default)]
pub struct FaultPlan {
    inner: Mutex<Inner>,
}

/// What happens to a task.
#[derive(Clone, Debug, Default)]
pub(crate) struct TaskTrouble {
    pub gate: Option<Gate>,
    /// The fault, and whether it comes after the effect.
    pub fault: Option<(Fault, bool)>,
}

impl FaultPlan {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn add(&self, rule: Rule) {
        self.lock().rules.push((rule, 0));
    }

    /// The n-th call of a method from now on is in trouble, once.
    pub fn on_call(&self, method: &str, nth: u32, trouble: Trouble) {
        self.add(Rule {
            at: At::Call(Some(method.to_owned())),
            nth,
            times: 1,
            trouble,
        });
    }

    /// The n-th call of any method from now on is in trouble, once.
    pub fn on_any_call(&self, nth: u32, trouble: Trouble) {
        self.add(Rule {
            at: At::Call(None),
            nth,
            times: 1,
            trouble,
        });
    }

    /// The n-th task of a method from now on is in trouble, once.
    pub fn on_task(&self, method: &str, nth: u32, trouble: Trouble) {
        self.add(Rule {
            at: At::Task(Some(method.to_owned())),
            nth,
            times: 1,
            trouble,
        });
    }

    /// The n-th export from now on is in trouble, once.
    pub fn on_export(&self, nth: u32, trouble: Trouble) {
        self.add(Rule {
            at: At::Export,
            nth,
            times: 1,
            trouble,
        });
    }

    /// The n-th import from now on is in trouble, once.
    pub fn on_import(&self, nth: u32, trouble: Trouble) {
        self.add(Rule {
            at: At::Import,
            nth,
            times: 1,
            trouble,
        });
    }

    /// Takes all rules away; whoever stands at a gate keeps standing there.
    pub fn clear(&self) {
        self.lock().rules.clear();
    }

    /// The gate of that name, made where there is none: for whoever cannot hold a gate itself.
    pub fn gate(&self, name: &str) -> Gate {
        self.lock()
            .gates
            .entry(name.to_owned())
            .or_default()
            .clone()
    }

    /// How many times a rule has struck.
    pub fn fired(&self) -> usize {
        self.lock().fired
    }

    fn strike(&self, hit: impl Fn(&At) -> bool) -> Vec<Trouble> {
        let mut inner = self.lock();
        let mut found = Vec::new();
        for (rule, seen) in &mut inner.rules {
            if !hit(&rule.at) {
                continue;
            }
            *seen = seen.saturating_add(1);
            if *seen >= rule.nth && *seen - rule.nth < rule.times {
                found.push(rule.trouble.clone());
            }
        }
        inner.fired += found.len();
        found
    }

    pub(crate) fn call(&self, method: &str) -> Vec<Trouble> {
        self.strike(|at| matches!(at, At::Call(wanted) if wanted.as_deref().is_none_or(|wanted| wanted == method)))
    }

    pub(crate) fn export(&self) -> Vec<Trouble> {
        self.strike(|at| *at == At::Export)
    }

    pub(crate) fn import(&self) -> Vec<Trouble> {
        self.strike(|at| *at == At::Import)
    }

    pub(crate) fn task(&self, method: &str) -> TaskTrouble {
        let mut result = TaskTrouble::default();
        let hit = |at: &At| matches!(at, At::Task(wanted) if wanted.as_deref().is_none_or(|wanted| wanted == method));
        for trouble in self.strike(hit) {
            match trouble {
                Trouble::Hold(gate) => result.gate = Some(gate),
                Trouble::Fault(fault) => result.fault = Some((fault, false)),
                Trouble::FaultAfter(fault) => result.fault = Some((fault, true)),
                _ => {}
            }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_strikes_at_its_call_and_no_other() {
        let plan = FaultPlan::default();
        plan.on_call("Login", 2, Trouble::Reset);
        assert!(plan.call("Login").is_empty());
        assert!(plan.call("Logout").is_empty());
        assert_eq!(plan.call("Login").len(), 1);
        assert!(plan.call("Login").is_empty());
        assert_eq!(plan.fired(), 1);
    }

    #[test]
    fn a_rule_for_any_call_counts_them_all() {
        let plan = FaultPlan::default();
        plan.add(Rule {
            at: At::Call(None),
            nth: 2,
            times: u32::MAX,
            trouble: Trouble::Reset,
        });
        assert!(plan.call("Login").is_empty());
        assert_eq!(plan.call("Logout").len(), 1);
        assert_eq!(plan.call("Login").len(), 1);
    }
}
