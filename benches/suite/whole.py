"""Whole jobs, beside cinder with os-brick, oslo.vmware and its defaults, against one simulator."""

import json
import shutil

from measure import compare, median, run
from vcenter import Site

UUID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
CINDERS = f"volume-{UUID}"


class Job:
    """A cost of cinder's, as it told it; waiting for its imports and its log-in is no part of it."""

    def __init__(self, times):
        self.wall = sum(times[step] for step in ("connect", "work", "disconnect"))
        self.cpu = times["cpu"]


def measure(bench, figures):
    source = bench.image(bench.middle)
    volumes = {"ours": source, CINDERS: f"{source},uuid={UUID}"}
    with Site(bench.simulator, bench.work / "site", volumes) as site:
        digest = site.ask("sha256", vm="ours")
        backups, restores, cinders = [], [], []

        def warm(volume):
            """A restored disk is a new one: the simulator encodes it now, not while somebody's job is measured."""
            run([bench.parts, "receive", volume], site.environment)
            if site.ask("sha256", vm=volume) != digest:
                raise RuntimeError(f"{volume} is not what it was")

        def ours():
            warm("ours")
            name = site.fresh("backup")
            for job, costs in (("backup", backups), ("restore", restores)):
                costs.append(run([bench.relay, job, "full", site.backups, "0", f"ours={name}"], site.environment))
            shutil.rmtree(site.backups / name)

        def cinder():
            warm(CINDERS)
            told = run(
                [bench.python, "-B", bench.round_trip, "--port", site.port, "--volume", UUID, "--size", bench.middle]
                + ["--wsdl", bench.wsdl, "--folder", site.folder / "cinder"],
                site.environment,
            )
            cinders.append({job: Job(times) for job, times in json.loads(told.text).items()})

        compare(bench.runs, ours, cinder)
        warm("ours")
        warm(CINDERS)
    for job, costs, goal in (("backup", backups, 1 / 10), ("restore", restores, 1 / 8)):
        peer = [costs_of_run[job] for costs_of_run in cinders]
        name = f"{job}, whole job, {bench.middle >> 20} MiB"
        figures.add(f"{name}: wall / cinder 29, os-brick", "s", median(costs, "wall"), median(peer, "wall"), goal)
        figures.add(f"{name}: CPU / cinder 29, os-brick", "s", median(costs, "cpu"), median(peer, "cpu"))
