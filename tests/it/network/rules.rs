//! Why an operation may end as it did although it was struck.

use super::point::Point;
use super::program::Told;
use super::proxy::{Fired, Kind, Record, Seen, Way};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// It failed, and said so.
    Failed,
    /// The operation had returned: what was struck was the end of its session.
    AfterTheEnd,
    /// The library's log tells of another attempt.
    TriedAgain,
    /// The log tells of a task that was waited for in another way.
    WatchedAgain,
    /// The call that failed, as the log tells, is one of those whose failure costs nothing.
    BestEffort,
    /// The library's log tells that a change whose answer was lost had been made.
    DoneAllTheSame,
    /// A look failed, or the answer was lost to a change whose outcome a look tells; another look was
    /// answered.
    LookedAgain,
    /// The summary tells what could not be done or seen.
    Noticed,
    /// What was struck was the alert by which TLS says goodbye.
    Goodbye,
    /// The bit was of a record's type or version, which TLS 1.3 takes for constants: the contents
    /// were those that were sent.
    OnlyTheHeader,
    /// Nothing came any more that could have been held back, but for TLS's goodbye.
    NothingCameAfter,
    /// An answer was through to its last byte, no call failed, and another connection took its place.
    BetweenExchanges,
}

/// Calls that free what the session's end frees, too, that tell of progress, or that ask for a better
/// digest: without an answer, the one that every server has is compared.
const BEST_EFFORT: [&str; 6] = [
    "DestroyPropertyCollector",
    "DestroyView",
    "HttpNfcLeaseProgress",
    "HttpNfcLeaseAbort",
    "HttpNfcLeaseSetManifestChecksumType",
    "Logout",
];

/// The record of an alert under TLS 1.3: header, two bytes, their type, and the tag. Requests,
/// answers and the pieces of disks are longer.
const ALERT: u64 = 5 + 2 + 1 + 16;

/// The rule by which a run ended as it did; none where it succeeded and should not have.
pub fn explain(point: &Point, told: &Told, seen: &Seen, fired: Fired, log: &str) -> Option<Rule> {
    let strike = point.strike;
    let lane = || {
        let ours = |one: &&Record| one.connection == strike.connection && one.way == strike.way;
        seen.records.iter().filter(ours)
    };
    let holds_back = matches!(strike.kind, Kind::Fin | Kind::Stall);
    let failed = failed_calls(log);
    let is_best_effort = !failed.is_empty() && failed.iter().all(|call| BEST_EFFORT.contains(call));
    let is_goodbye = |one: &Record| {
        one.start <= strike.at && strike.at <= one.end && one.end - one.start == ALERT
    };
    let is_header = |one: &Record| one.start <= strike.at && strike.at < one.start + 3;
    let is_header = matches!(strike.kind, Kind::Flip(_)) && lane().any(is_header);
    let is_between = strike.way == Way::ToClient
        && failed.is_empty()
        && lane().any(|record| record.end == strike.at)
        && strike.kind == Kind::Reset;
    let is_watched = log.contains(" again after: ") || log.contains(" from time to time after: ");
    let is_last = holds_back && [0, ALERT].contains(&fired.swallowed);
    let rules = [
        (Rule::Failed, told.status != 0),
        (Rule::AfterTheEnd, fired.when >= told.ended),
        (Rule::TriedAgain, told.again > 0),
        (Rule::WatchedAgain, is_watched),
        (Rule::BestEffort, is_best_effort),
        (Rule::DoneAllTheSame, log.contains(" done all the same: ")),
        (Rule::LookedAgain, is_looked(log)),
        (Rule::Noticed, !told.message.is_empty()),
        (Rule::Goodbye, lane().any(is_goodbye)),
        (Rule::OnlyTheHeader, is_header && failed.is_empty()),
        (Rule::NothingCameAfter, is_last),
        (Rule::BetweenExchanges, is_between),
    ];
    let (rule, _) = rules.into_iter().find(|(_, holds)| *holds)?;
    Some(rule)
}

/// Whether all that failed were looks, or what a look tells the outcome of, with an answered look at
/// last.
fn is_looked(log: &str) -> bool {
    const READ: &str = "RetrievePropertiesEx";
    let failed = failed_calls(log);
    let last = log.lines().rfind(|line| line.contains(READ));
    !failed.is_empty()
        && failed
            .iter()
            .all(|call| [READ, "HttpNfcLeaseComplete", "ReconfigVM_Task"].contains(call))
        && last.is_some_and(|line| failed_calls(line).is_empty())
}

/// The methods of calls, and `GET` and `POST` of disks, that got no answer, as the log has them:
/// `3 Login of ha-sessionmgr: Connection, 0 ms`.
fn failed_calls(log: &str) -> Vec<&str> {
    let failed = |line: &&str| {
        let outcome = line.rsplit_once(": ").map_or("", |(_, outcome)| outcome);
        outcome.ends_with(" ms") && !outcome.starts_with(|first: char| first.is_ascii_digit())
    };
    log.lines()
        .filter(failed)
        .filter_map(|line| line.split(' ').nth(1))
        .collect()
}
