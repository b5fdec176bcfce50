"""Cinder's volume driver, os-brick's connector and the posix backup driver, which do what they are told line by line.

    cinder_driver.py --host HOST --port PORT --user NAME --wsdl FILE --folder FOLDER

All are the real ones. There is no database and no message queue: what cinder would look up there is kept here. The
environment has VSPHERE_PASSWORD. Each line of standard input is a JSON array: the name of a function below and its
arguments. The answer is a line of JSON: {"ok": ...} or {"error": "..."}.
"""

import argparse
import contextlib
import datetime
import functools
import json
import logging
import os
import pathlib
import shutil
import sys
import time
import unittest.mock
import uuid
import warnings

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)

from oslo_config import cfg  # noqa: E402
import cinder.objects  # noqa: E402

cinder.objects.register_all()

from cinder import coordination  # noqa: E402
from cinder.backup import driver as backup_driver  # noqa: E402
from cinder.backup.drivers import posix  # noqa: E402
from cinder.db import base  # noqa: E402
from cinder.volume import configuration, volume_utils  # noqa: E402
from cinder.volume.drivers.vmware import datastore, vmdk  # noqa: E402
from os_brick.initiator.connectors import vmware as brick  # noqa: E402
from oslo_vmware import api, image_transfer  # noqa: E402

HOST = {"platform": "x86_64", "os_type": "linux"}


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


class Images:
    """Glance, as far as it is asked."""

    def __init__(self, folder):
        self.folder = folder
        self.temp_images = None

    def show(self, _, image):
        path = self.folder / image
        kind, adapter = json.loads((self.folder / f"{image}.json").read_text())
        return {
            "disk_format": "vmdk",
            "container_format": "bare",
            "size": path.stat().st_size,
            "properties": {"vmware_disktype": kind, "vmware_adaptertype": adapter},
        }

    def get_location(self, *_):
        return None, None

    def download(self, _, image):
        with open(self.folder / image, "rb") as file:
            while piece := file.read(1 << 20):
                yield piece

    def update(self, _, image, metadata, data=None, **__):
        """What upload_image ends with."""
        with open(self.folder / image, "wb") as file:
            while piece := data.read(1 << 20):
                file.write(piece)


class Cinder:
    def __init__(self, options):
        wsdl = f"file://{options.wsdl}"
        # A vCenter serves its own WSDL; the simulator has none. The connector has no option for that.
        api.VMwareAPISession = functools.partial(api.VMwareAPISession, wsdl_loc=wsdl)
        # The simulator's datastores are of kinds that the driver knows, but for their names.
        datastore.DatastoreType._ALL_TYPES.update({"VMFS", "NFS", "vsan", "VVOL", "other"})
        base.Base.__init__ = lambda self, *_, **__: None
        volume_utils.notify_about_backup_usage = lambda *_, **__: None
        coordination.COORDINATOR = unittest.mock.MagicMock()
        self.types = {}
        specs = lambda type_id, key=None: self.specs(type_id, key)  # noqa: E731
        vmdk.volume_types.get_volume_type_extra_specs = specs
        settings = configuration.Configuration(vmdk.vmdk_opts, config_group="vmware")
        for name, value in {
            "vmware_host_ip": options.host,
            "vmware_host_port": options.port,
            "vmware_host_username": options.user,
            "vmware_host_password": os.environ["VSPHERE_PASSWORD"],
            "vmware_insecure": True,
            "vmware_wsdl_location": wsdl,
            "vmware_task_poll_interval": 0.02,
            "vmware_tmp_dir": str(options.folder / "temporary"),
            "vmware_lazy_create": False,
        }.items():
            cfg.CONF.set_override(name, value, group="vmware")
        cfg.CONF.set_override("backup_posix_path", str(options.folder / "repository"))
        cfg.CONF.set_override("backup_file_size", 32 << 20)
        self.images = Images(options.folder)
        self.driver = vmdk.VMwareVcVmdkDriver(configuration=settings)
        self.driver._register_extension = lambda: None
        self.driver.do_setup(None)
        self.connector = brick.VmdkConnector(None)
        self.volumes, self.snapshots, self.backups = {}, {}, {}

    def specs(self, type_id, key):
        specs = self.types.get(type_id, {})
        return specs if key is None else specs.get(key, False)

    def _type(self, specs):
        specs = {f"vmware:{name}": value for name, value in specs.items()}
        name = json.dumps(specs, sort_keys=True)
        self.types[name] = specs
        return name

    def _new(self, size, specs):
        own = str(uuid.uuid4())
        volume_type = self._type(specs)
        self.volumes[own] = Record(
            id=own,
            name="volume-" + own,
            name_id=own,
            size=size,
            project_id="project",
            volume_type_id=volume_type,
            volume_type=Record(id=volume_type, extra_specs=self.types[volume_type]),
            volume_attachment=[],
            status="available",
        )
        return self.volumes[own]

    def _backing(self, volume):
        volume = self.volumes[volume]
        return self.driver.volumeops.get_backing(volume.name, volume.id)

    def create(self, size, specs):
        volume = self._new(size, specs)
        self.driver.create_volume(volume)
        return volume.id

    def backing(self, volume):
        found = self._backing(volume)
        return found and found.value

    def extend(self, volume, size):
        self.driver.extend_volume(self.volumes[volume], size)
        self.volumes[volume].size = size

    def snapshot(self, volume, kind):
        cfg.CONF.set_override("vmware_snapshot_format", kind, group="vmware")
        volume, own = self.volumes[volume], str(uuid.uuid4())
        snapshot = Record(
            id=own,
            name="snapshot-" + own,
            volume=volume,
            volume_name=volume.name,
            volume_id=volume.id,
            volume_size=volume.size,
            display_description="of a test",
        )
        snapshot.update(self.driver.create_snapshot(snapshot) or {})
        self.snapshots[own] = snapshot
        return own

    def delete_snapshot(self, snapshot):
        self.driver.delete_snapshot(self.snapshots.pop(snapshot))

    def revert(self, volume, snapshot):
        self.driver.revert_to_snapshot(None, self.volumes[volume], self.snapshots[snapshot])

    def from_snapshot(self, snapshot, size, specs):
        volume = self._new(size, specs)
        self.driver.create_volume_from_snapshot(volume, self.snapshots[snapshot])
        return volume.id

    def clone(self, source, size, specs):
        volume = self._new(size, specs)
        self.driver.create_cloned_volume(volume, self.volumes[source])
        return volume.id

    def retype(self, volume, specs):
        volume, new = self.volumes[volume], self._type(specs)
        if not self.driver.retype(None, volume, {"id": new}, None, {"host": "here"}):
            raise RuntimeError("not retyped")
        volume.volume_type_id = new

    def delete(self, volume):
        self.driver.delete_volume(self.volumes.pop(volume))

    def unmanage(self, volume):
        self.driver.unmanage(self.volumes.pop(volume))

    def manage(self, path, size, specs):
        volume = self._new(size, specs)
        reference = {"source-name": path}
        if self.driver.manage_existing_get_size(volume, reference) != size:
            raise RuntimeError("another size")
        self.driver.manage_existing(volume, reference)
        return volume.id

    def from_image(self, image, kind, size, specs):
        (self.images.folder / f"{image}.json").write_text(json.dumps([kind, "lsiLogic"]))
        volume = self._new(size, specs)
        self.driver.copy_image_to_volume(Record(user_id="user"), volume, self.images, image)
        return volume.id

    def to_image(self, volume, image):
        volume = self.volumes[volume]
        handle = image_transfer.rw_handles.VmdkReadHandle(
            self.driver.session,
            self.driver.configuration.vmware_host_ip,
            self.driver.configuration.vmware_host_port,
            self._backing(volume.id),
            self.driver.volumeops.get_vmdk_path(self._backing(volume.id)),
            1,
        )
        self.images.update(None, image, {}, data=handle)
        handle.close()

    @contextlib.contextmanager
    def _attached(self, volume):
        properties = self.driver.initialize_connection(volume, HOST)["data"]
        device = self.connector.connect_volume(properties)
        # What is written in the tick of the clock that it was received in would count as unchanged.
        time.sleep(0.02)
        try:
            yield device["path"]
        finally:
            self.connector.disconnect_volume(properties, device)

    def _backup_driver(self, volume):
        made = posix.PosixBackupDriver(None)
        made.db = unittest.mock.Mock()
        made.db.volume_get.return_value = volume
        about = {"version": 2, backup_driver.BackupMetadataAPI.TYPE_TAG_VOL_BASE_META: {"id": volume.id}}
        made.get_metadata = lambda _: json.dumps(about)
        made.put_metadata = lambda *_: None
        return made

    def backup(self, volume):
        volume = self.volumes[volume]
        backup = Record(
            id=str(uuid.uuid4()),
            volume_id=volume.id,
            display_name="backup",
            created_at=datetime.datetime.now(),
            status="creating",
            size=volume.size,
            object_count=0,
        )
        with self._attached(volume) as path, open(path, "rb") as file:
            self._backup_driver(volume).backup(backup, file)
        self.backups[backup.id] = backup
        return backup.id

    def restore(self, backup, volume):
        volume, backup = self.volumes[volume], self.backups[backup]
        backup.status = "restoring"
        with self._attached(volume) as path, open(path, "wb") as file:
            self._backup_driver(volume).restore(backup, volume.id, file, False)
            file.close()

    def end(self):
        self.driver.session.logout()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--user", required=True)
    parser.add_argument("--wsdl", required=True)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    options = parser.parse_args()
    (options.folder / "temporary").mkdir(parents=True, exist_ok=True)
    cinder_services = Cinder(options)
    # Whatever the drivers print is no answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            answer = {"ok": getattr(cinder_services, name)(*arguments)}
        except Exception as error:  # noqa: BLE001: the caller decides
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)
    shutil.rmtree(options.folder / "temporary", ignore_errors=True)


main()
