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
sys.stdout.write("good\n")
