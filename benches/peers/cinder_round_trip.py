"""One backup and restores of a volume as OpenStack's cinder does them, each of its steps timed.

cinder_round_trip.py --port PORT --volume UUID --wsdl FILE --folder FOLDER [--runs N]

The volume driver, os-brick's connector and the backup driver are the real ones with their defaults. There is no
database and no message queue: what cinder would look up there is told here. The environment has VSPHERE_USER and
VSPHERE_PASSWORD. Prints a line of JSON for each run.
"""

import argparse
import contextlib
import datetime
import functools
import json
import logging
import os
import pathlib
import resource
import shutil
import time
import unittest.mock
import uuid
import warnings

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)

from oslo_config import cfg  # noqa: E402
import cinder.objects  # noqa: E402

cinder.objects.register_all()

from cinder.backup import driver as backup_driver  # noqa: E402
from cinder.backup.drivers import posix  # noqa: E402
from cinder.db import base  # noqa: E402
from cinder.volume import configuration, volume_utils  # noqa: E402
from cinder.volume.drivers.vmware import datastore, vmdk  # noqa: E402
from os_brick.initiator.connectors import vmware as brick  # noqa: E402
from oslo_vmware import api  # noqa: E402

HOST = {"platform": "x86_64", "os_type": "linux"}
GIB = 1 << 30


class Record(dict):
    """A row of the database: fields, changed in memory only."""

    __getattr__ = dict.get
    __missing__ = lambda self, _: None  # noqa: E731
    __setattr__ = dict.__setitem__

    def save(self):
        pass

    def refresh(self):
        pass

    @contextlib.contextmanager
    def as_read_deleted(self):
        yield


class Cinder:
    def __init__(self, options):
        # A vCenter serves its own WSDL; the simulator has none, and it is read from a file here. The connector has no
        # option for that.
        wsdl = f"file://{options.wsdl}"
        api.VMwareAPISession = functools.partial(api.VMwareAPISession, wsdl_loc=wsdl)
        # The simulator's datastores are of kinds that the driver knows, but for their names.
        datastore.DatastoreType._ALL_TYPES.update({"VMFS", "NFS", "vsan", "VVOL", "other"})
        base.Base.__init__ = lambda self, *_, **__: None
        volume_utils.notify_about_backup_usage = lambda *_, **__: None
        vmdk.volume_types.get_volume_type_extra_specs = lambda *_, **__: {}
        settings = configuration.Configuration(vmdk.vmdk_opts, config_group="vmware")
        for name, value in {
            "vmware_host_ip": "127.0.0.1",
            "vmware_host_port": options.port,
            "vmware_host_username": os.environ["VSPHERE_USER"],
            "vmware_host_password": os.environ["VSPHERE_PASSWORD"],
            "vmware_insecure": True,
            "vmware_wsdl_location": wsdl,
            "vmware_tmp_dir": str(options.folder / "temporary"),
        }.items():
            cfg.CONF.set_override(name, value, group="vmware")
        self.repository = options.folder / "repository"
        cfg.CONF.set_override("backup_posix_path", str(self.repository))
        self.driver = vmdk.VMwareVcVmdkDriver(configuration=settings)
        self.driver._register_extension = lambda: None
        self.driver.do_setup(None)
        self.connector = brick.VmdkConnector(None)

    def backup_driver(self, volume):
        made = posix.PosixBackupDriver(None)
        made.db = unittest.mock.Mock()
        made.db.volume_get.return_value = volume
        about = {"version": 2, backup_driver.BackupMetadataAPI.TYPE_TAG_VOL_BASE_META: {"id": volume.id}}
        made.get_metadata = lambda _: json.dumps(about)
        made.put_metadata = lambda *_: None
        return made

    @contextlib.contextmanager
    def attached(self, volume, times):
        with timed(times, "connect"):
            properties = self.driver.initialize_connection(volume, HOST)["data"]
            device = self.connector.connect_volume(properties)
        # What is written in the tick of the clock that it was received in would count as unchanged.
        time.sleep(0.02)
        yield device["path"]
        with timed(times, "disconnect"):
            self.connector.disconnect_volume(properties, device)

    def backup(self, volume):
        times = {}
        backup = Record(
            id=str(uuid.uuid4()),
            volume_id=volume.id,
            display_name="backup",
            created_at=datetime.datetime.now(),
            status="creating",
            size=volume.size,
            object_count=0,
        )
        with self.attached(volume, times) as path, open(path, "rb") as file, timed(times, "work"):
            self.backup_driver(volume).backup(backup, file)
        return backup, times

    def restore(self, backup, volume):
        times = {}
        backup.status = "restoring"
        with self.attached(volume, times) as path, open(path, "wb") as file, timed(times, "work"):
            self.backup_driver(volume).restore(backup, volume.id, file, False)
            file.close()
        return times


@contextlib.contextmanager
def timed(times, name):
    began, before = time.monotonic(), processor_seconds()
    yield
    times[name] = time.monotonic() - began
    times["cpu"] = times.get("cpu", 0) + processor_seconds() - before


def processor_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--volume", required=True)
    parser.add_argument("--size", type=int, default=GIB)
    parser.add_argument("--wsdl", required=True)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--runs", type=int, default=1)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    cinder_services = Cinder(options)
    volume = Record(
        id=options.volume,
        name="volume-" + options.volume,
        name_id=options.volume,
        size=-(-options.size // GIB),
        project_id="project",
        volume_attachment=[],
        status="available",
    )
    for _ in range(options.runs):
        backup, backup_times = cinder_services.backup(volume)
        restore_times = cinder_services.restore(backup, volume)
        print(json.dumps({"backup": backup_times, "restore": restore_times}), flush=True)
        shutil.rmtree(cinder_services.repository)


main()
