"""Takes a disk through a vSphere endpoint and back with pyVmomi, and holds every message against the API's schema.

A machine is created, a disk imported as another one, exported, swapped into the first machine, exported again, and both
machines are destroyed; some calls that must fail are made on the way.
"""

import contextlib
import hashlib
import http.client
import ssl
import sys
import tempfile
import urllib.parse

from pyVmomi import vim, vmodl

import checked_stub
import round_trip


class Site:
    """A session, with the places that things are made in."""

    def __init__(self, options):
        self.options = options
        self.stub = checked_stub.CheckedStub(
            options.host,
            options.port,
            path="/sdk",
            version="vim.version.v8_0_0_1",
            sslContext=ssl.create_default_context(cafile=options.ca),
        )
        self.content = vim.ServiceInstance("ServiceInstance", self.stub).RetrieveContent()
        with expect(vim.fault.InvalidLogin):
            self.content.sessionManager.Login(options.user, "not the password")
        self.content.sessionManager.Login(options.user, options.password)
        datacenter = self.all_of(vim.Datacenter)[0]
        self.folder = datacenter.vmFolder
        self.datastore = datacenter.datastore[0]
        self.pool = self.all_of(vim.ResourcePool)[0]

    def all_of(self, kind):
        view = self.content.viewManager.CreateContainerView(self.content.rootFolder, [kind], True)
        found = list(view.view)
        view.DestroyView()
        return found

    def wait(self, managed_object, prop, done):
        """Waits by the PropertyCollector until `done` says that the property has its last value."""
        collector = self.content.propertyCollector
        object_spec = vmodl.query.PropertyCollector.ObjectSpec(obj=managed_object)
        property_spec = vmodl.query.PropertyCollector.PropertySpec(type=type(managed_object), pathSet=[prop])
        watched = collector.CreateFilter(
            vmodl.query.PropertyCollector.FilterSpec(objectSet=[object_spec], propSet=[property_spec]), True
        )
        version = ""
        try:
            while True:
                updates = collector.WaitForUpdatesEx(version, None)
                version = updates.version
                for change in updates.filterSet[0].objectSet[0].changeSet:
                    if change.name == prop and done(change.val):
                        return change.val
        finally:
            watched.DestroyPropertyFilter()

    def result(self, task):
        self.wait(task, "info.state", lambda state: state in ("success", "error"))
        info = task.info
        if info.state == "error":
            raise info.error
        return info.result

    def configuration(self, name, capacity):
        controller = vim.vm.device.VirtualLsiLogicController(
            key=-100, busNumber=0, sharedBus=vim.vm.device.VirtualSCSIController.Sharing.noSharing
        )
        backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
            fileName="", diskMode="persistent", thinProvisioned=True
        )
        disk = vim.vm.device.VirtualDisk(
            key=-101,
            backing=backing,
            controllerKey=-100,
            unitNumber=0,
            capacityInKB=capacity // 1024,
            capacityInBytes=capacity,
        )
        add = vim.vm.device.VirtualDeviceSpec.Operation.add
        create = vim.vm.device.VirtualDeviceSpec.FileOperation.create
        return vim.vm.ConfigSpec(
            name=name,
            guestId="otherGuest",
            numCPUs=1,
            memoryMB=128,
            version="vmx-08",
            files=vim.vm.FileInfo(vmPathName=f"[{self.datastore.name}]"),
            extraConfig=[vim.option.OptionValue(key="peer.name", value=name)],
            deviceChange=[
                vim.vm.device.VirtualDeviceSpec(operation=add, fileOperation=create, device=disk),
                vim.vm.device.VirtualDeviceSpec(operation=add, device=controller),
            ],
        )

    def create(self, name, capacity):
        machine = self.result(self.folder.CreateVM_Task(self.configuration(name, capacity), self.pool))
        with expect(vim.fault.DuplicateName):
            self.result(self.folder.CreateVM_Task(self.configuration(name, capacity), self.pool))
        return machine

    def import_disk(self, name, disk):
        spec = vim.vm.VmImportSpec(configSpec=self.configuration(name, disk.capacity))
        lease = self.pool.ImportVApp(spec, self.folder)
        self.wait_ready(lease)
        (device,) = lease.info.deviceUrl
        content = disk.vmdk.read_bytes()
        headers = {"Content-Type": "application/x-vnd.vmware-streamVmdk"}
        with self.transfer("POST", device, content, headers) as response:
            response.read()
        lease.HttpNfcLeaseProgress(100)
        entity = lease.info.entity
        self.check_manifest(lease, device, content)
        lease.HttpNfcLeaseComplete()
        return entity

    def export(self, machine, disk):
        lease = machine.ExportVm()
        self.wait_ready(lease)
        with expect(vim.fault.TaskInProgress):
            machine.ExportVm()
        (device,) = [device for device in lease.info.deviceUrl if device.disk]
        with self.transfer("GET", device) as response:
            content = response.read()
        self.check_manifest(lease, device, content)
        lease.HttpNfcLeaseComplete()
        vmdk = disk.folder / "export.vmdk"
        vmdk.write_bytes(content)
        disk.compare(vmdk)

    def wait_ready(self, lease):
        if self.wait(lease, "state", lambda state: state != "initializing") != "ready":
            raise lease.error

    @contextlib.contextmanager
    def transfer(self, method, device, body=None, headers=()):
        """Asks the data host. Its certificate is one that only the lease vouches for, or the endpoint's."""
        url = urllib.parse.urlsplit(device.url)
        netloc = f"{self.options.host}:{self.options.port}" if url.netloc == "*" else url.netloc
        context = ssl.create_default_context(cafile=self.options.ca)
        if device.sslThumbprint:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(netloc, context=context)
        connection.connect()
        if device.sslThumbprint:
            certificate = connection.sock.getpeercert(binary_form=True)
            found = hashlib.sha1(certificate).hexdigest()
            if device.sslThumbprint.replace(":", "").lower() != found:
                raise AssertionError(f"{netloc} has thumbprint {found}, the lease tells {device.sslThumbprint}")
        connection.request(method, url.path, body, {"Cookie": self.stub.cookie.split(";")[0], **dict(headers)})
        response = connection.getresponse()
        if response.status // 100 != 2:
            raise AssertionError(f"{method} {url.path}: {response.status} {response.reason}")
        yield response
        connection.close()

    def check_manifest(self, lease, device, content):
        """Holds what was transferred against the lease's manifest, which not every server fills."""
        for entry in lease.HttpNfcLeaseGetManifest():
            if entry.key == device.key:
                found = (len(content), hashlib.sha1(content).hexdigest())
                if (entry.size, entry.sha1) != found:
                    raise AssertionError(f"the manifest tells {entry.size}, {entry.sha1}; transferred: {found}")

    def swap(self, source, target):
        """Moves the disk of one machine into the place of another's in one reconfiguration."""
        change = vim.vm.device.VirtualDeviceSpec
        moved, old = only_disk(source), only_disk(target)
        detach = vim.vm.ConfigSpec(deviceChange=[change(operation="remove", device=moved)])
        self.result(source.ReconfigVM_Task(detach))
        backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
            fileName=moved.backing.fileName, diskMode="persistent"
        )
        added = vim.vm.device.VirtualDisk(
            key=-1,
            backing=backing,
            controllerKey=old.controllerKey,
            unitNumber=old.unitNumber,
            capacityInKB=moved.capacityInKB,
        )
        remove_old = change(operation="remove", fileOperation="destroy", device=old)
        spec = vim.vm.ConfigSpec(deviceChange=[remove_old, change(operation="add", device=added)])
        self.result(target.ReconfigVM_Task(spec))
        now = only_disk(target)
        expected = (moved.backing.fileName, old.controllerKey, old.unitNumber)
        if (now.backing.fileName, now.controllerKey, now.unitNumber) != expected:
            raise AssertionError(f"the disk is {now}, expected {expected}")


def only_disk(machine):
    (disk,) = [d for d in machine.config.hardware.device if isinstance(d, vim.vm.device.VirtualDisk)]
    return disk


@contextlib.contextmanager
def expect(fault):
    try:
        yield
    except fault:
        return
    raise AssertionError(f"the call should have failed with {fault.__name__}")


def run(options, disk):
    site = Site(options)
    backing = site.create(f"{options.name}-backing", disk.capacity)
    imported = site.import_disk(f"{options.name}-imported", disk)
    if only_disk(imported).capacityInBytes != disk.capacity:
        raise AssertionError("the imported disk has another capacity")
    site.export(imported, disk)
    site.swap(imported, backing)
    site.export(backing, disk)
    site.result(imported.Destroy_Task())
    site.export(backing, disk)
    site.result(backing.Destroy_Task())
    with expect(vmodl.fault.ManagedObjectNotFound):
        backing.name  # noqa: B018: reading it is a call
    site.content.sessionManager.Logout()
    with expect(vim.fault.NotAuthenticated):
        site.content.rootFolder.name  # noqa: B018
    return site.stub.mistakes


def main():
    options = round_trip.arguments(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        mistakes = run(options, round_trip.TestDisk(folder))
    for mistake in mistakes:
        print(mistake)
    print(f"done; {len(mistakes)} mistakes in the messages")
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
