//! Waiting for properties to change.

use crate::error::{Error, Kind, Result};
use crate::log::Level;
use crate::transport::soap::{Element, Node};
use crate::vsphere::property::{
    Missing, Properties, destroy, filter, object_set, read, returned_moref,
};
use crate::vsphere::{Moref, Session, fault};
use std::time::Duration;
use tokio::time::sleep;

/// Lost connections and sessions in a row, after which a wait gives up.
const MOST_INTERRUPTIONS: u32 = 5;

/// Before a wait is taken up again; longer each time.
const PAUSE: Duration = Duration::from_millis(250);

/// Waits until `until` finds in an object's properties what it looks for.
///
/// # Errors
/// Those of [`read`] and of `until`. Lost connections and sessions are made good, within reason.
pub async fn wait<T>(
    session: &Session,
    object: &Moref,
    paths: &[&str],
    until: impl Fn(&Properties) -> Result<Option<T>> + Send,
) -> Result<T> {
    let mut interruptions = 0;
    loop {
        let mut properties = read(session, object, paths).await?;
        if let Some(found) = until(&properties)? {
            return Ok(found);
        }
        let interruption = match Watch::begin(session, object, paths).await {
            Ok(mut watch) => loop {
                match watch.next(&mut properties).await {
                    Ok(()) => interruptions = 0,
                    Err(error) => {
                        watch.end().await;
                        break error;
                    }
                }
                let outcome = until(&properties).transpose();
                if let Some(outcome) = outcome {
                    watch.end().await;
                    return outcome;
                }
            },
            Err(error) => error,
        };
        if !is_interruption(&interruption) || interruptions == MOST_INTERRUPTIONS {
            return Err(interruption);
        }
        interruptions += 1;
        session.log().record(Level::Debug, || {
            format!("waiting for {object} again after: {interruption}")
        });
        sleep(PAUSE * interruptions).await;
    }
}

/// Whether waiting anew may help: the session went with the collector in it, or the connection
/// did. An object that is gone itself is found out by the next read.
fn is_interruption(error: &Error) -> bool {
    fault::is_session_lost(error)
        || error.fault() == Some(fault::OBJECT_NOT_FOUND)
        || error.fault().is_none() && error.is_retryable()
}

/// A collector of one's own with one filter: the session's shared one serves one wait at a time.
struct Watch {
    session: Session,
    collector: Moref,
    object: Moref,
    paths: Vec<String>,
    /// Opaque: names to the server what was told so far.
    version: String,
    ended: bool,
}

impl Watch {
    async fn begin(session: &Session, object: &Moref, paths: &[&str]) -> Result<Watch> {
        let shared = &session.content().property_collector;
        let response = session
            .call(shared, "CreatePropertyCollector", Vec::new())
            .await?;
        let watch = Watch {
            session: session.clone(),
            collector: returned_moref(&response, "CreatePropertyCollector")?,
            object: object.clone(),
            paths: paths.iter().map(|&path| path.to_owned()).collect(),
            version: String::new(),
            ended: false,
        };
        let arguments = vec![
            filter("spec", &object.kind, paths).with(object_set(object)),
            Element::new("partialUpdates").text(false),
        ];
        // The filter goes with its collector.
        match session
            .call_once(&watch.collector, "CreateFilter", arguments)
            .await
        {
            Ok(_) => Ok(watch),
            Err(error) => {
                watch.end().await;
                Err(error)
            }
        }
    }

    /// Brings `properties` up to date, at once or when something changes.
    async fn next(&mut self, properties: &mut Properties) -> Result<()> {
        loop {
            let longest = self.session.longest_wait().as_secs();
            let arguments = vec![
                Element::new("version").text(&self.version),
                Element::new("options").with_text("maxWaitSeconds", longest),
            ];
            let response = self
                .session
                .call_once(&self.collector, "WaitForUpdatesEx", arguments)
                .await?;
            let Some(updates) = response.child("returnval") else {
                // No news for long: of an object that went before the first there never are any.
                return self.read_again(properties).await;
            };
            let version = updates.text_at("version").unwrap_or_default();
            if version == self.version {
                // govmomi's simulator counts no versions: it is asked at a gentle pace.
                sleep(PAUSE).await;
            }
            if version.is_empty() {
                let message = "the server names no version of the properties";
                return Err(Error::new(Kind::Fault, message).with_object(&self.object.value));
            }
            self.version = version.to_owned();
            if apply(&self.object, &self.paths, updates, properties)? {
                self.read_again(properties).await?;
            }
            if !updates.flag_at("truncated") {
                return Ok(());
            }
        }
    }

    async fn read_again(&self, properties: &mut Properties) -> Result<()> {
        let paths: Vec<_> = self.paths.iter().map(String::as_str).collect();
        *properties = read(&self.session, &self.object, &paths).await?;
        Ok(())
    }

    async fn end(mut self) {
        self.ended = true;
        destroy(&self.session, &self.collector, "DestroyPropertyCollector").await;
    }
}

/// Applies the changes; true where only a part of a property came, against what was asked.
pub(crate) fn apply(
    object: &Moref,
    paths: &[String],
    updates: &Node,
    properties: &mut Properties,
) -> Result<bool> {
    let mut partial = false;
    let filters = updates.children_named("filterSet");
    for update in filters.flat_map(|filter| filter.children_named("objectSet")) {
        if update.child("obj").and_then(Moref::from_node).as_ref() != Some(object) {
            continue;
        }
        if update.text_at("kind") == Some("leave") {
            let message = format!("{object} is gone");
            return Err(Error::new(Kind::NotFound, message).with_object(&object.value));
        }
        for missing in update.children_named("missingSet") {
            Missing::read(missing).check(object)?;
        }
        for change in update.children_named("changeSet") {
            let name = change.text_at("name").unwrap_or_default();
            match change.text_at("op") {
                _ if !paths.iter().any(|path| path == name) => partial = true,
                Some("assign" | "add") => properties.set(name, change.child("val").cloned()),
                _ => properties.set(name, None),
            }
        }
    }
    Ok(partial)
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.ended {
            let (session, collector) = (self.session.clone(), self.collector.clone());
            self.session.spawn(async move {
                destroy(&session, &collector, "DestroyPropertyCollector").await;
            });
        }
    }
}
