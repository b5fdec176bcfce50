"""How time and memory grow with the data, and with the emptiness around it."""

import shutil

import image
from measure import compare, median, run
from vcenter import Site

# Bytes above an idle client.
MOST_MEMORY = 32 << 20
TIB = 1 << 40
# Disk, stream, backup and restored disk of each byte of data.
ROOM = 2.2
CAPACITIES = {"1 GiB": 1 << 30, "64 GiB": 64 << 30, "1 TiB": TIB, "8 TiB": 8 * TIB}


def measure(bench, figures):
    unit = bench.image(bench.unit)
    disks = {name: (1, capacity) for name, capacity in CAPACITIES.items()}
    disks |= {multiple: (multiple, multiple * bench.unit) for multiple in bench.multiples if multiple > 1}
    # One after the other, since they take room.
    costs = {}
    for name, (multiple, capacity) in disks.items():
        if multiple > 1 and shutil.disk_usage(bench.work).free < ROOM * multiple * bench.unit:
            print(f"{multiple} x {bench.unit >> 20} MiB: left out, there is no room for it", flush=True)
            bench.multiples.remove(multiple)
            continue
        source = made(bench.work, unit, multiple, capacity)
        with Site(bench.simulator, bench.work / "site", {"disk": source}) as site:
            source.unlink()
            costs[name] = round_trips(bench, site)
    tell(bench, figures, costs)


def made(folder, unit, multiple, capacity):
    """The unit, some times over, in a disk of that capacity."""
    path = folder / f"growth-{multiple}-{capacity}"
    image.repeat(path, unit, multiple)
    if capacity > path.stat().st_size:
        with path.open("r+b") as disk:
            disk.truncate(capacity)
    return path


def round_trips(bench, site):
    """What it costs to connect, to back the disk up, and to restore it as another one."""
    # The simulator encodes the disk once; from here on it only sends.
    run([bench.parts, "receive", "disk"], site.environment)

    def job(*words):
        return run([bench.relay, *words], site.environment)

    costs = {"idle": [], "backup": [], "restore": []}
    for number in range(bench.runs):
        idle, backup, restore = compare(
            1,
            lambda: job("idle"),
            lambda: job("backup", "full", site.backups, "0", f"disk={number}"),
            lambda: job("restore", "full", site.backups, "0", f"copy={number}"),
        )
        for name, cost in zip(costs, (idle, backup, restore)):
            costs[name] += cost
        shutil.rmtree(site.backups / str(number))
        site.ask("destroy", vm="copy")
    return costs


def tell(bench, figures, costs):
    unit = f"{bench.unit >> 20} MiB"
    least, *larger = CAPACITIES
    idle = median(costs[least]["idle"], "peak_kib")
    for job in ("backup", "restore"):
        wall = {name: median(costs_of_jobs[job], "wall") for name, costs_of_jobs in costs.items()}
        memory = {name: (median(costs_of_jobs[job], "peak_kib") - idle) / 1024 for name, costs_of_jobs in costs.items()}
        for name in CAPACITIES:
            disk = f"{job}, {unit} in {name}"
            figures.add(f"{disk}: memory above idle / 32 MiB", "MiB", memory[name], MOST_MEMORY / (1 << 20), 1.0)
        largest = larger[-1]
        figures.add(f"{job}, {unit} in {largest}: memory above idle / in {least}", "MiB", memory[largest], memory[least])
        for name in larger:
            disk, bound = f"{job}, {unit} in {name}", 1.1 * wall[least] + CAPACITIES[name] / TIB
            figures.add(f"{disk}: wall / 1.1 x in {least} + 1 s/TiB", "s", wall[name], bound, 1.0)
        for multiple in bench.multiples:
            if multiple == 1:
                continue
            disk = f"{job}, {multiple} x {unit}"
            figures.add(f"{disk}: wall / {multiple} x that of one", "s", wall[multiple], multiple * wall[least], 1.1)
            figures.add(f"{disk}: memory above idle / 32 MiB", "MiB", memory[multiple], MOST_MEMORY / (1 << 20), 1.0)
