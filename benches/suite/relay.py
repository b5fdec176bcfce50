"""A backup to a directory: what it costs, beside its parts alone and beside curl."""

import shutil

from measure import compare, median, run
from vcenter import Site

# What a verified backup consists of: where the stream goes, and what is computed of it.
NEEDED = ("receive", "sha256", "inflate", "write")
ALSO = ("content",)
# Of a backup to a service that keeps nothing.
UNKEPT = ("receive", "sha256", "inflate", "content")
UNKEPT_NAME = "TLS + SHA-256 + inflate + digest of contents"


def measure(bench, figures):
    with Site(bench.simulator, bench.work / "site", {"disk": bench.image(bench.large)}) as site:
        relay(bench, figures, site)


def backup(bench, site, level):
    """A backup that is removed afterwards; a stream of it stays as `stream.vmdk`."""
    name = site.fresh(level)
    cost = run([bench.relay, "backup", level, site.backups, "0", f"disk={name}"], site.environment)
    (site.backups / name / "disk.vmdk").replace(site.folder / "stream.vmdk")
    shutil.rmtree(site.backups / name)
    return cost


def download(bench, site):
    """curl's, of the same bytes to the same directory."""
    with site.lease(bench.parts, "disk") as (url, cookie):
        target = site.backups / "curl"
        cost = run(["curl", "--silent", "--show-error", "--fail", "--insecure", "--cookie", cookie, "--output", target, url])
        target.unlink()
        return cost


def parts_alone(bench, site, volume):
    """Each part of a verified backup of a volume to a service that keeps nothing, alone; on a stream of it."""
    name = site.fresh("parts")
    run([bench.relay, "backup", "digest", site.backups, "0", f"{volume}={name}"], site.environment)
    stream = site.folder / "parts.vmdk"
    (site.backups / name / "disk.vmdk").replace(stream)
    return {
        "receive": lambda: run([bench.parts, "receive", volume], site.environment),
        **{part: lambda part=part: run([bench.parts, part, stream]) for part in UNKEPT[1:]},
    }


def relay(bench, figures, site):
    # The simulator encodes the disk once; from here on it only sends.
    backup(bench, site, "digest")
    stream = site.folder / "stream.vmdk"
    size = stream.stat().st_size
    written = site.backups / "written"
    alone = {
        "receive": lambda: run([bench.parts, "receive", "disk"], site.environment),
        "write": lambda: run([bench.parts, "write", stream, written]),
        **{part: lambda part=part: run([bench.parts, part, stream]) for part in ("sha256", "content", "inflate", "deflate")},
    }
    full, structure, curl, *parts = compare(
        bench.runs,
        lambda: backup(bench, site, "full"),
        lambda: backup(bench, site, "structure"),
        lambda: download(bench, site),
        *alone.values(),
    )
    # What the programs told of their one part, without their start.
    cost = {part: median(costs, "part_cpu") for part, costs in zip(alone, parts)}
    verified, name = median(full, "cpu"), "backup, verified, to a directory"
    needed = sum(cost[part] for part in NEEDED)
    everything = needed + sum(cost[part] for part in ALSO)
    figures.add(f"{name}: CPU / TLS + SHA-256 + inflate + write alone", "s", verified, needed, 1.10)
    figures.add(f"{name}: CPU / these and digest of contents alone", "s", verified, everything)
    limit = everything / bench.cores
    figures.add(f"{name}: wall / all parts alone on {bench.cores} cores", "s", median(full, "wall"), limit)
    curl_and_hash = median(curl, "cpu") + cost["sha256"]
    figures.add("backup, structure only: CPU / curl + SHA-256 alone", "s", median(structure, "cpu"), curl_and_hash, 1.15)
    figures.add("backup, structure only: wall / curl", "s", median(structure, "wall"), median(curl, "wall"))
    for part, costs in zip(alone, parts):
        processed = costs[0].told("bytes")
        figures.add(f"{part} alone, of {processed / 1e6:.0f} MB", "MB/s", processed / 1e6 / cost[part], None)
    figures.add("the stream", "MB", size / 1e6, None)
