//! A service that does one wrong thing at one call.

use super::fault::Callback;
use crate::fixture::Memory;
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use vmdk_backup::error::{Error, Kind, Result};
use vmdk_backup::service::{BackupReader, BackupRequest, BackupService, BackupWriter};

/// What a read is called that finds the end.
pub const AT_END: &str = "read-at-end";

/// Which call goes wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    Nothing,
    /// The n-th, counted from 1, and how.
    Nth(u32, Callback),
    /// The first that reads: it blocks, and is fine.
    FirstRead,
}

pub struct Unreliable<'a> {
    inner: &'a Memory,
    wrong: Wrong,
    /// What happens while a call blocks.
    block: Box<dyn Fn() + 'a>,
    pub calls: RefCell<Vec<&'static str>>,
    pub fired: Cell<usize>,
    /// Whether a commit was made, whatever was said of it.
    pub committed: Cell<bool>,
}

impl<'a> Unreliable<'a> {
    pub fn new(inner: &'a Memory, wrong: Wrong, block: impl Fn() + 'a) -> Unreliable<'a> {
        Unreliable {
            inner,
            wrong,
            block: Box::new(block),
            calls: RefCell::default(),
            fired: Cell::new(0),
            committed: Cell::new(false),
        }
    }

    /// Counts a call; what is to go wrong with it.
    fn call(&self, name: &'static str) -> Option<Callback> {
        let mut calls = self.calls.borrow_mut();
        let first = !calls.contains(&name);
        calls.push(name);
        let wrong = match self.wrong {
            Wrong::Nth(nth, wrong) if calls.len() == nth as usize => wrong,
            Wrong::FirstRead if first && name == "read" => Callback::Blocks,
            _ => return None,
        };
        self.fired.set(self.fired.get() + 1);
        if wrong == Callback::Blocks {
            (self.block)();
        }
        Some(wrong)
    }

    fn perform<T>(&self, name: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let failed = || Error::new(Kind::Service, format!("{name} failed on purpose"));
        match self.call(name) {
            Some(Callback::Fails) => Err(failed()),
            Some(Callback::FailsAfter) => {
                work()?;
                Err(failed())
            }
            _ => work(),
        }
    }
}

impl BackupService for Unreliable<'_> {
    fn create<'b>(&'b self, request: &BackupRequest<'_>) -> Result<Box<dyn BackupWriter + 'b>> {
        let inner = self.perform("create", || self.inner.create(request))?;
        Ok(Box::new(Writer {
            service: self,
            inner,
        }))
    }

    fn open<'b>(&'b self, backup_id: &str) -> Result<Box<dyn BackupReader + 'b>> {
        let inner = self.perform("open", || self.inner.open(backup_id))?;
        Ok(Box::new(Reader {
            service: self,
            inner,
        }))
    }
}

struct Writer<'b> {
    service: &'b Unreliable<'b>,
    inner: Box<dyn BackupWriter + 'b>,
}

impl BackupWriter for Writer<'_> {
    fn write(&mut self, bytes: &Bytes) -> Result<()> {
        let Writer { service, inner } = self;
        service.perform("write", || inner.write(bytes))
    }

    fn set_metadata(&mut self, metadata: &str) -> Result<()> {
        let Writer { service, inner } = self;
        service.perform("set_metadata", || inner.set_metadata(metadata))
    }

    fn commit(self: Box<Self>) -> Result<()> {
        let Writer { service, inner } = *self;
        service.perform("commit", || {
            inner.commit()?;
            service.committed.set(true);
            Ok(())
        })
    }
}

struct Reader<'b> {
    service: &'b Unreliable<'b>,
    inner: Box<dyn BackupReader + 'b>,
}

impl BackupReader for Reader<'_> {
    fn length(&self) -> u64 {
        self.inner.length()
    }

    fn metadata(&mut self) -> Result<Option<String>> {
        let Reader { service, inner } = self;
        service.perform("metadata", || inner.metadata())
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let failed = || Err(Error::new(Kind::Service, "read failed on purpose"));
        match self.service.call("read") {
            Some(Callback::Fails) => failed(),
            Some(Callback::FailsAfter) => {
                self.inner.read(buffer)?;
                failed()
            }
            Some(Callback::Short) => {
                let some = (buffer.len() / 3).max(1).min(buffer.len());
                self.inner.read(&mut buffer[..some])
            }
            Some(Callback::Ends) => Ok(0),
            Some(Callback::TooMuch) => Ok(buffer.len() + 1),
            Some(Callback::Blocks) | None => {
                let read = self.inner.read(buffer)?;
                if read == 0
                    && let Some(name) = self.service.calls.borrow_mut().last_mut()
                {
                    *name = AT_END;
                }
                Ok(read)
            }
        }
    }
}
