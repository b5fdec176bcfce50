//! Leases for the export of a machine's or a snapshot's disks.

use std::sync::Arc;

use crate::wire::envelope::Call;
use crate::wire::{Fault, Outcome, Ref};
use crate::world::lease::{LeaseFile, LeaseKind, Transfer};
use crate::world::machine::{BackingKind, Machine, MachineDisk, Power};
use crate::world::path::file_of;
use crate::world::{Shared, World};

use super::{Answer, Context};

pub fn export_vm(context: &Context, call: &Call) -> Answer {
    let session = context.session_key()?;
    let mut world = context.shared.write();
    let machine = world.machine(&call.this)?;
    if machine.power != Power::Off {
        return Err(Fault::power_state(machine.power.word(), Some("poweredOff")));
    }
    let disks = machine.disks.clone();
    open(context, &mut world, &call.this, &disks, session)
}

pub fn export_snapshot(context: &Context, call: &Call) -> Answer {
    let session = context.session_key()?;
    let mut world = context.shared.write();
    let (machine, snapshot) = world.snapshot(&call.this)?;
    let disks = snapshot.disks.clone();
    open(context, &mut world, &machine, &disks, session)
}

fn open(
    context: &Context,
    world: &mut World,
    machine: &Ref,
    disks: &[MachineDisk],
    session: &str,
) -> Answer {
    world.check_machine_free(machine, None)?;
    if disks
        .iter()
        .any(|disk| disk.backing == BackingKind::RawDeviceMapping)
    {
        return Err(Fault::not_supported(
            "a raw device mapping cannot be exported",
        ));
    }
    for disk in disks {
        world.check_chain(&disk.datastore, &disk.path)?;
        if world.disk_file(&disk.datastore, &disk.path)?.busy.is_some() {
            return Err(Fault::file(
                "FileLocked",
                &world.path_text(&disk.datastore, &disk.path),
            ));
        }
    }
    let mut files = lease_files(world, machine, disks, "")?;
    if world.options.export_nvram {
        files.push(nvram(machine, world.machine(machine)?));
    }
    let lease = world.open_lease(LeaseKind::Export, machine, session, files)?;
    make_ready(&context.shared, &lease);
    Ok(Some(lease.into()))
}

/// What a lease for a machine's disks lists.
pub fn lease_files(
    world: &World,
    machine: &Ref,
    disks: &[MachineDisk],
    import_name: &str,
) -> Outcome<Vec<LeaseFile>> {
    let body = world.machine(machine)?;
    let mut files = Vec::new();
    for (number, disk) in disks.iter().enumerate() {
        let controller = body
            .controller(disk.controller_key)
            .ok_or_else(|| Fault::not_found(machine))?;
        let unit = format!(
            "{}{}:{}",
            controller.kind, controller.bus_number, disk.unit_number
        );
        let import_key = if import_name.is_empty() {
            String::new()
        } else {
            format!("/{import_name}/{unit}")
        };
        files.push(LeaseFile {
            key: format!("/{}/{unit}", machine.id),
            import_key,
            target_id: format!("disk-{number}.vmdk"),
            disk: true,
            datastore: disk.datastore.clone(),
            path: disk.path.clone(),
            transfer: Transfer::None,
        });
    }
    Ok(files)
}

fn nvram(machine: &Ref, body: &Machine) -> LeaseFile {
    let name = file_of(&body.vmx).trim_end_matches(".vmx");
    LeaseFile {
        key: format!("/{}/nvram", machine.id),
        import_key: String::new(),
        target_id: format!("{name}.nvram"),
        disk: false,
        datastore: body.datastore.clone(),
        path: format!("{name}.nvram"),
        transfer: Transfer::None,
    }
}

/// Lets a lease become ready in a moment, as a server does once it has spoken to the host.
pub fn make_ready(shared: &Arc<Shared>, lease: &Ref) {
    let (shared, lease) = (shared.clone(), lease.clone());
    tokio::spawn(async move {
        tokio::task::yield_now().await;
        let trouble = shared.faults.task("HttpNfcLease");
        if let Some(gate) = &trouble.gate {
            gate.wait().await;
        }
        match trouble.fault {
            Some((fault, _)) => shared.write().fail_lease(&lease, fault),
            None => shared.write().lease_ready(&lease),
        }
    });
}
