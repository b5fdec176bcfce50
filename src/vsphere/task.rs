//! Tasks: what the server does for longer than a call.

use crate::error::{Error, Kind, Result};
use crate::log::Level;
use crate::transport::soap::{Element, Node};
use crate::vsphere::fault::Passes;
use crate::vsphere::property::Properties;
use crate::vsphere::{Moref, Session, fault, property};
use std::time::Duration;
use tokio::time::sleep;

/// Reads in a row that may fail before a task is given up that may still go on.
const MOST_FAILURES: u32 = 5;

/// Before a task is looked at again that cannot be watched.
const PAUSE: Duration = Duration::from_millis(250);

/// Whether a task that failed is begun again, where its fault passes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Also where it may have been done: that changes nothing.
    Always,
    /// Where it was certainly not done.
    WhereUndone,
    /// A failed attempt may leave something that is in the way of the next.
    Never,
}

/// Calls a method that begins a task, and waits until it is done.
///
/// # Errors
/// Those of the call and of [`finish`]. What passes by itself, by the session's stage, is waited
/// for.
pub async fn perform(
    session: &Session,
    this: &Moref,
    method: &str,
    arguments: Vec<Element>,
    repeat: Repeat,
) -> Result<Option<Node>> {
    let mut busy = session.shared.retries.busy();
    loop {
        let arguments = arguments.clone();
        let answer = match repeat {
            Repeat::Always => session.call_idempotent(this, method, arguments).await?,
            Repeat::WhereUndone | Repeat::Never => session.call(this, method, arguments).await?,
        };
        let error = match finish(session, &super::returned(&answer)?).await {
            Ok(result) => return Ok(result),
            Err(error) => error,
        };
        match (session.passes(&error, this), repeat) {
            (Passes::Undone, Repeat::Always | Repeat::WhereUndone)
            | (Passes::Unknown, Repeat::Always) => session.pause(&mut busy, error).await?,
            _ => return Err(error),
        }
    }
}

/// Waits until the task is done and returns its result, where it has one. When the operation is
/// cancelled meanwhile, the task is, too, if the server can do that; its end is waited for.
///
/// # Errors
/// The task's own fault; those of [`property::read`], after which the task may still go on.
pub async fn finish(session: &Session, task: &Moref) -> Result<Option<Node>> {
    let wait = async {
        match property::wait(session, task, &["info"], outcome).await {
            Ok(done) => done,
            Err(error) => look(session, task, error).await,
        }
    };
    let cancelled = async {
        session.stop.thrown().await;
        if session.stop.ends_tasks() {
            cancel(session, task).await;
        }
        std::future::pending().await
    };
    tokio::select! {
        biased;
        done = wait => done,
        never = cancelled => never,
    }
}

/// Asks the server to cancel the task, where it says that this is possible. What became of it, the
/// task's end tells.
async fn cancel(session: &Session, task: &Moref) {
    let asked = async {
        let properties = property::read(session, task, &["info"]).await?;
        let info = properties.get("info");
        if info.is_some_and(|info| info.flag_at("cancelable")) {
            session.call(task, "CancelTask", Vec::new()).await?;
        }
        Ok::<_, Error>(())
    };
    if let Err(error) = asked.await {
        session
            .log()
            .record(Level::Warn, || format!("cancel task {task}: {error}"));
    }
}

/// Looks at a task from time to time that cannot be watched because of `error`: what comes next
/// must not begin while it goes on.
async fn look(session: &Session, task: &Moref, mut error: Error) -> Result<Option<Node>> {
    let mut failures = 0;
    while failures < MOST_FAILURES {
        session.log().record(Level::Debug, || {
            format!("looking at {task} from time to time after: {error}")
        });
        let read = property::read(session, task, &["info"]).await;
        match read.and_then(|properties| outcome(&properties)) {
            Ok(Some(done)) => return done,
            Ok(None) => failures = 0,
            Err(again) => {
                failures += 1;
                error = again;
                if fault::is_gone(&error, task) {
                    break;
                }
            }
        }
        sleep(PAUSE).await;
    }
    Err(unreadable(task, &error))
}

/// What a task came to that cannot be read: nobody knows. It bears no fault of the server's, since
/// that is about the task: whoever asks next must take neither the task's object for gone nor what
/// the task was to do for undone.
fn unreadable(task: &Moref, error: &Error) -> Error {
    let kind = match error.kind() {
        Kind::NotFound => Kind::Fault,
        kind => kind,
    };
    let message = format!("task {task} cannot be read, and may have succeeded: {error}");
    Error::new(kind, message).retryable()
}

/// What came of the task, once something has.
pub(crate) fn outcome(properties: &Properties) -> Result<Option<Result<Option<Node>>>> {
    let Some(info) = properties.get("info") else {
        return Err(Error::new(Kind::Fault, "there is a task without info"));
    };
    match info.text_at("state").map(str::trim) {
        Some("queued" | "running") => Ok(None),
        Some("success") => Ok(Some(Ok(info.child("result").cloned()))),
        Some("error") => {
            let empty = Node::default();
            let error = fault::localized(info.child("error").unwrap_or(&empty));
            let entity = info.text_at("entity").unwrap_or_default();
            let entity = info.text_at("entityName").unwrap_or(entity);
            let error = error.context(format_args!("{} of {entity}", name_of(info)));
            Ok(Some(Err(error)))
        }
        other => {
            let state = other.unwrap_or("nothing");
            let message = format!("the task's state is {state}");
            Err(Error::new(Kind::Fault, message))
        }
    }
}

/// `CreateVM_Task`, or what else the server calls it.
fn name_of(info: &Node) -> &str {
    let names = ["name", "descriptionId"].into_iter();
    let mut names = names.filter_map(|field| info.text_at(field));
    names.find(|name| !name.is_empty()).unwrap_or("a task")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::soap::parse_node;

    fn properties(info: &str) -> Properties {
        let mut properties = Properties::default();
        properties.set("info", Some(parse_node(&format!("<val>{info}</val>"))));
        properties
    }

    #[test]
    fn a_task_is_waited_for_while_it_is_queued_or_runs() {
        for state in ["queued", "running"] {
            let properties = properties(&format!("<state>{state}</state>"));
            assert!(outcome(&properties).unwrap().is_none());
        }
    }

    #[test]
    fn a_finished_task_has_a_result_or_none() {
        let done =
            properties("<state>success</state><result type=\"VirtualMachine\">vm-7</result>");
        let result = outcome(&done).unwrap().unwrap().unwrap().unwrap();
        assert_eq!(
            Moref::from_node(&result),
            Some(Moref::new("VirtualMachine", "vm-7"))
        );
        let done = properties("<state>success</state>");
        assert_eq!(outcome(&done).unwrap().unwrap().unwrap(), None);
    }

    #[test]
    fn a_failed_task_is_its_fault() {
        let failed = properties(
            "<name>CreateVM_Task</name><entity type=\"Folder\">group-v3</entity><state>error</state>\
             <error><fault xsi:type=\"DuplicateName\"><name>v1</name>\
             <object type=\"VirtualMachine\">vm-1</object></fault>\
             <localizedMessage>The name 'v1' already exists.</localizedMessage></error>",
        );
        let error = outcome(&failed).unwrap().unwrap().unwrap_err();
        assert_eq!(error.kind(), Kind::Exists);
        assert_eq!(error.fault(), Some("DuplicateName"));
        assert_eq!(error.object(), Some("vm-1"));
        assert_eq!(
            error.message(),
            "CreateVM_Task of group-v3: DuplicateName: The name 'v1' already exists. \
             [object VirtualMachine vm-1]"
        );
    }

    #[test]
    fn a_state_that_no_task_has_is_an_error() {
        assert!(outcome(&properties("<state>odd</state>")).is_err());
        assert!(outcome(&properties("")).is_err());
        assert!(outcome(&Properties::default()).is_err());
    }
}
