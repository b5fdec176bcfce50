//! A backup comes back: as a new backing, or into the existing one in place of its disk.

use super::identity;
use super::import::{Imported, Incoming, enough};
use super::metadata::{Metadata, StreamRecord, require_format};
use super::operation::Operation;
use super::plan::{Existing, agree};
use super::source::Source;
use super::undo::Undo;
use super::watch::Watch;
use super::{Common, Limits, Summary, validate_backup_id};
use crate::client::Client;
use crate::error::{Context, Error, Kind, Phase, Result};
use crate::service::{BackupReader, BackupService, Format, Staging};
use crate::vmdk::Level;
use crate::volume::Volume;
use crate::vsphere::device::same_uuid;
use crate::vsphere::{backing, find, machine, placement, tag};

/// How a backup is restored.
#[derive(Default)]
pub struct RestoreOptions<'a> {
    /// The name the backup was made under.
    pub backup_id: String,
    /// Restores also into a volume that is not the one that was backed up, as far as the recorded
    /// ids say (or, where there are none, the recorded name): its contents are lost. A volume that
    /// is made by the restore needs no permission.
    pub allow_other_volume: bool,
    /// What every operation has.
    pub common: Common<'a>,
}

/// Restores a backup from `service` into `volume`.
///
/// Where the volume has a backing, its disk is replaced and the backing stays the same object;
/// else a backing is made. The old disk is deleted only after the new one is attached and proven;
/// on any error the volume is as it was.
///
/// # Errors
/// Every [`Kind`]; see the README's table.
pub fn restore_backup(
    client: &Client,
    service: &dyn BackupService,
    volume: &Volume,
    options: RestoreOptions<'_>,
) -> Result<Summary> {
    volume.validate()?;
    validate_backup_id(&options.backup_id)?;
    let staging = options.common.staging(service.staging())?;
    let common = options.common;
    let limits = common.limits();
    let watch = Watch::new(common.progress, common.cancel, common.deadline);
    let mut op = Operation::begin(client, volume.label(), watch)?;
    let mut restore = Restore {
        service,
        volume,
        backup_id: options.backup_id,
        allow_other_volume: options.allow_other_volume,
        staging,
        format: common.format,
        temp_dir: common.temp_dir,
        limits,
        level: common.level.unwrap_or_default(),
        summary: Summary::default(),
        undo: Undo::default(),
        left: Vec::new(),
    };
    match restore.run(&mut op) {
        Ok(()) => {
            if restore.undo.is_settled() {
                op.end_journal();
            }
            restore.tell_left();
            op.redact(restore.summary.notices.iter_mut());
            Ok(restore.summary)
        }
        Err(error) => {
            let error = restore.undo.after(&mut op, error);
            let left = std::mem::take(&mut restore.left);
            let error = left.into_iter().fold(error, Error::leaving_behind);
            Err(op.explain(error.context(format_args!(
                "restore of backup {} into volume {}",
                restore.backup_id,
                volume.label()
            ))))
        }
    }
}

pub(super) struct Restore<'a> {
    pub(super) service: &'a dyn BackupService,
    pub(super) volume: &'a Volume,
    pub(super) backup_id: String,
    allow_other_volume: bool,
    staging: Staging,
    format: Format,
    temp_dir: Option<std::path::PathBuf>,
    pub(super) limits: Limits,
    pub(super) level: Level,
    pub(super) summary: Summary,
    pub(super) undo: Undo,
    /// What attempts that failed could not take away.
    pub(super) left: Vec<String>,
}

impl<'a> Restore<'a> {
    fn run(&mut self, op: &mut Operation<'_>) -> Result<()> {
        self.summary.operation = op.id().to_owned();
        op.enter(Phase::Prepare, 0)?;
        let found = op.run(find::find(op.session().clone(), self.volume.clone()))?;
        let existing = found.map(|backing| self.replaceable(backing)).transpose()?;
        if let Some(existing) = &existing {
            op.free(&existing.backing.moref);
        }
        if existing.is_none() && self.volume.name.is_empty() {
            return Err(Error::new(
                Kind::InvalidArgument,
                "there is no backing, and a new one needs the volume's name",
            ));
        }

        let mut reader = self
            .service
            .open(&self.backup_id)
            .context("open it in the service")?;
        let metadata = reader.metadata().context("read its metadata")?;
        let metadata = metadata.as_deref().map(Metadata::from_json).transpose()?;
        if metadata.is_none() {
            self.summary
                .notices
                .push("the backup has no metadata: only its stream itself was proven".into());
        }
        match (&metadata, reader.format()) {
            (Some(metadata), _) => {
                metadata.stream.require_format(self.format)?;
                self.check_identity(op, metadata, existing.as_ref())?;
            }
            (None, Some(kept)) => require_format(kept, self.format)?,
            (None, None) => {}
        }
        let recorded = metadata.as_ref().map(|metadata| &metadata.stream);
        let (mut source, recorded) = self.source(op, reader, recorded)?;
        let stream = Incoming::begin(op, &mut source, enough(self.level, recorded))?;
        let capacity = stream.capacity;
        if let Some(recorded) = recorded {
            agree(recorded, capacity, source.length())?;
        }
        let plan = self.plan(capacity, metadata.as_ref(), existing.as_ref())?;
        let site = self.site(op, &plan, metadata.as_ref(), existing.as_ref())?;
        let site = op.settle(placement::furnish(op.session().clone(), site))?;

        let mut imported = self.import(op, &plan, site, stream, &mut source, recorded)?;
        self.convert(op, &mut imported, &plan)?;
        match existing {
            Some(existing) => self.replace(op, existing, imported),
            None => self.adopt(op, imported, metadata.as_ref()),
        }
    }

    /// Refuses to replace the disk of another volume than the recorded one, and to make a second
    /// backing beside a recorded one that the server has lost sight of.
    fn check_identity(
        &self,
        op: &mut Operation<'_>,
        metadata: &Metadata,
        existing: Option<&Existing>,
    ) -> Result<()> {
        match existing {
            Some(_) if self.allow_other_volume => Ok(()),
            Some(existing) => identity::require_same(&metadata.volume, &existing.backing),
            None if identity::is_asked_for(self.volume, &metadata.volume) => {
                let session = op.session().clone();
                op.run(identity::require_absent(session, metadata.source.clone()))
            }
            None => Ok(()),
        }
    }

    /// The stream to import, and the record that it must agree with: none where it is another
    /// encoding of what was recorded, and was compared with that.
    ///
    /// What this library backed up goes straight through where it is to; what it cannot know to be
    /// taken by a host is proven in a temporary file first, and rewritten where that is needed.
    fn source<'r>(
        &self,
        op: &mut Operation<'_>,
        reader: Box<dyn BackupReader + 'a>,
        recorded: Option<&'r StreamRecord>,
    ) -> Result<(Source<'a>, Option<&'r StreamRecord>)> {
        let directory = self.temp_dir.as_deref();
        let id = op.id().to_owned();
        if self.format == Format::Raw {
            let (source, encoded) = Source::encoded(&mut op.watch, reader, directory, &id)?;
            if let Some(recorded) = recorded {
                recorded.require_contents(encoded.capacity, encoded.content_digest)?;
            }
            return Ok((source, None));
        }
        if self.staging == Staging::Stream && recorded.is_some() {
            return Ok((Source::stream(reader), recorded));
        }
        let wanted = self.service.staging();
        let mut file = Source::staged(&mut op.watch, reader, wanted, directory, &id)?;
        let facts = file.prove(
            &mut op.watch,
            Phase::Verify,
            Level::Full,
            recorded.is_some(),
        )?;
        file.back_to_file()?;
        if let Some(recorded) = recorded {
            recorded.require(&facts)?;
        }
        if facts.normal {
            return Ok((file, recorded));
        }
        let file = file.normalized(&mut op.watch, directory, &id)?;
        Ok((file, None))
    }

    /// What is left behind of a restore that succeeded is no more than a notice.
    fn tell_left(&mut self) {
        let left = std::mem::take(&mut self.left);
        let notices = left.into_iter();
        let notices = notices.map(|what| format!("could not be cleared away: {what}"));
        self.summary.notices.extend(notices);
    }

    /// The temporary virtual machine becomes the backing, in one step.
    fn adopt(
        &mut self,
        op: &mut Operation<'_>,
        imported: Imported,
        metadata: Option<&Metadata>,
    ) -> Result<()> {
        op.enter(Phase::Replace, 0)?;
        let volume = self.volume;
        let mut extra_config: Vec<(String, String)> = tag::ALL
            .iter()
            .map(|key| ((*key).to_owned(), String::new()))
            .collect();
        extra_config.extend(identity::extra_config(volume, metadata));
        let changes = machine::Changes {
            name: Some(volume.name.clone()),
            instance_uuid: volume.id.clone(),
            edits: volume
                .id
                .iter()
                .map(|id| imported.disk.set_uuid(id))
                .collect(),
            extra_config,
            profile: volume.storage_profile.clone(),
            ..machine::Changes::default()
        };
        let session = op.session().clone();
        op.end_keeping();
        let adopted = op.settle(machine::reconfigure(session, imported.vm.clone(), changes));
        // Whatever the answer was, or if it was lost: the tag went in the same step.
        let (vm, is_adopted) = (imported.vm.clone(), adopted.is_ok());
        let made = op.patiently(|op| {
            let session = op.session().clone();
            op.settle(async move {
                if !is_adopted {
                    machine::come_to_rest(&session, &vm).await;
                }
                backing::describe(session, vm).await
            })
        });
        let made = match (adopted, made) {
            (adopted, Ok(made)) if made.extra(tag::OPERATION).is_none() => {
                if let Err(error) = adopted {
                    op.tell_done(&error);
                }
                made
            }
            (Err(error), _) => return Err(error),
            (Ok(()), Err(error)) => {
                // It is the backing now, and not to be taken away.
                self.adopted(&imported);
                let notice = format!("the new backing could not be looked at: {error}");
                self.summary.notices.push(notice);
                return Ok(());
            }
            (Ok(()), Ok(made)) => {
                return Err(Error::new(
                    Kind::Fault,
                    format!("the server did not take the tag off {}", made.moref),
                ));
            }
        };
        self.adopted(&imported);
        let id_kept = volume.id.is_none() || same_uuid(&made.instance_uuid, &volume.id);
        if made.name != volume.name || !id_kept {
            self.summary.notices.push(format!(
                "the server calls the new backing {:?} with instance UUID {:?}",
                made.name, made.instance_uuid
            ));
        }
        Ok(())
    }

    fn adopted(&mut self, imported: &Imported) {
        self.undo.keep_vm();
        self.summary.backing = imported.vm.value.clone();
        self.summary.backing_created = true;
    }
}
