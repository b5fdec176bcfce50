//! The morefs of the things there is one of, and how new things are called.

use crate::options::Mode;
use crate::wire::{Ref, reference};

use super::World;
use super::ids::{ticket, uuid};

/// The singletons of a service instance.
#[derive(Clone, Debug)]
pub struct Names {
    pub root: Ref,
    pub property_collector: Ref,
    pub view_manager: Ref,
    pub session_manager: Ref,
    pub authorization_manager: Ref,
    pub task_manager: Ref,
    pub search_index: Ref,
    pub file_manager: Ref,
    pub virtual_disk_manager: Ref,
    pub service_instance: Ref,
    /// Those that are there by name only.
    pub others: Vec<(&'static str, Ref)>,
}

impl Names {
    pub fn new(mode: Mode) -> Names {
        match mode {
            Mode::VCenter => Names {
                root: reference("Folder", "group-d1"),
                property_collector: reference("PropertyCollector", "propertyCollector"),
                view_manager: reference("ViewManager", "ViewManager"),
                session_manager: reference("SessionManager", "SessionManager"),
                authorization_manager: reference("AuthorizationManager", "AuthorizationManager"),
                task_manager: reference("TaskManager", "TaskManager"),
                search_index: reference("SearchIndex", "SearchIndex"),
                file_manager: reference("FileManager", "FileManager"),
                virtual_disk_manager: reference("VirtualDiskManager", "virtualDiskManager"),
                service_instance: reference("ServiceInstance", "ServiceInstance"),
                others: vec![
                    ("setting", reference("OptionManager", "VpxSettings")),
                    ("eventManager", reference("EventManager", "EventManager")),
                    (
                        "extensionManager",
                        reference("ExtensionManager", "ExtensionManager"),
                    ),
                    ("ovfManager", reference("OvfManager", "OvfManager")),
                    (
                        "licenseManager",
                        reference("LicenseManager", "LicenseManager"),
                    ),
                ],
            },
            Mode::Esxi => Names {
                root: reference("Folder", "ha-folder-root"),
                property_collector: reference("PropertyCollector", "ha-property-collector"),
                view_manager: reference("ViewManager", "ViewManager"),
                session_manager: reference("SessionManager", "ha-sessionmgr"),
                authorization_manager: reference("AuthorizationManager", "ha-authmgr"),
                task_manager: reference("TaskManager", "ha-taskmgr"),
                search_index: reference("SearchIndex", "ha-searchindex"),
                file_manager: reference("FileManager", "ha-nfc-file-manager"),
                virtual_disk_manager: reference("VirtualDiskManager", "ha-vdiskmanager"),
                service_instance: reference("ServiceInstance", "ServiceInstance"),
                others: vec![
                    ("setting", reference("OptionManager", "HostAgentSettings")),
                    ("eventManager", reference("EventManager", "ha-eventmgr")),
                    ("ovfManager", reference("OvfManager", "ha-ovf-manager")),
                    (
                        "licenseManager",
                        reference("LicenseManager", "ha-license-manager"),
                    ),
                ],
            },
        }
    }
}

impl World {
    fn numbered(&mut self, kind: &str, prefix: &str) -> Ref {
        let number = self.next("moref") + 10;
        reference(kind, &format!("{prefix}{number}"))
    }

    pub fn new_machine_ref(&mut self) -> Ref {
        match self.options.mode {
            Mode::VCenter => self.numbered("VirtualMachine", "vm-"),
            Mode::Esxi => {
                let number = self.next("machine");
                reference("VirtualMachine", &number.to_string())
            }
        }
    }

    /// `letter` is that of the folder's kind: `d`, `v`, `h`, `s` or `n`.
    pub fn new_folder_ref(&mut self, letter: char) -> Ref {
        self.numbered("Folder", &format!("group-{letter}"))
    }

    pub fn new_ref(&mut self, kind: &str) -> Ref {
        let prefix = match kind {
            "Datacenter" => "datacenter-",
            "ClusterComputeResource" => "domain-c",
            "ResourcePool" => "resgroup-",
            "VirtualApp" => "resgroup-v",
            "HostSystem" => "host-",
            "VirtualMachineSnapshot" => "snapshot-",
            _ => "object-",
        };
        if kind == "Datastore" {
            return match self.options.mode {
                Mode::VCenter => self.numbered(kind, "datastore-"),
                Mode::Esxi => {
                    let digits = ticket();
                    let id = format!(
                        "{}-{}-{}-{}",
                        &digits[..8],
                        &digits[8..16],
                        &digits[16..20],
                        &digits[20..32]
                    );
                    reference(kind, &id)
                }
            };
        }
        self.numbered(kind, prefix)
    }

    pub fn new_task_ref(&mut self, description_id: &str) -> Ref {
        let number = self.next("task");
        match self.options.mode {
            Mode::VCenter => reference("Task", &format!("task-{number}")),
            Mode::Esxi => reference("Task", &format!("haTask-vim.{description_id}-{number}")),
        }
    }

    /// The name of a thing that belongs to a session.
    pub fn new_session_ref(&self, kind: &str, session_key: &str) -> Ref {
        reference(kind, &format!("session[{session_key}]{}", uuid("52")))
    }
}
