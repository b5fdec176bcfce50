"""What a Python service raises is the cause of the error, from whichever callback it comes."""

import os
import sys

import vmdk_backup


class Broken(Exception):
    pass


class Service:
    """Keeps nothing, and raises in one of its methods."""

    length = 512

    def __init__(self, failing):
        self.failing = failing
        self.aborted = 0

    def _enter(self, name):
        if name == self.failing:
            raise Broken(name)

    def create(self, *_):
        self._enter("create")
        return self

    def write(self, _):
        self._enter("write")

    def set_metadata(self, _):
        self._enter("set_metadata")

    def commit(self):
        self._enter("commit")

    def abort(self):
        self.aborted += 1

    def open(self, _):
        self._enter("open")
        return self

    def metadata(self):
        self._enter("metadata")
        return ""

    def read(self, _):
        self._enter("read")
        return b""

    def close(self):
        pass


def fails(call, failing, progress=None):
    service = Service(failing)
    try:
        call(service, "b1", progress, name="volume-1")
    except vmdk_backup.Error as error:
        assert isinstance(error.__cause__, Broken), (failing, error, error.__cause__)
        assert error.__cause__.args == (failing,), (failing, error.__cause__)
        return service, error
    raise AssertionError(f"{failing} did not fail")


def progress(*_):
    raise Broken("progress")


def refuses(kind, call, *arguments, **fields):
    """What is of a wrong type never reaches the library, which could not tell it from an address."""
    try:
        call(*arguments, **fields)
    except kind as error:
        assert not isinstance(error, vmdk_backup.Error), error
        return
    raise AssertionError(f"{arguments} {fields} were taken")


class Odd(Service):
    """Gives what no service may."""

    def __init__(self, **given):
        super().__init__(None)
        self.given = given
        self.length = given.get("length", 512)

    def write(self, data):
        return self.given.get("write")

    def metadata(self):
        return self.given.get("metadata", "")

    def read(self, size):
        return self.given.get("read", lambda size: b"")(size)


def causes(kind, call, **given):
    try:
        call(Odd(**given), "b1", name="volume-1")
    except vmdk_backup.Error as error:
        assert isinstance(error.__cause__, kind), (given, error, error.__cause__)
        return
    raise AssertionError(f"{given} was taken")


with vmdk_backup.Client(os.environ["VSPHERE_SERVER"], os.environ["VSPHERE_USER"],
                        os.environ["VSPHERE_PASSWORD"],
                        ca_file=os.environ["VSPHERE_CA_FILE"]) as client:
    for name in ("create", "write", "set_metadata", "commit"):
        service, error = fails(client.backup, name)
        assert error.status_name == "SERVICE", error
        assert service.aborted == (name != "create"), name
    for name in ("open", "metadata", "read"):
        assert fails(client.restore, name)[1].status_name == "SERVICE"
    assert fails(client.backup, "progress", progress)[1].status == vmdk_backup.CANCELLED
    client.backup(Service(None), "b1", name="volume-1")

    for call in (client.backup, client.restore):
        for name in ("name", "id", "moref", "datastore", "folder"):
            refuses(TypeError, call, Service(None), "b1", **{name: 5})
            refuses(ValueError, call, Service(None), "b1", **{name: "volume\0-1"})
        refuses(TypeError, call, Service(None), 5, name="volume-1")
        refuses(TypeError, call, Service(None), "b1", 5, name="volume-1")
        refuses(TypeError, call, Service(None), "b1", name="volume-1", size_bytes="1")
        refuses(TypeError, call, Service(None), "b1", name="volume-1", extra_config={"a": 1})
        refuses(TypeError, call, Service(None), "b1", name="volume-1", extra_config_count=7)
        refuses(TypeError, call, Service(None), "b1", name="volume-1", colour="red")
        refuses(OverflowError, call, Service(None), "b1", name="volume-1", size_bytes=1 << 64)
        refuses(OverflowError, call, Service(None), "b1", name="volume-1", disk_type=1 << 31)
    for wrong in ((5, "user", "password"), ("server", 5, "password"), ("server", "user", 5)):
        refuses(TypeError, vmdk_backup.Client, *wrong)
    refuses(TypeError, vmdk_backup.Client, "server", "user", "password", ca_file=5)

    causes(ValueError, client.backup, write=1)
    causes(OverflowError, client.restore, length=-1)
    causes(TypeError, client.restore, length="512")
    causes(TypeError, client.restore, metadata=5)
    causes(TypeError, client.restore, read=lambda size: "text")
    causes(ValueError, client.restore, read=lambda size: b"a" * (size + 1))

    closed = client
try:
    closed.backup(Service(None), "b1", name="volume-1")
    raise AssertionError("a closed client was taken")
except vmdk_backup.Error as error:
    assert error.status_name == "INVALID_ARGUMENT" and "client was freed" in str(error), error
sys.stdout.write("good\n")
