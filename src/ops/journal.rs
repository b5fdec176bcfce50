//! The journal of one operation: what it is about to make, on disk before it is made.
//!
//! One file an operation, `<operation>.journal` in the client's state directory, one JSON line a
//! note, each written and synced before the step it announces. The file is locked while its
//! operation lives, so that recovery in another process can tell the living from the dead; it is
//! removed when nothing of the operation is left to undo.

use super::undo::Made;
use crate::error::{Error, Kind, Result};
use crate::storage::{self, Held, Locked};
use nix::fcntl::OFlag;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const SUFFIX: &str = ".journal";

/// The longest journal that is written and read: an operation makes a handful of notes.
const LONGEST: u64 = 1 << 20;

/// The first line of a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Heading {
    /// 1; recovery leaves a journal of another version alone.
    pub(super) version: u32,
    pub(super) operation: String,
    pub(super) volume: String,
    /// The server's instance UUID, or its address where it has none.
    pub(super) server: String,
    /// By the server's clock.
    pub(super) started: String,
    /// The kernel that the writer ran under, where that is known.
    #[serde(default)]
    pub(super) boot: Option<String>,
}

/// A journal being written.
pub(super) struct Journal {
    path: PathBuf,
    length: u64,
    file: Held,
}

/// A journal that its writer left behind, locked against other recoveries.
pub(super) struct Abandoned {
    pub(super) heading: Heading,
    pub(super) made: Vec<Made>,
    /// Whether its free lock proves that its writer is dead.
    pub(super) surely_dead: bool,
    path: PathBuf,
    _lock: File,
}

impl Journal {
    /// Begins the journal of an operation.
    pub(super) fn begin(directory: &Path, heading: &Heading) -> Result<Journal> {
        let path = directory.join(format!("{}{SUFFIX}", heading.operation));
        let file = create(&path)?;
        let mut journal = Journal {
            path,
            length: 0,
            file,
        };
        let begun = journal
            .line(heading)
            .and_then(|()| sync_directory(directory));
        if let Err(error) = begun {
            // Nothing was announced in it: it must not outlive the refusal.
            let _ = std::fs::remove_file(&journal.path);
            return Err(error);
        }
        Ok(journal)
    }

    /// Notes what is about to be made.
    pub(super) fn note(&mut self, made: &Made) -> Result<()> {
        self.line(made)
    }

    /// Nothing is left to undo.
    pub(super) fn end(self) -> Result<()> {
        std::fs::remove_file(&self.path)
            .map_err(|e| Error::io(format_args!("journal {}", self.path.display()), &e))
    }

    fn line(&mut self, value: &impl Serialize) -> Result<()> {
        let what = format!("journal {}", self.path.display());
        let mut line = serde_json::to_vec(value)
            .map_err(|e| Error::new(Kind::InvalidArgument, format!("{what}: {e}")))?;
        line.push(b'\n');
        let length = self.length + line.len() as u64;
        if length > LONGEST {
            return Err(Error::new(
                Kind::InvalidArgument,
                format!(
                    "{what}: it would have {length} bytes, {LONGEST} at most can be read again"
                ),
            ));
        }
        (&*self.file)
            .write_all(&line)
            .and_then(|()| storage::sync(&self.file))
            .map_err(|e| Error::io(&what, &e))?;
        self.length = length;
        Ok(())
    }
}

/// Makes the file and locks it.
fn create(path: &Path) -> Result<Held> {
    let failed = |e: &std::io::Error| Error::io(format_args!("journal {}", path.display()), e);
    loop {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(|e| failed(&e))?;
        let file = match storage::lock_patiently(file).map_err(|e| failed(&e))? {
            Locked::Yes(lock) => Held::Locked(lock),
            Locked::Unsupported(file) => Held::Open(file),
            Locked::Busy => continue,
        };
        // A recovery that was quicker with its lock took the empty file for a dead writer's.
        if path.symlink_metadata().is_ok() {
            return Ok(file);
        }
    }
}

/// The journals in a directory.
#[derive(Default)]
pub(super) struct Journals {
    /// Those whose writers are dead.
    pub(super) dead: Vec<Abandoned>,
    /// The ids of the operations that are alive.
    pub(super) living: Vec<String>,
    /// The ids of those whose journals cannot be read, and why; they stay.
    pub(super) unread: Vec<(String, Error)>,
}

impl Journals {
    /// Reads them. One that announces nothing is removed, but not by a mere `look`.
    pub(super) fn read(directory: &Path, look: bool) -> Result<Journals> {
        let what = format!("read state directory {}", directory.display());
        let mut found = Journals::default();
        for entry in std::fs::read_dir(directory).map_err(|e| Error::io(&what, &e))? {
            let path = entry.map_err(|e| Error::io(&what, &e))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(operation) = name.and_then(|name| name.strip_suffix(SUFFIX)) else {
                continue;
            };
            match Abandoned::open(&path, look) {
                Ok(Some(journal)) => found.dead.push(journal),
                Ok(None) => found.living.push(operation.to_owned()),
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => found.unread.push((operation.to_owned(), error)),
            }
        }
        Ok(found)
    }
}

impl Abandoned {
    /// `None` when somebody holds the lock.
    fn open(path: &Path, look: bool) -> Result<Option<Abandoned>> {
        let what = format!("journal {}", path.display());
        // Neither a link to somewhere else nor a pipe that nobody writes to is waited for.
        let opened = OpenOptions::new()
            .read(true)
            // NFS locks exclusively only what is open for writing.
            .write(true)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
            .open(path);
        let file = match opened {
            Ok(file) => file,
            // Its operation, or another recovery, has just ended it.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::new(Kind::NotFound, what));
            }
            Err(e) => return Err(Error::io(&what, &e)),
        };
        // Without locks nobody can tell whether its writer lives.
        let Ok(Locked::Yes(lock)) = storage::lock(file, FlockOperation::NonBlockingLockExclusive)
        else {
            return Ok(None);
        };
        // Ended between the opening and the lock.
        let ours = lock.metadata().map_err(|e| Error::io(&what, &e))?;
        let is_named = path.symlink_metadata().is_ok_and(|named| {
            // Some file systems count no links.
            ours.nlink() > 0 || (named.ino(), named.dev()) == (ours.ino(), ours.dev())
        });
        if !is_named {
            return Err(Error::new(Kind::NotFound, what));
        }
        let corrupt = |why: String| {
            Error::new(Kind::Corrupt, format!("{what}: {why}"))
                .remedy("take away by hand what it notes, then the journal")
        };
        let mut text = Vec::new();
        let read = (&lock).take(LONGEST + 1).read_to_end(&mut text);
        let length = read.map_err(|e| Error::io(&what, &e))? as u64;
        if length > LONGEST {
            return Err(corrupt(format!("longer than {LONGEST} bytes")));
        }
        let mut lines = text.split(|&byte| byte == b'\n');
        let first = lines.next().unwrap_or_default();
        let heading = match serde_json::from_slice::<Heading>(first) {
            Ok(heading) => heading,
            // A writer that died within its first line had announced nothing.
            Err(_) if first.len() == text.len() => {
                if !look {
                    let _ = std::fs::remove_file(path);
                }
                return Err(Error::new(Kind::NotFound, what));
            }
            Err(e) => return Err(corrupt(format!("line 1: {e}"))),
        };
        if heading.version != VERSION {
            return Err(corrupt(format!("version {} is not known", heading.version)));
        }
        let mut made = Vec::new();
        let mut lines = (2..).zip(lines).peekable();
        while let Some((number, line)) = lines.next() {
            match serde_json::from_slice::<Made>(line) {
                Ok(one) => made.push(one),
                // The last line of a writer that died while it wrote: the step never began.
                Err(_) if lines.peek().is_none() => {}
                // Each line is on disk before the next is begun, so no crash leaves this.
                Err(e) => return Err(corrupt(format!("line {number}: {e}"))),
            }
        }
        let surely_dead = is_local(&lock) || (heading.boot.is_some() && heading.boot == boot());
        Ok(Some(Abandoned {
            heading,
            made,
            surely_dead,
            path: path.to_owned(),
            _lock: lock,
        }))
    }

    /// Nothing is left to undo.
    pub(super) fn end(self) -> Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(
                format_args!("journal {}", self.path.display()),
                &e,
            )),
            _ => Ok(()),
        }
    }
}

/// The notes, in JSON, of each journal in `directory` whose writer is dead.
#[cfg(fuzzing)]
pub(crate) fn read_all(directory: &Path) -> Result<Vec<Vec<String>>> {
    let dead = Journals::read(directory, true)?.dead;
    let notes = |journal: Abandoned| journal.made.iter().map(text_of).collect();
    Ok(dead.into_iter().map(notes).collect())
}

#[cfg(fuzzing)]
fn text_of(made: &Made) -> String {
    serde_json::to_string(made).unwrap_or_default()
}

/// What the kernel calls itself since it started: the same in every container of a host.
pub(super) fn boot() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

/// File systems that hosts share, on which a lock may hold on one of them only (NFS mounted with
/// `nolock`, FUSE): NFS, SMB (three numbers), FUSE, 9P, Ceph, AFS, Coda, Lustre, GPFS, BeeGFS.
const SHARED: [u32; 11] = [
    0x6969,
    0x517b,
    0xff53_4d42,
    0xfe53_4d42,
    0x6573_5546,
    0x0102_1997,
    0x00c3_6400,
    0x5346_414f,
    0x7375_7245,
    0x0bd0_0bd0,
    0x4750_4653,
];

/// Whether locks on the file are seen by everybody who can open it.
fn is_local(file: &File) -> bool {
    #[cfg(target_os = "linux")]
    return nix::sys::statfs::fstatfs(file)
        .is_ok_and(|system| !is_shared(system.filesystem_type().0 as u64));
    #[cfg(not(target_os = "linux"))]
    {
        let _ = file;
        false
    }
}

fn is_shared(magic: u64) -> bool {
    // Where the number is signed, it was extended to 64 bits.
    SHARED.contains(&((magic & 0xffff_ffff) as u32))
}

/// The version of journals written and read.
pub(super) const VERSION: u32 = 1;

fn sync_directory(directory: &Path) -> Result<()> {
    storage::sync_directory(directory)
        .map_err(|e| Error::io(format_args!("sync {}", directory.display()), &e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn heading(operation: &str) -> Heading {
        Heading {
            version: VERSION,
            operation: operation.into(),
            volume: "v".into(),
            server: "s".into(),
            started: "t".into(),
            boot: boot(),
        }
    }

    fn made(name: &str) -> Made {
        Made::TemporaryVm {
            name: name.into(),
            moref: None,
        }
    }

    #[test]
    fn what_a_dead_writer_noted_is_read_and_a_living_one_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let mut dead = Journal::begin(directory.path(), &heading("dead")).unwrap();
        dead.note(&made("one")).unwrap();
        dead.note(&made("two")).unwrap();
        drop(dead);
        let living = Journal::begin(directory.path(), &heading("living")).unwrap();
        let journals = Journals::read(directory.path(), false).unwrap();
        assert_eq!(journals.living, ["living"]);
        let found = journals.dead;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].heading.operation, "dead");
        assert_eq!(found[0].made, [made("one"), made("two")]);
        living.end().unwrap();
        found.into_iter().for_each(|journal| journal.end().unwrap());
        assert_eq!(directory.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn a_journal_begun_under_the_eyes_of_a_recovery_is_not_lost() {
        let directory = tempfile::tempdir().unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    // It may be asked to read what has just gone.
                    let _ = Journals::read(directory.path(), false);
                }
            });
            let mut lost = Vec::new();
            for number in 0..20_000 {
                let path = directory.path().join(format!("{number}.journal"));
                let file = create(&path).unwrap();
                if std::fs::remove_file(&path).is_err() {
                    lost.push(number);
                }
                drop(file);
            }
            done.store(true, Ordering::Relaxed);
            assert_eq!(lost, [0; 0], "removed while their writers lived");
        });
    }

    #[test]
    fn a_free_lock_on_a_shared_file_system_proves_no_death_on_another_host() {
        for magic in [0x6969, 0xff53_4d42, 0xffff_ffff_ff53_4d42, 0x6573_5546] {
            assert!(is_shared(magic), "{magic:x}");
        }
        // ext4, XFS, tmpfs, overlay.
        for magic in [0xef53, 0x5846_5342, 0x0102_1994, 0x794c_7630] {
            assert!(!is_shared(magic), "{magic:x}");
        }
        let directory = tempfile::tempdir().unwrap();
        let mut elsewhere = heading("elsewhere");
        elsewhere.boot = None;
        drop(Journal::begin(directory.path(), &elsewhere).unwrap());
        let found = Journals::read(directory.path(), true).unwrap().dead;
        let file = File::open(directory.path()).unwrap();
        assert_eq!(found[0].surely_dead, is_local(&file));
    }

    #[test]
    fn a_look_removes_no_torn_journal() {
        let directory = tempfile::tempdir().unwrap();
        let torn = directory.path().join("torn.journal");
        std::fs::write(&torn, "{").unwrap();
        Journals::read(directory.path(), true).unwrap();
        assert!(torn.exists());
        Journals::read(directory.path(), false).unwrap();
        assert!(!torn.exists());
    }

    #[test]
    fn a_journal_is_written_up_to_the_length_that_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::begin(directory.path(), &heading("full")).unwrap();
        journal.note(&made("")).unwrap();
        let path = directory.path().join("full.journal");
        let written = path.metadata().unwrap().len();
        let line = serde_json::to_vec(&made("")).unwrap().len() as u64 + 1;
        let rest = (LONGEST - written - line) as usize;
        assert!(journal.note(&made(&"x".repeat(rest + 1))).is_err());
        assert_eq!(path.metadata().unwrap().len(), written);
        journal.note(&made(&"x".repeat(rest))).unwrap();
        assert_eq!(path.metadata().unwrap().len(), LONGEST);
        assert!(journal.note(&made("")).is_err());
        drop(journal);
        let found = Journals::read(directory.path(), true).unwrap().dead;
        assert_eq!(found[0].made.len(), 2);
    }

    #[test]
    fn a_damaged_journal_is_refused_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::begin(directory.path(), &heading("damaged")).unwrap();
        journal.note(&made("one")).unwrap();
        journal.note(&made("two")).unwrap();
        drop(journal);
        let path = directory.path().join("damaged.journal");
        let whole = std::fs::read_to_string(&path).unwrap();
        let endless = whole.clone() + &"x".repeat(LONGEST as usize);
        for damaged in [
            whole.replacen("version", "edition", 1),
            whole.replacen("\"name\":\"one\"", "\"name\":1", 1),
            whole.replacen('\n', "\n\n", 1),
            endless,
        ] {
            std::fs::write(&path, &damaged).unwrap();
            let journals = Journals::read(directory.path(), false).unwrap();
            assert!(journals.dead.is_empty());
            let (operation, refused) = &journals.unread[0];
            assert_eq!(operation, "damaged");
            assert_eq!(refused.kind(), Kind::Corrupt, "{refused}");
            assert!(path.exists(), "{refused}");
        }
    }

    #[test]
    fn a_journal_cut_anywhere_gives_the_notes_before_the_cut() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::begin(directory.path(), &heading("cut")).unwrap();
        journal.note(&made("one")).unwrap();
        journal.note(&made("two")).unwrap();
        drop(journal);
        let path = directory.path().join("cut.journal");
        let whole = std::fs::read(&path).unwrap();
        for length in (0..=whole.len()).rev() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let found = Journals::read(directory.path(), false).unwrap().dead;
            let lines = whole[..length].split(|b| *b == b'\n').count() - 1;
            let whole_line = whole.get(length) == Some(&b'\n');
            let expected = (lines + usize::from(whole_line)).checked_sub(1);
            assert_eq!(found.first().map(|j| j.made.len()), expected, "{length}");
        }
    }

    #[test]
    fn what_is_no_regular_file_keeps_nobody_waiting() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("directory.journal")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", directory.path().join("link.journal")).unwrap();
        let pipe = directory.path().join("pipe.journal");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        Journal::begin(directory.path(), &heading("dead")).unwrap();
        let journals = Journals::read(directory.path(), false).unwrap();
        assert_eq!(journals.dead.len(), 1);
        let mut unread: Vec<&str> = journals.unread.iter().map(|(id, _)| id.as_str()).collect();
        unread.sort_unstable();
        assert!(unread.starts_with(&["directory", "link"]), "{unread:?}");
    }
}
