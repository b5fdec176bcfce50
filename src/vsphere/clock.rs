//! The server's time of day: the one clock that every client of the server sees alike.

use super::endpoint::service_instance;
use super::{Moref, Session, property};
use crate::error::{Error, Kind, Result};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What time it is on the server.
///
/// # Errors
/// Those of the request; [`Kind::Fault`] for an answer that is no time.
pub async fn now(session: &Session) -> Result<OffsetDateTime> {
    let answer = session
        .call_idempotent(&service_instance(), "CurrentTime", Vec::new())
        .await?;
    let text = answer.text_at("returnval").unwrap_or_default();
    parse(text).ok_or_else(|| {
        let start: String = text.chars().take(40).collect();
        let message = format!("CurrentTime: the server answered {start:?}, which is not a time");
        Error::new(Kind::Fault, message)
    })
}

/// An `xsd:dateTime`; one without a time zone is in UTC.
pub fn parse(text: &str) -> Option<OffsetDateTime> {
    let text = text.trim();
    let zoned = OffsetDateTime::parse(text, &Rfc3339);
    zoned
        .or_else(|_| OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339))
        .ok()
}

/// A time as RFC 3339 writes it.
pub fn text(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_default()
}

/// What the server's recent tasks on an object prove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// A task, or a lease's, is at the object now.
    pub busy: bool,
    /// When the last one succeeded that did not remove the object.
    pub last: Option<OffsetDateTime>,
}

/// Reads [`Activity`]. What the user may not read proves nothing.
pub async fn activity(session: &Session, object: &Moref) -> Activity {
    let mut activity = Activity::default();
    let tasks = match property::read(session, object, &["recentTask"]).await {
        Ok(read) => read.morefs("recentTask"),
        Err(_) => return activity,
    };
    let read = property::read_each(session, &tasks, &["info"]).await;
    for (_, task) in read.unwrap_or_default() {
        let Some(info) = task.get("info") else {
            continue;
        };
        let what = info.text_at("descriptionId").unwrap_or_default();
        match info.text_at("state").map(str::trim) {
            Some("queued" | "running") => activity.busy = true,
            // An end that failed, as of a lease that ran out, is nobody's doing.
            Some("success") if !what.to_ascii_lowercase().ends_with(".destroy") => {
                let ended = info.text_at("completeTime").and_then(parse);
                activity.last = activity.last.max(ended);
            }
            _ => {}
        }
    }
    activity
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_a_server_is_read_with_and_without_a_zone() {
        let utc = parse("2026-11-28T15:00:00Z").unwrap();
        for text in [
            "2026-11-28T15:00:00.000Z",
            "2026-11-28T20:30:00+05:30",
            " 2026-11-28T15:00:00 ",
        ] {
            assert_eq!(parse(text), Some(utc), "{text}");
        }
        for text in ["", "yesterday", "2026-13-28T15:00:00Z", "2026-11-28"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(&super::text(utc)), Some(utc));
    }
}
