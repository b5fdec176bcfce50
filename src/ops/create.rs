//! A volume without a backing gets one when it is first backed up.

use super::backup::Backup;
use super::operation::Operation;
use super::sizes;
use super::undo::Made;
use crate::error::{Error, Kind, Phase, Result};
use crate::volume::{AdapterType, DiskType};
use crate::vsphere::backing::{self, Backing};
use crate::vsphere::datastore::Room;
use crate::vsphere::machine::{self, NewMachine};
use crate::vsphere::placement::Site;
use crate::vsphere::{Moref, find, placement, suspect, tag};

impl Backup<'_> {
    /// Refuses a volume whose backing is not to be, or cannot be, created.
    pub(super) fn require_creatable(&self) -> Result<()> {
        let volume = self.volume;
        let is_known = volume.moref.is_some() || volume.name.is_empty() || volume.size_bytes == 0;
        if !is_known && !self.existing_only {
            return Ok(());
        }
        let error = Error::new(
            Kind::NotFound,
            format!("volume {} has no backing", volume.label()),
        );
        Err(if self.existing_only {
            error.remedy("existing_only forbids to create one")
        } else {
            error.remedy("give its name and size to have one created")
        })
    }

    /// The backing a volume gets when it is first needed: an empty disk.
    pub(super) fn create_backing(&mut self, op: &mut Operation<'_>) -> Result<Backing> {
        let volume = self.volume;
        op.enter(Phase::Create, 0)?;
        let disk_type = volume.disk_type.unwrap_or(DiskType::Thin);
        let adapter = volume.adapter_type.unwrap_or(AdapterType::LsiLogic);
        let capacity = sizes::makeable(volume.size_bytes);
        sizes::require_adapter(capacity, adapter)?;
        let needed = match disk_type {
            DiskType::Thin => 0,
            DiskType::Thick | DiskType::EagerZeroedThick => volume.size_bytes,
        };
        let (session, op_id) = (op.session().clone(), op.id().to_owned());
        let site = op.run(placement::choose(
            session.clone(),
            volume.placement.clone(),
            Room {
                bytes: needed,
                capacity,
            },
        ))?;
        self.require_no_files(op, &site)?;
        let site = op.settle(placement::furnish(session.clone(), site))?;
        let new = NewMachine {
            name: volume.name.clone(),
            instance_uuid: volume.id.clone(),
            capacity,
            disk_type,
            adapter,
            profile: volume.storage_profile.clone(),
            extra_config: [volume.extra_config.clone(), op.tags()?].concat(),
        };
        let made = Made::TemporaryVm {
            name: volume.name.clone(),
            moref: None,
        };
        self.undo.note(op, made)?;
        let create = || machine::create(session.clone(), new.clone(), site.clone());
        let moref = op.ensure(create, |session, _| {
            let (name, id) = (volume.name.clone(), op_id.clone());
            async move {
                let ours = find::made_by(session, name, None, id).await?;
                Ok(ours.map(|vm| vm.moref))
            }
        })?;
        self.undo.know(op, &moref)?;
        self.summary.backing_created = true;
        self.summary.notices.push(format!(
            "volume {} had no backing: {moref} was created, and the backup holds nothing but zeros",
            volume.label()
        ));
        let finish = {
            let (moref, id) = (moref.clone(), volume.id.clone());
            async move {
                let made = backing::describe(session.clone(), moref.clone()).await?;
                sizes::require_made(&made.disks, capacity)?;
                if let (Some(id), [disk]) = (id, made.disks.as_slice()) {
                    let changes = machine::Changes {
                        edits: vec![disk.set_uuid(&id)],
                        ..machine::Changes::default()
                    };
                    machine::reconfigure(session.clone(), moref.clone(), changes).await?;
                }
                backing::describe(session, moref).await
            }
        };
        op.settle(finish)
    }

    /// Refuses to create a backing whose files may lie on the datastore already, in a folder of its
    /// name: of a machine that is in no inventory any more.
    fn require_no_files(&mut self, op: &mut Operation<'_>, site: &Site) -> Result<()> {
        let folder = format!(
            "[{}] {}",
            site.datastore_name,
            suspect::file_name(&self.volume.name)
        );
        let session = op.session().clone();
        let datastore = site.datastore.clone();
        let unowned = suspect::unowned_files(session, datastore, folder.clone());
        match op.run(unowned) {
            Ok(files) if files.is_empty() => Ok(()),
            Ok(files) => Err(Error::new(
                Kind::InvalidState,
                format!(
                    "folder {folder} has files of a machine that is not registered, which may be \
                     the backing of volume {}: {}",
                    self.volume.label(),
                    files.join(", ")
                ),
            )
            .remedy("register that machine, move its files away, or delete them")),
            Err(error) if matches!(error.kind(), Kind::Auth | Kind::Unsupported) => {
                self.summary.notices.push(format!(
                    "whether {folder} has the files of an older backing could not be checked: {error}"
                ));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Takes the tag off a backing: it is not removed any more, whatever becomes of an operation.
    pub(super) fn keep_backing(&self, op: &mut Operation<'_>, backing: &Moref) -> Result<()> {
        let tags = tag::ALL
            .iter()
            .map(|key| ((*key).to_owned(), String::new()));
        let changes = machine::Changes {
            extra_config: tags.collect(),
            ..machine::Changes::default()
        };
        let session = op.session().clone();
        op.end_keeping();
        op.settle(machine::reconfigure(session, backing.clone(), changes))
    }
}
