//! The simulator as a client sees it, on the wire and from behind.

mod chains;
mod client;
mod faults;
mod files;
mod http;
mod inventory;
mod leases;
mod privileges;
mod sessions;
mod strangers;
