//! The library in a process that is killed, refused by its operating system, or signalled.

mod agent;
mod calls;
mod host;
mod job;
mod kills;
mod leases;
mod site;
mod strace;
mod walk;
