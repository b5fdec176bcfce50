"""The interpreter exits while a backup runs on another thread.

usage: exiting.py daemon | thread: main returns at once, or waits until it is interrupted."""

import os
import sys
import threading

import vmdk_backup

begun = threading.Event()


class Service:
    """Keeps nothing."""

    def create(self, *_):
        return self

    def write(self, _):
        pass

    def abort(self):
        print("aborted", flush=True)


def progress(phase, _done, _total):
    if phase == "transfer":
        begun.set()


def back_up(client):
    try:
        client.backup(Service(), "b1", progress, name="volume-1")
    except vmdk_backup.Error as error:
        print(error.status_name, flush=True)


client = vmdk_backup.Client(os.environ["VSPHERE_SERVER"], os.environ["VSPHERE_USER"],
                            os.environ["VSPHERE_PASSWORD"], ca_file=os.environ["VSPHERE_CA_FILE"])
thread = threading.Thread(target=back_up, args=(client,), daemon=sys.argv[1] == "daemon")
thread.start()
begun.wait()
if not thread.daemon:
    thread.join()
