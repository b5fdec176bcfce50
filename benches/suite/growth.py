"""How time and memory grow with the data, and with the emptiness around it."""

import shutil

import image
from measure import compare, median, run
from vcenter import Site

# Bytes above an idle client.
MOST_MEMORY = 32 << 20
TIB = 1 << 40
CAPACITIES = {"1 GiB": 1 << 30, "64 GiB": 64 << 30, "1 TiB": TIB, "8 TiB": 8 * TIB}


def measure(bench, figures):
    unit = bench.work / "unit"
    bench.image(bench.unit).rename(unit)
    volumes, folder = {}, bench.work
    for name, capacity in CAPACITIES.items():
        volumes[f"in-{name.replace(' ', '-')}"] = made(folder, unit, 1, capacity)
    for multiple in bench.multiples:
        if multiple > 1:
            volumes[f"times-{multiple}"] = made(folder, unit, multiple, multiple * bench.unit)
    with Site(bench.simulator, bench.work / "site", volumes) as site:
        for path in volumes.values():
            path.unlink()
        idle = compare(bench.runs, lambda: run([bench.relay, "idle"], site.environment))[0]
        costs = {volume: round_trips(bench, site, volume) for volume in volumes}
        tell(bench, figures, median(idle, "peak_kib"), costs)
    unit.unlink()


def made(folder, unit, multiple, capacity):
    """The unit, some times over, in a disk of that capacity."""
    path = folder / f"growth-{multiple}-{capacity}"
    image.repeat(path, unit, multiple)
    if capacity > path.stat().st_size:
        with path.open("r+b") as disk:
            disk.truncate(capacity)
    return path


def round_trips(bench, site, volume):
    """The costs of backups and of restores; each backup is of a disk that the simulator has encoded before."""
    costs = {"backup": [], "restore": []}
    for _ in range(bench.runs):
        run([bench.parts, "receive", volume], site.environment)
        name = site.fresh("backup")
        for job, costs_of_job in costs.items():
            command = [bench.relay, job, "full", site.backups, "0", f"{volume}={name}"]
            costs_of_job.append(run(command, site.environment))
        shutil.rmtree(site.backups / name)
    return costs


def tell(bench, figures, idle, costs):
    unit = f"{bench.unit >> 20} MiB"
    for job in ("backup", "restore"):
        least, *larger = CAPACITIES
        first = costs[f"in-{least.replace(' ', '-')}"][job]
        for name, capacity in CAPACITIES.items():
            measured = costs[f"in-{name.replace(' ', '-')}"][job]
            above = (median(measured, "peak_kib") - idle) / 1024
            figures.add(f"{job}, {unit} in {name}: memory above idle / 32 MiB", "MiB", above, MOST_MEMORY / (1 << 20), 1.0)
            if name in larger:
                bound = 1.1 * median(first, "wall") + capacity / TIB
                figures.add(
                    f"{job}, {unit} in {name}: wall / 1.1 x in {least} + 1 s/TiB", "s", median(measured, "wall"), bound, 1.0
                )
        for multiple in bench.multiples:
            if multiple == 1:
                continue
            measured = costs[f"times-{multiple}"][job]
            wall, linear = median(measured, "wall"), multiple * median(first, "wall")
            figures.add(f"{job}, {multiple} x {unit}: wall / {multiple} x that of one", "s", wall, linear, 1.1)
            above, of_one = ((median(some, "peak_kib") - idle) / 1024 for some in (measured, first))
            figures.add(f"{job}, {multiple} x {unit}: memory above idle / that of one", "MiB", above, of_one)
