"""What the round trips have in common: the disk that is taken through the endpoint, and the program's arguments."""

import argparse
import hashlib
import os
import pathlib
import random
import subprocess

SECTOR = 512
# Not a whole number of 64 KiB grains.
CAPACITY = (40 << 20) + 6 * SECTOR


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ca", required=True, help="file with the certificate authority's certificate (PEM)")
    parser.add_argument("--user", default="administrator@vsphere.local", help="password: in VSPHERE_PASSWORD")
    parser.add_argument("--name", default="py-peer", help="beginning of the names of all that is made")
    options, rest = parser.parse_known_args()
    options.password = os.environ["VSPHERE_PASSWORD"]
    options.rest = rest
    return options


class TestDisk:
    """A raw image with data and holes, and the same as a stream-optimized VMDK made by qemu-img."""

    capacity = CAPACITY

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.vmdk = self.folder / "disk.vmdk"
        raw = self.folder / "disk.raw"
        noise = random.Random(1)
        with open(raw, "wb") as image:
            for at in (0, (5 << 20) - SECTOR, 33 << 20, CAPACITY - 3 * SECTOR):
                length = min(150_000, CAPACITY - at)
                image.seek(at)
                image.write(noise.randbytes(length // 2) + b"text" * (length // 8))
            image.truncate(CAPACITY)
        self.sha256 = sha256(raw)
        qemu_img("convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", raw, self.vmdk)
        self._end_stream()

    def _end_stream(self):
        """Puts one end-of-stream marker where qemu-img leaves none or many zeros."""
        content = self.vmdk.read_bytes().rstrip(b"\0")
        self.vmdk.write_bytes(content + bytes(-len(content) % SECTOR + SECTOR))

    def compare(self, vmdk):
        """Fails unless the exported VMDK holds the same disk, as qemu-img reads it."""
        raw = self.folder / "back.raw"
        qemu_img("convert", "-f", "vmdk", "-O", "raw", vmdk, raw)
        found = sha256(raw)
        if found != self.sha256:
            raise AssertionError(f"{vmdk} holds a disk with SHA-256 {found}, expected {self.sha256}")


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def qemu_img(*arguments):
    subprocess.run(["qemu-img", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)
