"""A session with pyVmomi whose messages are held against the schema, and what its users have in common."""

import contextlib
import ssl

from pyVmomi import vim, vmodl

import checked_stub


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
