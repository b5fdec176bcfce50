//! Which virtual machine is a volume's backing, if there is one.
//!
//! A caller names a backing by one or more of moref, id and name, and may bound the search by
//! datacenter and folder. All that is given must agree with the object that is found: a stale moref
//! beside another volume's id would cost that other machine its disk. And a volume has no backing
//! only where the server can tell: a machine that it has lost sight of may be the backing.

use super::backing::{self, Backing, CINDER_VOLUME_ID, CONNECTED};
use super::bounds::Bounds;
use super::device::same_uuid;
use super::property::Properties;
use super::{Moref, Session, fault, property, suspect, tag};
use crate::error::{Context, Error, Kind, Result};
use crate::transport::soap::Element;
use crate::volume::Volume;

/// A virtual machine, as far as it takes to know whether it is the volume's.
pub(super) struct Candidate {
    pub(super) moref: Moref,
    pub(super) name: String,
    pub(super) instance_uuid: Option<String>,
    pub(super) cinder_id: Option<String>,
    pub(super) state: String,
    /// Where its configuration file is, and its folder with it.
    pub(super) vmx: String,
}

/// The backing of `volume`: the one virtual machine with which every identifier given agrees.
///
/// # Errors
/// [`Kind::NotFound`] for a moref of no object; [`Kind::InvalidArgument`] where the identifiers
/// given contradict what was found, or several machines have them all; [`Kind::InvalidState`] for a
/// machine that is or may be the backing and is disconnected, orphaned, inaccessible or invalid.
pub async fn find(session: Session, volume: Volume) -> Result<Option<Backing>> {
    let bounds = Bounds::resolve(&session, &volume.placement).await?;
    let known = directly(&session, &volume).await?;
    let mut choice = Choice::among(&session, &volume, &bounds, known).await?;
    if choice.agreeing.is_empty() && volume.moref.is_none() {
        let everything = everything(&session).await?;
        let (hits, others) = everything
            .into_iter()
            .partition(|candidate| candidate.is_meant(&volume));
        choice = Choice::among(&session, &volume, &bounds, hits).await?;
        if choice.agreeing.is_empty() && choice.contradictions.is_empty() {
            suspect::refuse(&session, &volume, &bounds, others).await?;
        }
    }
    let Some(moref) = choice.only(&volume)? else {
        return Ok(None);
    };
    let backing = backing::describe(session, moref).await?;
    backing.require_connected()?;
    Ok(Some(backing))
}

/// The virtual machine that operation `operation` made under `name`; by its moref where that is
/// known already.
///
/// # Errors
/// [`Kind::InvalidState`] where the machine at `moref` is not that operation's, or one of the name
/// cannot be read.
pub async fn made_by(
    session: Session,
    name: String,
    moref: Option<Moref>,
    operation: String,
) -> Result<Option<Backing>> {
    let is_ours = |vm: &Backing| vm.extra(tag::OPERATION) == Some(&operation);
    let is_known = moref.is_some();
    let candidates = match moref {
        Some(moref) => vec![moref],
        None => {
            let all = everything(&session).await?.into_iter();
            let named = all.filter(|candidate| candidate.name == name);
            named.map(|candidate| candidate.moref).collect()
        }
    };
    for moref in candidates {
        match backing::describe(session.clone(), moref.clone()).await {
            Ok(vm) if is_ours(&vm) => return Ok(Some(vm)),
            Ok(vm) if is_known => {
                return Err(Error::new(
                    Kind::InvalidState,
                    format!(
                        "{} is no temporary machine of operation {operation}",
                        vm.moref
                    ),
                ));
            }
            Ok(vm) => vm.require_connected()?,
            Err(error) if fault::is_gone(&error, &moref) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

const CINDER_ID: &str = "config.extraConfig[\"cinder.volume.id\"]";

/// What is read of every candidate. The summary is there without a configuration, too.
const SEEN: [&str; 8] = [
    "name",
    "config.instanceUuid",
    "config.template",
    CINDER_ID,
    "runtime.connectionState",
    "summary.config.instanceUuid",
    "summary.config.vmPathName",
    "parent",
];

impl Candidate {
    fn read(moref: Moref, vm: &Properties) -> Candidate {
        let text = |path: &str| vm.text(path).filter(|text| !text.is_empty());
        let uuid = text("config.instanceUuid").or_else(|| text("summary.config.instanceUuid"));
        let cinder_id = vm.get(CINDER_ID).and_then(|option| option.text_at("value"));
        let has_config = vm.get("config.template").is_some();
        let state = text("runtime.connectionState").unwrap_or(CONNECTED);
        Candidate {
            name: vm.name(),
            instance_uuid: uuid.map(str::to_owned),
            cinder_id: cinder_id.filter(|id| !id.is_empty()).map(str::to_owned),
            state: backing::known_state(state, has_config).to_owned(),
            vmx: text("summary.config.vmPathName")
                .unwrap_or_default()
                .to_owned(),
            moref,
        }
    }

    fn has_id(&self, id: &str) -> bool {
        let own = [&self.instance_uuid, &self.cinder_id].into_iter().flatten();
        own.into_iter().any(|own| own.eq_ignore_ascii_case(id))
    }

    /// Whether it is known to be of another id. One whose ids cannot be read may have any.
    pub(super) fn contradicts(&self, id: &str) -> bool {
        let has_ids = self.instance_uuid.is_some() || self.cinder_id.is_some();
        has_ids && !self.has_id(id)
    }

    /// Whether any identifier of the volume leads to it.
    fn is_meant(&self, volume: &Volume) -> bool {
        let by_id = volume.id.as_deref().is_some_and(|id| self.has_id(id));
        by_id || (!volume.name.is_empty() && self.name == volume.name)
    }

    /// Whether nothing but the name leads to it.
    fn is_named_only(&self, volume: &Volume) -> bool {
        let by_id = volume.id.as_deref().is_some_and(|id| self.has_id(id));
        volume.moref.is_none() && !by_id
    }

    fn agrees(&self, volume: &Volume) -> bool {
        let name_agrees = volume.name.is_empty() || self.name == volume.name;
        let id = volume.id.as_deref();
        name_agrees && !id.is_some_and(|id| self.contradicts(id))
    }
}

impl std::fmt::Display for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} has the name {:?}", self.moref, self.name)?;
        match &self.instance_uuid {
            Some(uuid) => write!(f, ", instance UUID {uuid}")?,
            None => write!(f, ", no instance UUID")?,
        }
        match &self.cinder_id {
            Some(id) => write!(f, ", {CINDER_VOLUME_ID} {id}"),
            None => Ok(()),
        }
    }
}

/// The machines that some identifier leads to: those that all of them agree with, and what the
/// others contradict.
struct Choice {
    agreeing: Vec<Candidate>,
    contradictions: Vec<(Moref, String)>,
}

impl Choice {
    async fn among(
        session: &Session,
        volume: &Volume,
        bounds: &Bounds,
        candidates: Vec<Candidate>,
    ) -> Result<Choice> {
        let mut choice = Choice {
            agreeing: Vec::new(),
            contradictions: Vec::new(),
        };
        for candidate in candidates {
            match bounds.exclude(session, &candidate.moref).await? {
                // A name is looked for within the bounds only.
                Some(_) if candidate.is_named_only(volume) => {}
                Some(place) => {
                    let moref = candidate.moref.clone();
                    let has = format!("{candidate}, and is in {place}");
                    choice.contradictions.push((moref, has));
                }
                None if candidate.agrees(volume) => choice.agreeing.push(candidate),
                None => {
                    let moref = candidate.moref.clone();
                    choice.contradictions.push((moref, candidate.to_string()));
                }
            }
        }
        Ok(choice)
    }

    fn only(mut self, volume: &Volume) -> Result<Option<Moref>> {
        if self.agreeing.len() > 1
            && let Some(id) = &volume.id
            // A machine that was cloned by hand has the key of the original, but not its UUID.
            && self.agreeing.iter().any(|one| same_uuid(&one.instance_uuid, &volume.id))
        {
            self.agreeing.retain(|one| {
                one.instance_uuid
                    .as_ref()
                    .is_some_and(|uuid| uuid.eq_ignore_ascii_case(id))
            });
        }
        match (self.agreeing.len(), self.contradictions.is_empty()) {
            (0, true) => Ok(None),
            (0, false) => Err(contradiction(volume, &self.contradictions)),
            (1, _) => Ok(self.agreeing.pop().map(|one| one.moref)),
            (count, _) => {
                let morefs: Vec<&str> = self.agreeing.iter().map(|one| &*one.moref.value).collect();
                Err(Error::new(
                    Kind::InvalidArgument,
                    format!(
                        "{count} virtual machines have {}: {}",
                        given(volume),
                        morefs.join(", ")
                    ),
                )
                .remedy("give the backing's moref"))
            }
        }
    }
}

fn contradiction(volume: &Volume, found: &[(Moref, String)]) -> Error {
    let has: Vec<&str> = found.iter().map(|(_, has)| has.as_str()).collect();
    let mut error = Error::new(
        Kind::InvalidArgument,
        format!(
            "the volume's identifiers contradict the server: given are {}; {}",
            given(volume),
            has.join("; ")
        ),
    )
    .remedy("give only identifiers that the backing has, or leave out those that are out of date");
    if let [(moref, _)] = found {
        error = error.with_object(&moref.value);
    }
    error
}

/// Everything by which the caller names the volume.
fn given(volume: &Volume) -> String {
    let mut parts = Vec::new();
    let placement = &volume.placement;
    for (what, value) in [
        ("moref", volume.moref.as_deref()),
        ("id", volume.id.as_deref()),
        ("name", Some(&*volume.name).filter(|name| !name.is_empty())),
        ("datacenter", placement.datacenter.as_deref()),
        ("folder", placement.folder.as_deref()),
    ] {
        parts.extend(value.map(|value| format!("{what} {value:?}")));
    }
    parts.join(", ")
}

/// What the server finds by itself: the machine at the moref, or those of the instance UUID.
async fn directly(session: &Session, volume: &Volume) -> Result<Vec<Candidate>> {
    let morefs = match (&volume.moref, &volume.id) {
        (Some(moref), _) => vec![Moref::new("VirtualMachine", moref)],
        (None, Some(id)) => by_instance_uuid(session, id).await?,
        (None, None) => Vec::new(),
    };
    let mut found = Vec::new();
    for moref in morefs {
        let vm = property::read(session, &moref, &SEEN)
            .await
            .with_context(|| format!("read virtual machine {moref}"))?;
        found.push(Candidate::read(moref, &vm));
    }
    Ok(found)
}

async fn by_instance_uuid(session: &Session, id: &str) -> Result<Vec<Moref>> {
    let Some(index) = session.content().search_index.clone() else {
        return Ok(Vec::new());
    };
    let answer = session
        .call_idempotent(
            &index,
            "FindAllByUuid",
            vec![
                Element::new("uuid").text(id),
                Element::new("vmSearch").text(true),
                Element::new("instanceUuid").text(true),
            ],
        )
        .await
        .with_context(|| format!("look up instance UUID {id}"))?;
    let found = answer.children_named("returnval");
    Ok(found.filter_map(Moref::from_node).collect())
}

/// All virtual machines that this user sees.
async fn everything(session: &Session) -> Result<Vec<Candidate>> {
    let root = &session.content().root_folder;
    let all = property::below(session, root, "VirtualMachine", &SEEN)
        .await
        .context("list the virtual machines")?;
    let candidates = all.into_iter();
    Ok(candidates
        .map(|(moref, vm)| Candidate::read(moref, &vm))
        .collect())
}
