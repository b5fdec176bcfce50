"""Takes a disk through a vSphere endpoint and back with oslo.vmware, as OpenStack's services do.

    oslo_round_trip.py ... --wsdl FILE      the vimService.wsdl that vim_wsdl.py made
"""

import argparse
import io
import sys
import tempfile

from oslo_vmware import api, image_transfer, rw_handles, vim_util

import round_trip

TIMEOUT_SECONDS = 300


class Site:
    """A session, with the places that things are made in."""

    def __init__(self, options, wsdl):
        self.options = options
        self.session = api.VMwareAPISession(
            options.host,
            options.user,
            options.password,
            api_retry_count=2,
            task_poll_interval=0.1,
            port=options.port,
            cacert=options.ca,
            insecure=False,
            wsdl_loc=f"file://{wsdl}",
        )
        self.factory = self.session.vim.client.factory
        datacenter = self.first("Datacenter", ["name"]).obj
        self.folder = self.read(datacenter, "vmFolder")
        self.datastore = self.first("Datastore", ["name"])
        self.pool = self.first("ResourcePool", ["name"]).obj

    def call(self, method, *arguments, **named):
        return self.session.invoke_api(self.session.vim, method, *arguments, **named)

    def task(self, method, *arguments, **named):
        """The result of a task, which not every task has."""
        info = self.session.wait_for_task(self.call(method, *arguments, **named))
        return getattr(info, "result", None)

    def all_of(self, kind, properties):
        found = self.session.invoke_api(
            vim_util, "get_objects", self.session.vim, kind, 100, properties_to_collect=properties
        )
        with vim_util.WithRetrieval(self.session.vim, found) as objects:
            return list(objects)

    def first(self, kind, properties):
        return self.all_of(kind, properties)[0]

    def read(self, reference, name):
        return self.session.invoke_api(vim_util, "get_object_property", self.session.vim, reference, name)

    def new(self, kind, **fields):
        made = self.factory.create(f"ns0:{kind}")
        for name, value in fields.items():
            setattr(made, name, value)
        return made

    def device_change(self, device, **operation):
        return self.new("VirtualDeviceConfigSpec", device=device, **operation)

    def configuration(self, name, capacity):
        datastore = self.datastore.propSet[0].val
        controller = self.new("VirtualLsiLogicController", key=-100, busNumber=0, sharedBus="noSharing")
        backing = self.new(
            "VirtualDiskFlatVer2BackingInfo", fileName="", diskMode="persistent", thinProvisioned=True
        )
        disk = self.new(
            "VirtualDisk",
            key=-101,
            controllerKey=-100,
            unitNumber=0,
            backing=backing,
            capacityInKB=capacity // 1024,
            capacityInBytes=capacity,
        )
        return self.new(
            "VirtualMachineConfigSpec",
            name=name,
            guestId="otherGuest",
            numCPUs=1,
            memoryMB=128,
            version="vmx-08",
            files=self.new("VirtualMachineFileInfo", vmPathName=f"[{datastore}]"),
            deviceChange=[
                self.device_change(disk, operation="add", fileOperation="create"),
                self.device_change(controller, operation="add"),
            ],
        )

    def create(self, name, capacity):
        return self.task(
            "CreateVM_Task", self.folder, config=self.configuration(name, capacity), pool=self.pool
        )

    def import_disk(self, name, disk, method):
        spec = self.new("VirtualMachineImportSpec", configSpec=self.configuration(name, disk.capacity))
        with open(disk.vmdk, "rb") as stream:
            return image_transfer.download_stream_optimized_data(
                None,
                TIMEOUT_SECONDS,
                stream,
                session=self.session,
                host=self.options.host,
                port=self.options.port,
                resource_pool=self.pool,
                vm_folder=self.folder,
                vm_import_spec=spec,
                image_size=disk.vmdk.stat().st_size,
                http_method=method,
            )

    def export(self, machine, disk, vmdk_size):
        """Exports and compares; returns the stream's size, which is what oslo.vmware wants to know beforehand."""
        vmdk = disk.folder / "export.vmdk"
        with KeptFile(vmdk) as output:
            image_transfer.copy_stream_optimized_disk(
                None,
                TIMEOUT_SECONDS,
                output,
                session=self.session,
                host=self.options.host,
                port=self.options.port,
                vm=machine,
                vmdk_file_path=self.only_disk(machine).backing.fileName,
                vmdk_size=vmdk_size,
            )
        disk.compare(vmdk)
        return vmdk.stat().st_size

    def read_in_pieces(self, machine, disk, vmdk_size):
        """The handle by itself, read in pieces that no sector or TLS record ends with."""
        handle = rw_handles.VmdkReadHandle(
            self.session, self.options.host, self.options.port, machine, None, vmdk_size
        )
        vmdk = disk.folder / "pieces.vmdk"
        with open(vmdk, "wb") as output:
            while piece := handle.read(12_345):
                output.write(piece)
                handle.update_progress()
        handle.close()
        disk.compare(vmdk)

    def only_disk(self, machine):
        devices = self.read(machine, "config.hardware.device").VirtualDevice
        (disk,) = [device for device in devices if device.__class__.__name__ == "VirtualDisk"]
        return disk

    def swap(self, source, target):
        moved, old = self.only_disk(source), self.only_disk(target)
        detach = self.new(
            "VirtualMachineConfigSpec", deviceChange=[self.device_change(moved, operation="remove")]
        )
        self.task("ReconfigVM_Task", source, spec=detach)
        backing = self.new(
            "VirtualDiskFlatVer2BackingInfo", fileName=moved.backing.fileName, diskMode="persistent"
        )
        added = self.new(
            "VirtualDisk",
            key=-1,
            backing=backing,
            controllerKey=old.controllerKey,
            unitNumber=old.unitNumber,
            capacityInKB=moved.capacityInKB,
        )
        changes = [
            self.device_change(old, operation="remove", fileOperation="destroy"),
            self.device_change(added, operation="add"),
        ]
        self.task("ReconfigVM_Task", target, spec=self.new("VirtualMachineConfigSpec", deviceChange=changes))


class KeptFile(io.FileIO):
    """A file whose name is a string, as oslo.vmware logs it, and that may be closed twice."""

    def __init__(self, path):
        super().__init__(str(path), "wb")


def run(options, wsdl, disk):
    site = Site(options, wsdl)
    backing = site.create(f"{options.name}-backing", disk.capacity)
    imported = site.import_disk(f"{options.name}-imported", disk, "POST")
    # With the capacity for its size oslo.vmware takes the export for incomplete and aborts the lease; the bytes are there.
    size = site.export(imported, disk, disk.capacity)
    site.export(imported, disk, size)
    site.read_in_pieces(imported, disk, size)
    site.swap(imported, backing)
    site.export(backing, disk, size)
    for machine in (imported, backing):
        site.task("Destroy_Task", machine)
    put = site.import_disk(f"{options.name}-put", disk, "PUT")
    site.export(put, disk, size)
    site.task("Destroy_Task", put)
    left = [machine.propSet[0].val for machine in site.all_of("VirtualMachine", ["name"])]
    if any(name.startswith(options.name) for name in left):
        raise AssertionError(f"machines are left: {left}")
    site.session.logout()


def main():
    options = round_trip.arguments(__doc__)
    parser = argparse.ArgumentParser()
    parser.add_argument("--wsdl", required=True)
    wsdl = parser.parse_args(options.rest).wsdl
    with tempfile.TemporaryDirectory() as folder:
        run(options, wsdl, round_trip.TestDisk(folder))
    print("done")


if __name__ == "__main__":
    sys.exit(main())
