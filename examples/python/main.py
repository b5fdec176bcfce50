#!/usr/bin/env python3
"""A program that keeps backups its own way: as ZIP archives."""

import os
import sys
import zipfile

import vmdk_backup

USAGE = """usage: main.py backup|restore DIRECTORY BACKUP-ID VOLUME
The environment names the server: VSPHERE_SERVER, VSPHERE_USER, VSPHERE_PASSWORD and,
where the system does not trust its certificate, VSPHERE_CA_FILE.
"""


class ZipService(vmdk_backup.Service):
    """Keeps each backup in an archive. ZIP has a CRC of each member, which reading checks."""

    def __init__(self, directory):
        self.directory = directory

    def path(self, backup_id):
        return os.path.join(self.directory, backup_id + ".zip")

    def create(self, backup_id, volume_id, capacity):
        return ZipWriter(self.path(backup_id))

    def open(self, backup_id):
        return ZipReader(self.path(backup_id))


class ZipWriter:
    def __init__(self, path):
        if os.path.exists(path):
            raise FileExistsError(path)
        self.path = path
        self.hidden = path + ".part"
        self.file = open(self.hidden, "wb")
        self.archive = zipfile.ZipFile(self.file, "w")  # not compressed: the stream is already
        self.disk = self.archive.open("disk.vmdk", "w", force_zip64=True)
        self.write = self.disk.write

    def set_metadata(self, text):
        self.disk.close()
        self.archive.writestr("metadata.json", text)

    def commit(self):
        """Everything is on stable storage before it has its name, and the name before this returns."""
        self.disk.close()
        self.archive.close()
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        os.rename(self.hidden, self.path)
        self.hidden = self.path  # for abort, where the next fails
        directory = os.open(os.path.dirname(self.path) or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def abort(self):
        try:
            self.disk.close()
            self.archive.close()
        finally:
            self.file.close()
            os.unlink(self.hidden)


class ZipReader:
    def __init__(self, path):
        self.archive = zipfile.ZipFile(path)
        self.disk = self.archive.open("disk.vmdk")
        self.read = self.disk.read
        self.length = self.archive.getinfo("disk.vmdk").file_size

    def metadata(self):
        return self.archive.read("metadata.json").decode()

    def close(self):
        self.disk.close()
        self.archive.close()


def show(phase, done, total):
    percent = f" {100 * done // total:3d} %" if total else ""
    print(f"\r{phase}{percent}\033[K", end="", file=sys.stderr)


def main(arguments, environment):
    if len(arguments) != 5 or arguments[1] not in ("backup", "restore"):
        return usage()
    try:
        server, username, password = (
            environment["VSPHERE_" + name] for name in ("SERVER", "USER", "PASSWORD"))
    except KeyError:
        return usage()
    job, directory, backup_id, volume = arguments[1:]
    service = ZipService(directory)
    progress = show if sys.stderr.isatty() else None
    try:
        with vmdk_backup.Client(server, username, password,
                                ca_file=environment.get("VSPHERE_CA_FILE")) as client:
            call = client.backup if job == "backup" else client.restore
            summary = call(service, backup_id, progress, name=volume)
    except vmdk_backup.Error as error:
        print(f"main.py: {error}", file=sys.stderr)
        if error.__cause__:
            print(f"main.py: {error.__cause__!r}", file=sys.stderr)
        return 10 + error.status
    if summary.notices:
        print(f"main.py: {summary.notices.decode()}", file=sys.stderr)
    print(f"backing={summary.backing.decode()}")
    print(f"stream_length={summary.stream_length}")
    return 0


def usage():
    sys.stderr.write(USAGE)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv, os.environ))
