//! A volume's disk goes out of vSphere into a backup service.

use super::export::{Export, Held, Into};
use super::metadata::{self, Metadata, SourceRecord, StreamRecord, Times, VolumeRecord};
use super::operation::Operation;
use super::temporary::Temporary;
use super::undo::Undo;
use super::watch::Watch;
use super::{Common, Limits, Summary, validate_backup_id};
use crate::client::Client;
use crate::error::{Context, Error, Phase, Result};
use crate::service::{BackupRequest, BackupService, BackupWriter, Format, Staging};
use crate::slab::{SLABS, SlabPool};
use crate::storage;
use crate::vmdk::{Facts, Level};
use crate::volume::Volume;
use crate::vsphere::backing::Backing;
use crate::vsphere::device::Disk;
use crate::vsphere::machine::{self};
use crate::vsphere::{Moref, find, tag};
use bytes::Bytes;

/// How a backup is made.
#[derive(Default)]
pub struct BackupOptions<'a> {
    /// The caller's name of the backup: 1 to 255 bytes of letters, digits, `.`, `_` and `-`.
    pub backup_id: String,
    /// Fails with [`Kind::NotFound`](crate::error::Kind::NotFound) where the volume has no backing, instead of making an empty one.
    pub existing_only: bool,
    /// What every operation has.
    pub common: Common<'a>,
}

/// Backs up the disk of `volume` into `service`.
///
/// A backing is created where the volume has none. The backup is committed only after the stream
/// was proven whole; on any error the service's writer is aborted and the server is left as it was.
///
/// # Errors
/// Every [`Kind`](crate::error::Kind); see the README's table.
pub fn backup_volume(
    client: &Client,
    service: &dyn BackupService,
    volume: &Volume,
    options: BackupOptions<'_>,
) -> Result<Summary> {
    volume.validate()?;
    validate_backup_id(&options.backup_id)?;
    let staging = options.common.staging(service.staging())?;
    let common = options.common;
    let limits = common.limits();
    let watch = Watch::new(common.progress, common.cancel, common.deadline);
    let mut op = Operation::begin(client, volume.label(), watch)?;
    let mut backup = Backup {
        service,
        volume,
        backup_id: options.backup_id,
        existing_only: options.existing_only,
        staging,
        format: common.format,
        temp_dir: common.temp_dir,
        limits,
        level: common.level.unwrap_or_default(),
        summary: Summary::default(),
        undo: Undo::default(),
    };
    let outcome = backup.run(&mut op);
    let outcome = outcome.map_err(|error| backup.undo.after(&mut op, error));
    if backup.undo.is_settled() {
        op.end_journal();
    }
    match outcome {
        Ok(()) => {
            op.redact(backup.summary.notices.iter_mut());
            Ok(backup.summary)
        }
        Err(error) => Err(op.explain(error.context(format_args!(
            "backup {} of volume {}",
            backup.backup_id,
            volume.label()
        )))),
    }
}

pub(super) struct Backup<'a> {
    service: &'a dyn BackupService,
    pub(super) volume: &'a Volume,
    backup_id: String,
    pub(super) existing_only: bool,
    staging: Staging,
    format: Format,
    temp_dir: Option<std::path::PathBuf>,
    limits: Limits,
    level: Level,
    pub(super) summary: Summary,
    pub(super) undo: Undo,
}

impl<'a> Backup<'a> {
    fn run(&mut self, op: &mut Operation<'_>) -> Result<()> {
        self.summary.operation = op.id().to_owned();
        op.enter(Phase::Prepare, 0)?;
        let session = op.session().clone();
        match op.run(find::find(session, self.volume.clone()))? {
            Some(backing) => {
                backing.require_powered_off()?;
                op.free(&backing.moref);
                let disk = Disk::choose(backing.disks.clone(), self.volume.disk_key)?;
                let writer = self.begin(disk.capacity)?;
                if backing.extra(tag::OPERATION).is_some() && backing.extra(tag::REPLACED).is_none()
                {
                    // Another backup was about to make it; from here on it is not its to remove.
                    self.keep_backing(op, &backing.moref)?;
                }
                self.export(op, &backing, &disk, writer)
            }
            None => {
                self.require_creatable()?;
                let mut writer = self.begin(self.volume.size_bytes)?;
                let backing = self.create_backing(op)?;
                let disk = Disk::choose(backing.disks.clone(), None)?;
                let (made, asked) = (disk.capacity, self.volume.size_bytes);
                if made != asked {
                    self.summary.notices.push(format!(
                        "the server made a disk of {made} bytes, asked for were {asked}"
                    ));
                    drop(writer);
                    writer = self.begin(made)?;
                }
                self.export(op, &backing, &disk, writer)
            }
        }
    }

    /// Asks the service before anything is asked of the server that changes it.
    fn begin(&self, capacity: u64) -> Result<Box<dyn BackupWriter + 'a>> {
        self.service
            .create(&BackupRequest {
                backup_id: &self.backup_id,
                volume_id: self.volume.id.as_deref().unwrap_or(self.volume.label()),
                capacity,
                format: self.format,
            })
            .context("create it in the service")
    }

    fn export(
        &mut self,
        op: &mut Operation<'_>,
        backing: &Backing,
        disk: &Disk,
        mut writer: Box<dyn BackupWriter + 'a>,
    ) -> Result<()> {
        self.summary.backing = backing.moref.value.clone();
        let longest = StreamRecord::longest(self.format);
        self.metadata(op, backing, disk, longest).to_json()?;
        let export = Export {
            backing: &backing.moref,
            disk,
            limits: self.limits,
            level: self.level,
        };
        let mut pauses = op.pauses();
        let mut held = Held::Nothing;
        let told = self.summary.notices.len();
        let (facts, temporary) = loop {
            if matches!(held, Held::Other) {
                // The service holds what cannot be completed: it gets to forget it first.
                drop(writer);
                writer = self.begin(disk.capacity)?;
                held = Held::Nothing;
            }
            let attempt = match (self.format, self.staging) {
                (Format::Raw, _) => {
                    held = Held::Other;
                    let into = Into::Raw(writer.as_mut());
                    let facts = export.transfer(op, into, &mut self.summary.notices);
                    facts.map(|facts| (facts, None))
                }
                (Format::Stream, Staging::Stream) => {
                    let mut sink =
                        |slab: Bytes| writer.write(&slab).context("write to the service");
                    let into = Into::Stream {
                        held: &mut held,
                        sink: &mut sink,
                    };
                    let facts = export.transfer(op, into, &mut self.summary.notices);
                    facts.map(|facts| (facts, None))
                }
                (Format::Stream, Staging::File) => self
                    .export_to_file(op, backing, &export)
                    .map(|(facts, temporary)| (facts, Some(temporary))),
            };
            match attempt {
                Err(error) if error.is_retryable() => {
                    self.summary.notices.truncate(told);
                    op.again(&mut pauses, error)?;
                }
                done => break done?,
            }
        };
        if let Some(temporary) = &temporary {
            op.enter(Phase::Service, facts.length)?;
            self.hand_over(op, temporary, writer.as_mut())?;
            op.watch.complete()?;
        }
        op.own();
        op.enter(Phase::Finish, 0)?;
        self.summary.moved(&facts);
        let text = self
            .metadata(op, backing, disk, StreamRecord::of(&facts, self.format))
            .to_json()?;
        writer
            .set_metadata(&text)
            .context("give the metadata to the service")?;
        op.watch.tick()?;
        if !self.summary.backing_created {
            return writer.commit().context("commit to the service");
        }
        // A backing of which the caller hears must not be one that recovery would remove.
        let kept = self.keep_backing(op, &backing.moref);
        // Its tag may be off even if the answer was lost: it is not to be found by that any more.
        self.undo.keep_vm();
        let committed = kept.and_then(|()| writer.commit().context("commit to the service"));
        committed.map_err(|error| take_back(op, &backing.moref, error))
    }

    /// Room is asked for as much as the disk's blocks take; compression only makes it less.
    fn temporary(
        &self,
        op: &mut Operation<'_>,
        backing: &Backing,
        disk: &Disk,
    ) -> Result<Temporary> {
        let used = backing.committed.unwrap_or(disk.capacity);
        let named = self.service.staging() == Staging::File;
        Temporary::new(
            self.temp_dir.as_deref(),
            named,
            used.min(disk.capacity),
            op.id(),
        )
    }

    fn export_to_file(
        &mut self,
        op: &mut Operation<'_>,
        backing: &Backing,
        export: &Export<'_>,
    ) -> Result<(Facts, Temporary)> {
        let temporary = self.temporary(op, backing, export.disk)?;
        let mut file = temporary.writer()?;
        let into = Into::Stream {
            held: &mut Held::Nothing,
            sink: &mut |slab| file.write(&slab),
        };
        let facts = export.transfer(op, into, &mut self.summary.notices)?;
        file.finish()?;
        Ok((facts, temporary))
    }

    /// Gives the proven temporary file to the service: its path, or its bytes.
    fn hand_over(
        &self,
        op: &mut Operation<'_>,
        temporary: &Temporary,
        writer: &mut dyn BackupWriter,
    ) -> Result<()> {
        if let Some(path) = temporary.path() {
            return writer
                .write_file(path)
                .context("give the file to the service");
        }
        let (mut file, _) = temporary.reader()?;
        let pool = SlabPool::new(SLABS);
        let mut done = 0;
        loop {
            let mut slab = op.watch.slab(&pool)?;
            let read = storage::read(&mut file, slab.space())
                .map_err(|e| Error::io(format_args!("read {}", temporary.name()), &e))?;
            if read == 0 {
                return Ok(());
            }
            slab.truncate(read);
            writer
                .write(&slab.freeze())
                .context("write to the service")?;
            done += read as u64;
            op.watch.reach(done)?;
        }
    }

    fn metadata(
        &self,
        op: &Operation<'_>,
        backing: &Backing,
        disk: &Disk,
        stream: StreamRecord,
    ) -> Metadata {
        let about = &op.session().content().about;
        Metadata {
            format: metadata::FORMAT.into(),
            version: metadata::VERSION,
            backup_id: self.backup_id.clone(),
            volume: VolumeRecord {
                name: backing.name.clone(),
                id: self
                    .volume
                    .id
                    .clone()
                    .or_else(|| backing.instance_uuid.clone()),
                size_bytes: stream.capacity,
                disk_type: disk.disk_type.name().into(),
                adapter_type: disk.adapter.map(|adapter| adapter.name().into()),
                storage_profile: self.volume.storage_profile.clone(),
                disk_uuid: disk.uuid.clone(),
                disk_mode: Some(disk.mode.clone()),
                instance_uuid: backing.instance_uuid.clone(),
                cinder_id: backing.cinder_id().map(str::to_owned),
            },
            stream,
            source: SourceRecord {
                product: format!("{} {}", about.name, about.version),
                server_uuid: about.instance_uuid.clone(),
                backing: backing.moref.value.clone(),
                disk_key: disk.key,
                disk_file: disk.file.clone(),
                operation: op.id().into(),
                library: env!("CARGO_PKG_VERSION").into(),
            },
            times: Times {
                started: op.started().to_owned(),
                finished: metadata::now(),
            },
        }
    }
}

/// A backing that was made for a backup that failed goes again.
fn take_back(op: &mut Operation<'_>, backing: &Moref, error: Error) -> Error {
    let destroyed = op.patiently(|op| {
        let session = op.session().clone();
        op.settle(machine::destroy(session, backing.clone()))
    });
    match destroyed {
        Ok(()) => error,
        Err(why) => error.leaving_behind(format!("new backing {backing} ({why})")),
    }
}

/// How far `done` is on the way to `total`, in percent.
pub(super) fn percent_of(done: u64, total: u64) -> u32 {
    let percent = u128::from(done) * 100 / u128::from(total.max(1));
    u32::try_from(percent.min(100)).unwrap_or(100)
}
