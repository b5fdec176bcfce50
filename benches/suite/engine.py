"""The format engine, file to file, beside qemu-img and vmdkstream."""

import pathlib
import subprocess
import sys

from measure import compare, median, run

# vmdkstream takes a second for 50 MB: it gets a smaller disk.
VMDKSTREAM = "/usr/lib/python3/dist-packages/VMDKstream.py"


def measure(bench, figures):
    raw, work = bench.image(bench.large), bench.work
    ours, theirs = work / "ours.vmdk", work / "qemu.vmdk"

    def fresh(command, *outputs):
        """Runs it with nothing in the place of its output."""

        def job():
            for output in outputs:
                output.unlink(missing_ok=True)
            return run(command)

        return job

    to_vmdk = ["qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized"]
    harder = {level: work / f"{level}.vmdk" for level in ("balanced", "small")}
    encoded, peer, *others_encoded = compare(
        bench.runs,
        fresh([bench.parts, "encode", "fast", raw, ours], ours),
        fresh([*to_vmdk, raw, theirs], theirs),
        *(fresh([bench.parts, "encode", level, raw, path], path) for level, path in harder.items()),
    )
    ratio(figures, "raw -> streamOptimized", "qemu-img convert", encoded, peer, wall=1 / 20, cpu=1 / 10)
    size(figures, "raw -> streamOptimized", ours, theirs, 1.06)
    for (level, path), costs in zip(harder.items(), others_encoded):
        ratio(figures, f"raw -> streamOptimized, {level}", "qemu-img convert", costs, peer)
        size(figures, f"raw -> streamOptimized, {level}", path, theirs)
        path.unlink()
    subprocess.run(["qemu-img", "compare", "-q", "-f", "vmdk", "-F", "raw", ours, raw], check=True)

    memory(figures, "raw -> streamOptimized", encoded)

    decoded_raw, peer_raw = work / "ours.raw", work / "qemu.raw"
    decoded, full, structure, peer_decoded = compare(
        bench.runs,
        fresh([bench.parts, "decode", theirs, decoded_raw], decoded_raw),
        fresh([bench.parts, "check", "full", theirs]),
        fresh([bench.parts, "check", "structure", theirs]),
        fresh(["qemu-img", "convert", "-f", "vmdk", "-O", "raw", theirs, peer_raw], peer_raw),
    )
    ratio(figures, "streamOptimized -> raw", "qemu-img convert", decoded, peer_decoded, wall=1 / 4, cpu=0.4)
    memory(figures, "streamOptimized -> raw", decoded)
    ratio(figures, "check of every block", "qemu-img convert to raw", full, peer_decoded)
    ratio(figures, "check of the structure", "qemu-img convert to raw", structure, peer_decoded)
    subprocess.run(["cmp", raw, decoded_raw], check=True)
    for path in (decoded_raw, peer_raw):
        path.unlink()
    others(bench, figures, fresh, raw, theirs, peer, peer_decoded)

    limits(bench, figures, theirs, encoded, decoded)
    if pathlib.Path(VMDKSTREAM).exists():
        vmdkstream(bench, figures, fresh)
    for path in (ours, theirs):
        path.unlink()


def others(bench, figures, fresh, raw, vmdk, peer, peer_decoded):
    """The C call, which waits until all is on stable storage where qemu-img does not; and rewriting without compression."""
    convert = bench.programs / "convert"
    stream, decoded, copy = bench.work / "call.vmdk", bench.work / "call.raw", bench.work / "copy.vmdk"
    to_stream, to_raw, normal, copied = compare(
        bench.runs,
        fresh([convert, "stream", raw, stream], stream),
        fresh([convert, "raw", vmdk, decoded], decoded),
        fresh([bench.parts, "normalize", vmdk, copy], copy),
        fresh(["cp", vmdk, copy], copy),
    )
    ratio(figures, "vmdk_convert, raw -> streamOptimized, synced", "qemu-img convert, not synced", to_stream, peer)
    ratio(figures, "vmdk_convert, streamOptimized -> raw, synced", "qemu-img convert, not synced", to_raw, peer_decoded)
    ratio(figures, "normalize qemu-img's stream", "cp", normal, copied)
    for path in (stream, decoded, copy):
        path.unlink()


def memory(figures, job, costs):
    figures.add(f"{job}: memory / 32 MiB", "MiB", median(costs, "peak_kib") / 1024, 32, 1.0)


def size(figures, job, ours, theirs, goal=None):
    ours, theirs = (path.stat().st_size / 1e6 for path in (ours, theirs))
    figures.add(f"{job}: size / qemu-img convert", "MB", ours, theirs, goal)


def ratio(figures, job, peer_name, ours, peer, wall=None, cpu=None):
    figures.add(f"{job}: wall / {peer_name}", "s", median(ours, "wall"), median(peer, "wall"), wall)
    figures.add(f"{job}: CPU / {peer_name}", "s", median(ours, "cpu"), median(peer, "cpu"), cpu)


def limits(bench, figures, vmdk, encoded, decoded):
    """How near the whole comes to the slowest part of it on all cores."""
    deflate, inflate = compare(
        bench.runs,
        lambda: run([bench.parts, "deflate", vmdk]),
        lambda: run([bench.parts, "inflate", vmdk]),
    )
    for job, costs, part in (
        ("raw -> streamOptimized", encoded, ("deflate", deflate)),
        ("streamOptimized -> raw", decoded, ("inflate", inflate)),
    ):
        name, alone = part
        limit = median(alone, "part_cpu") / bench.cores
        figures.add(f"{job}: wall / {name} alone on {bench.cores} cores", "s", median(costs, "wall"), limit)


def vmdkstream(bench, figures, fresh):
    raw = bench.image(bench.small)
    ours, theirs = bench.work / "small.vmdk", bench.work / "vmdkstream.vmdk"
    encoded, peer = compare(
        bench.runs,
        fresh([bench.parts, "encode", "fast", raw, ours], ours),
        fresh([sys.executable, VMDKSTREAM, raw, theirs], theirs),
    )
    ratio(figures, f"raw -> streamOptimized, {bench.small >> 20} MiB", "vmdkstream", encoded, peer)
    for path in (ours, theirs):
        path.unlink()
