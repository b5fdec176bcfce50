"""Measures the library beside its peers: `make bench`, or python3 benches/suite --help."""

import argparse
import os
import pathlib
import platform
import shutil
import time

import chart
import engine
import figures
import growth
import image
import paced
import relay
import whole
from measure import run

# A load that disturbs nobody, and the seconds to wait for it.
CALM = 0.3
PATIENCE = 240
# Of pages, as Linux groups them.
LARGEST_ORDER = 10

JOBS = {"engine": engine, "relay": relay, "whole": whole, "paced": paced, "growth": growth}


def setting(name, default):
    """Of the environment; the Makefile passes on what is not set as nothing."""
    return os.environ.get(name) or default


class Bench:
    """What the jobs share: programs, sizes, the number of runs, and where things are kept meanwhile."""

    def __init__(self, options):
        quick = options.quick
        self.quick = quick
        self.runs = options.runs or (1 if quick else 5)
        self.programs = options.programs
        self.parts = options.parts
        self.relay = self.programs / "relay"
        self.simulator = options.simulator
        self.python = self.programs / "venv/bin/python"
        self.round_trip = pathlib.Path(__file__).parents[1] / "peers/cinder_round_trip.py"
        self.wsdl = self.programs / "wsdl/vimService.wsdl"
        self.work = options.work
        mib = image.MIB
        # Bytes of the disks: for the engine and the relay, for whole jobs, for streams with a rate, for the growth.
        self.large = 64 * mib if quick else int(float(setting("BENCH_GIB", "2")) * image.GIB)
        self.middle = 64 * mib if quick else min(self.large, image.GIB)
        self.small = 32 * mib if quick else self.large // 4
        self.unit = 16 * mib if quick else image.GIB
        self.multiples = [1, 4] if quick else [int(word) for word in setting("BENCH_GROWTH", "1,4,16").split(",")]
        self.streams = 3 if quick else 20
        self.cores = len(os.sched_getaffinity(0))

    def image(self, size):
        """An image of that size, which stays until the end."""
        path = self.work / f"image-{size // image.MIB}"
        if not path.exists():
            print(f"== making a disk of {size // image.MIB} MiB", flush=True)
            image.make(path, size, self.work / "files")
        return path


def read_arguments():
    parser = argparse.ArgumentParser(description="Measures the library beside its peers.")
    parser.add_argument("--programs", type=pathlib.Path, required=True, help="where benches/setup.sh put the peers")
    parser.add_argument("--parts", type=pathlib.Path, required=True, help="the program of benches/parts")
    parser.add_argument("--simulator", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True, help="a folder for some 40 GB; emptied")
    parser.add_argument("--json", type=pathlib.Path, required=True)
    parser.add_argument("--chart", type=pathlib.Path, required=True)
    parser.add_argument("--runs", type=int, default=int(setting("BENCH_RUNS", "0")))
    parser.add_argument("--quick", action="store_true", default=setting("BENCH", "") == "quick")
    parser.add_argument("jobs", nargs="*", default=setting("BENCH_JOBS", " ".join(JOBS)).split())
    return parser.parse_args()


def calm():
    """The load, once that of building all this has gone; or after a while."""
    for _ in range(PATIENCE):
        if os.getloadavg()[0] <= CALM:
            break
        time.sleep(1)
    return os.getloadavg()[0]


def memory_returned():
    """Whether Linux reports free pages to a hypervisor, which takes them: each is faulted in again when it is used."""
    order = pathlib.Path("/sys/module/page_reporting/parameters/page_reporting_order")
    return order.exists() and 0 <= int(order.read_text()) <= LARGEST_ORDER


def about(bench):
    """The machine, and how it was measured: without that a figure says little."""
    processor = next(
        (line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown"
    )
    return {
        "processor": processor,
        "cores": bench.cores,
        "codec": run([bench.parts, "codec"]).text.strip().partition("=")[2],
        "kernel": platform.release(),
        "runs": bench.runs,
        "quick": bench.quick,
        "load_before": calm(),
        "memory_returned": memory_returned(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "disk_mib": bench.large // image.MIB,
    }


def main():
    options = read_arguments()
    bench = Bench(options)
    facts = about(bench)
    if facts["memory_returned"]:
        print("== this virtual machine returns free memory to its host: new memory is slow, whoever asks for it", flush=True)
    if facts["load_before"] > CALM:
        print(f"== the machine is busy (load {facts['load_before']:.1f}): these figures are none", flush=True)
    print(f"== the library compresses with {facts['codec']}", flush=True)
    if facts["codec"] != "isa-l":
        print("== the encoder's goals are those of a build with ISA-L: install nasm, autoconf, automake, libtool", flush=True)
    measured = figures.Figures()
    shutil.rmtree(bench.work, ignore_errors=True)
    bench.work.mkdir(parents=True)
    try:
        for name in options.jobs:
            began = time.monotonic()
            print(f"== {name}\n{figures.heading()}", flush=True)
            JOBS[name].measure(bench, measured)
            print(f"== {name} took {time.monotonic() - began:.0f} s", flush=True)
    finally:
        shutil.rmtree(bench.work, ignore_errors=True)
    measured.write(options.json, facts)
    options.chart.write_text(chart.draw(measured.rows, facts))
    print(f"\nmedians of {bench.runs} on {facts['cores']} cores of {facts['processor']}\n{measured.table()}")


main()
