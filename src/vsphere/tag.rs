//! The `extraConfig` keys by which what an operation made is known on the server: to people, and
//! to recovery when the journal is lost. Clean-up touches nothing without them.

/// On a temporary virtual machine, and on a backing whose disk was just replaced: the id of the
/// operation it belongs to.
pub const OPERATION: &str = "vmdk_backup.operation";

/// Beside [`OPERATION`]: when the operation began, RFC 3339, by the server's clock.
pub const STARTED: &str = "vmdk_backup.started";

/// Beside [`OPERATION`]: when its process last proved to be alive, RFC 3339, by the server's clock.
pub const RENEWED: &str = "vmdk_backup.renewed";

/// On a temporary virtual machine: the datastore paths, as a JSON list, under which a disk taken
/// out of it may lie.
pub const DISKS: &str = "vmdk_backup.disks";

/// On a backing: the datastore path of the disk that was replaced and is still to be deleted.
pub const REPLACED: &str = "vmdk_backup.replaced";

/// All of them.
pub const ALL: [&str; 5] = [OPERATION, STARTED, RENEWED, DISKS, REPLACED];
