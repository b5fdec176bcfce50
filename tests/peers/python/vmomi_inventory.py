"""Calls the endpoint's other methods with pyVmomi, and holds every message and property against the API's schema."""

import sys
import uuid

from pyVmomi import VmomiSupport, vim, vmodl

import round_trip
import vmomi_site
from vmomi_site import expect, only_disk

PropertyCollector = vmodl.query.PropertyCollector
CAPACITY = 4 << 20


class Inventory(vmomi_site.Site):
    def is_lone_host(self):
        return self.content.about.apiType == "HostAgent"

    def read_everything(self, objects):
        """Reads all properties of the objects; returns those that are not of the type that the API tells."""
        specs = [PropertyCollector.ObjectSpec(obj=one) for one in objects]
        kinds = {type(one) for one in objects}
        properties = [PropertyCollector.PropertySpec(type=kind, all=True) for kind in kinds]
        spec = PropertyCollector.FilterSpec(objectSet=specs, propSet=properties)
        collector = self.content.propertyCollector
        result = collector.RetrievePropertiesEx([spec], PropertyCollector.RetrieveOptions(maxObjects=3))
        contents = list(result.objects)
        while result.token:
            result = collector.ContinueRetrievePropertiesEx(result.token)
            contents += result.objects
        if {content.obj for content in contents} != set(objects):
            raise AssertionError(f"{len(contents)} objects came back, {len(objects)} were asked for")
        return [
            f"{VmomiSupport.GetWsdlName(type(content.obj))}.{prop.name} is {type(prop.val).__name__}"
            for content in contents
            for prop in content.propSet
            if not fits(prop.val, type(content.obj)._GetPropertyInfo(prop.name).type)
        ]

    def change_place(self, machine, name):
        """Folders, names and the searches for them."""
        if self.is_lone_host():
            folder = self.folder
            with expect(vmodl.fault.NotSupported):
                folder.CreateFolder(name)
        else:
            folder = self.folder.CreateFolder(f"{name} a/b%")
            with expect(vim.fault.DuplicateName):
                self.folder.CreateFolder(f"{name} a/b%")
            self.result(folder.MoveIntoFolder_Task([machine]))
        self.result(machine.Rename_Task(f"{name}-renamed"))
        search = self.content.searchIndex
        instance = machine.config.instanceUuid
        require(search.FindAllByUuid(None, instance, True, True) == [machine], "FindAllByUuid")
        require(search.FindByUuid(None, machine.config.uuid, True) == machine, "FindByUuid")
        require(search.FindByUuid(None, str(uuid.uuid4()), True, True) is None, "FindByUuid of nothing")
        require(search.FindChild(folder, f"{name}-renamed") == machine, "FindChild")
        return folder

    def change_configuration(self, machine):
        disk = only_disk(machine)
        disk.backing.uuid = "6000C290-0000-1111-2222-333344445555"
        edit = vim.vm.device.VirtualDeviceSpec(operation="edit", device=disk)
        note = vim.option.OptionValue(key="peer.note", value="a <note> & more")
        self.result(machine.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[edit], extraConfig=[note])))
        require(only_disk(machine).backing.uuid.lower() == disk.backing.uuid.lower(), "the disk's uuid")
        found = {option.key: option.value for option in machine.config.extraConfig}
        require(found.get("peer.note") == note.value, "extraConfig")

    def snapshots(self, machine):
        self.result(machine.CreateSnapshot_Task("one", "the first", False, False))
        (tree,) = machine.snapshot.rootSnapshotList
        require(tree.name == "one" and tree.vm == machine, "the tree of snapshots")
        self.result(tree.snapshot.RemoveSnapshot_Task(False))
        require(not machine.snapshot or not machine.snapshot.rootSnapshotList, "no snapshots")

    def clone(self, machine, name):
        spec = vim.vm.CloneSpec(
            location=vim.vm.RelocateSpec(datastore=self.datastore, pool=self.pool),
            powerOn=False,
            template=False,
        )
        copy = self.result(machine.CloneVM_Task(self.folder, f"{name}-clone", spec))
        require(only_disk(copy).capacityInBytes == CAPACITY, "the clone's disk")
        copy.UnregisterVM()

    def disks(self, name):
        """VirtualDiskManager and the files of a datastore."""
        manager, datacenter = self.content.virtualDiskManager, self.all_of(vim.Datacenter)[0]
        where = f"[{self.datastore.name}] {name}-files"
        self.content.fileManager.MakeDirectory(where, datacenter, True)
        with expect(vim.fault.FileAlreadyExists):
            self.content.fileManager.MakeDirectory(where, datacenter, False)
        spec = vim.VirtualDiskManager.FileBackedVirtualDiskSpec(
            diskType="thin", adapterType="lsiLogic", capacityKb=CAPACITY // 1024
        )
        first, second = f"{where}/first.vmdk", f"{where}/second.vmdk"
        self.result(manager.CreateVirtualDisk_Task(first, datacenter, spec))
        self.result(manager.ExtendVirtualDisk_Task(first, datacenter, 2 * CAPACITY // 1024, False))
        manager.SetVirtualDiskUuid(first, datacenter, "60 00 C2 90 00 00 11 11-22 22 33 33 44 44 55 55")
        require("60 00" in manager.QueryVirtualDiskUuid(first, datacenter), "QueryVirtualDiskUuid")
        self.result(manager.CopyVirtualDisk_Task(first, datacenter, second, datacenter))
        self.result(manager.MoveVirtualDisk_Task(second, datacenter, f"{where}/third.vmdk", datacenter))
        with expect(vim.fault.FileNotFound):
            self.result(manager.DeleteVirtualDisk_Task(second, datacenter))
        self.search(where)
        self.result(manager.DeleteVirtualDisk_Task(first, datacenter))
        self.result(self.content.fileManager.DeleteDatastoreFile_Task(where, datacenter))

    def search(self, where):
        details = vim.host.DatastoreBrowser.FileInfo.Details(
            fileType=True, fileSize=True, modification=True, fileOwner=False
        )
        query = vim.host.DatastoreBrowser.VmDiskQuery(
            details=vim.host.DatastoreBrowser.VmDiskQuery.Details(
                diskType=True, capacityKb=True, hardwareVersion=False
            )
        )
        spec = vim.host.DatastoreBrowser.SearchSpec(query=[query], details=details, matchPattern=["*.vmdk"])
        found = self.result(self.datastore.browser.SearchDatastore_Task(where, spec))
        names = sorted(file.path for file in found.file)
        require(names == ["first.vmdk", "third.vmdk"], f"the datastore's files, not {names}")

    def power(self, machine):
        self.result(machine.PowerOnVM_Task())
        with expect(vim.fault.InvalidPowerState):
            machine.ExportVm()
        with expect(vim.fault.InvalidPowerState):
            self.result(machine.Destroy_Task())
        self.result(machine.PowerOffVM_Task())


def fits(value, expected):
    """Whether a property's value is of the type that the API tells."""
    if expected is object:
        return True
    if issubclass(expected, list):
        return isinstance(value, list) and all(fits(item, expected.Item) for item in value)
    # Names of types, methods and properties are strings on the wire.
    names = (type, VmomiSupport.ManagedMethod)
    return isinstance(value, str if expected in names or issubclass(expected, str) else expected)


def require(holds, what):
    if not holds:
        raise AssertionError(f"{what}: not as expected")


def run(options):
    site = Inventory(options)
    machine = site.create(f"{options.name}-machine", CAPACITY)
    site.change_configuration(machine)
    folder = site.change_place(machine, options.name)
    site.snapshots(machine)
    site.power(machine)
    if not site.is_lone_host():
        site.clone(machine, options.name)
    site.disks(options.name)
    lease = machine.ExportVm()
    site.wait(lease, "state", lambda state: state != "initializing")
    entities = site.all_of(vim.ManagedEntity)
    tasks = list(machine.recentTask)
    mistakes = site.read_everything([*entities, *tasks, lease, site.content.sessionManager])
    lease.HttpNfcLeaseAbort()
    site.result((machine if site.is_lone_host() else folder).Destroy_Task())
    with expect(vmodl.fault.ManagedObjectNotFound):
        machine.name  # noqa: B018: reading it is a call
    site.content.sessionManager.Logout()
    return mistakes + site.stub.mistakes


def main():
    mistakes = run(round_trip.arguments(__doc__))
    for mistake in mistakes:
        print(mistake)
    print(f"done; {len(mistakes)} mistakes")
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
