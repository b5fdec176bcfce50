"""The simulated vCenter, with the volumes to be measured on."""

import contextlib
import os
import shutil
import ssl
import subprocess
import time
import urllib.parse
import urllib.request

PASSWORD = "bench-password"


class Site:
    """Runs while it is a context; exports are encoded once and kept, so that the simulator is not what is measured."""

    def __init__(self, simulator, folder, volumes):
        self.folder = folder
        command = [simulator, "--dir", folder / "sim", "--ready-file", folder / "ready", "--keep-exports", "--until-stdin-closes"]
        for name, source in volumes.items():
            command += ["--volume", f"{name}={source}"]
        self.command = [str(word) for word in command]

    def __enter__(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "sim").mkdir(parents=True)
        (self.folder / "backups").mkdir()
        self.program = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "VSPHERE_SIM_PASSWORD": PASSWORD},
        )
        while not (self.folder / "ready").exists():
            if self.program.poll() is not None:
                raise RuntimeError("the simulator does not start")
            time.sleep(0.05)
        told = dict(line.split("=", 1) for line in (self.folder / "ready").read_text().splitlines())
        self.url = told["url"]
        self.environment = {
            "VSPHERE_SERVER": told["url"],
            "VSPHERE_USER": told["user"],
            "VSPHERE_PASSWORD": PASSWORD,
            "VSPHERE_CA_FILE": told["ca"],
        }
        self.backups = self.folder / "backups"
        self.count = 0
        return self

    def __exit__(self, *_):
        self.program.stdin.close()
        self.program.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def port(self):
        return urllib.parse.urlsplit(self.url).port

    def ask(self, path, **query):
        """Looks in on the simulator, past the library."""
        trust = ssl.create_default_context(cafile=self.environment["VSPHERE_CA_FILE"])
        url = f"{self.url}/sim/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, context=trust) as answer:
            return answer.read().decode()

    def cpu(self):
        """Processor seconds of the simulator so far."""
        fields = open(f"/proc/{self.program.pid}/stat").read().rsplit(")", 1)[1].split()
        return sum(int(ticks) for ticks in fields[11:13]) / os.sysconf("SC_CLK_TCK")

    def fresh(self, word):
        """A name that was not there before."""
        self.count += 1
        return f"{word}-{self.count}"

    @contextlib.contextmanager
    def paced(self, rate):
        """Exports are sent at `rate` bytes a second meanwhile."""
        self.ask("rate", export=rate)
        try:
            yield
        finally:
            self.ask("rate", export=0)

    @contextlib.contextmanager
    def lease(self, parts, volume):
        """A lease on a volume, for programs that only download: the URL and the cookie."""
        holder = subprocess.Popen(
            [parts, "lease", volume],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.environment},
        )
        told = dict(line.rstrip("\n").split("=", 1) for line in iter(holder.stdout.readline, "\n"))
        try:
            yield told["url"], told["cookie"]
        finally:
            holder.stdin.close()
            holder.wait()
            holder.stdout.close()
