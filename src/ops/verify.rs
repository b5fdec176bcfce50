//! A backup is proven where it is kept: by the service alone, without any server.

use super::metadata::{Metadata, require_format};
use super::raw;
use super::source::Source;
use super::watch::{ProgressFn, Watch};
use super::{Summary, validate_backup_id};
use crate::cancel::Cancel;
use crate::error::{Context, Phase, Result};
use crate::service::{BackupService, Format, Staging};
use crate::vmdk::{Facts, Level};
use std::path::PathBuf;
use std::time::Duration;

/// How a backup is verified.
#[derive(Default)]
pub struct VerifyOptions<'a> {
    /// The name the backup was made under.
    pub backup_id: String,
    /// How much is proven; the default is that every grain is inflated.
    pub level: Level,
    /// What a backup without metadata is, where the service does not know it; metadata records it.
    pub format: Format,
    /// Where a temporary file goes for a service that works on regular files; `None` = the
    /// system's directory for them.
    pub temp_dir: Option<PathBuf>,
    /// It ends as cancelled when it takes longer than this; `None` = no limit.
    pub deadline: Option<Duration>,
    /// Called on the calling thread at least once a second while the library waits.
    pub progress: Option<ProgressFn<'a>>,
    /// Ends it when thrown.
    pub cancel: Option<Cancel>,
}

/// Reads a whole backup from `service`, and proves that its stream is a whole disk, and the one
/// that its metadata records; of a raw disk, that its contents are those. In the summary, what is
/// about a server is empty.
///
/// # Errors
/// [`Kind::Corrupt`](crate::error::Kind::Corrupt) for a backup that is not whole or not itself;
/// [`Kind::NotFound`](crate::error::Kind::NotFound) when there is none of that name; what the service says.
pub fn verify_backup(service: &dyn BackupService, options: VerifyOptions<'_>) -> Result<Summary> {
    validate_backup_id(&options.backup_id)?;
    let mut watch = Watch::new(options.progress, options.cancel, options.deadline);
    let mut verification = Verification {
        service,
        backup_id: &options.backup_id,
        temp_dir: options.temp_dir,
        level: options.level,
        format: options.format,
        notices: Vec::new(),
    };
    match verification.run(&mut watch) {
        Ok(verified) => {
            let mut summary = Summary {
                notices: verification.notices,
                ..Summary::default()
            };
            match verified {
                Verified::Stream(facts) => summary.moved(&facts),
                Verified::Raw { size, digest } => {
                    summary.capacity = size;
                    summary.content_digest = Some(digest);
                }
            }
            Ok(summary)
        }
        Err(error) => Err(error
            .context(format_args!("verify backup {}", options.backup_id))
            .in_phase(watch.phase())),
    }
}

/// What was found whole.
enum Verified {
    Stream(Box<Facts>),
    Raw { size: u64, digest: [u8; 32] },
}

struct Verification<'a> {
    service: &'a dyn BackupService,
    backup_id: &'a str,
    temp_dir: Option<PathBuf>,
    level: Level,
    format: Format,
    notices: Vec<String>,
}

impl Verification<'_> {
    fn run(&mut self, watch: &mut Watch<'_>) -> Result<Verified> {
        watch.enter(Phase::Prepare, 0)?;
        let mut reader = self
            .service
            .open(self.backup_id)
            .context("open it in the service")?;
        let metadata = reader.metadata().context("read its metadata")?;
        let metadata = metadata.as_deref().map(Metadata::from_json).transpose()?;
        let format = match &metadata {
            Some(metadata) => metadata.stream.format()?,
            None => reader.format().unwrap_or(self.format),
        };
        if self.format == Format::Raw {
            require_format(format, Format::Raw)?;
        }
        if format == Format::Raw {
            let size = reader.length();
            let digest = raw::digest(watch, reader.as_mut())?;
            match metadata {
                Some(metadata) => metadata.stream.require_contents(size, Some(digest))?,
                None => self.notices.push(
                    "the backup has no metadata: its contents were read, but compared with nothing"
                        .into(),
                ),
            }
            return Ok(Verified::Raw { size, digest });
        }
        let mut source = match self.service.staging() {
            Staging::Stream => Source::stream(reader),
            wanted => {
                let directory = self.temp_dir.as_deref();
                Source::staged(watch, reader, wanted, directory, "verify")?
            }
        };
        let facts = source.prove(watch, Phase::Verify, self.level, metadata.is_some())?;
        match metadata {
            Some(metadata) => metadata
                .stream
                .require(&facts)
                .map(|()| Verified::Stream(Box::new(facts))),
            None => {
                let notice = "the backup has no metadata: only its stream itself was proven";
                self.notices.push(notice.into());
                Ok(Verified::Stream(Box::new(facts)))
            }
        }
    }
}
