"""A disk to measure with: an ext4 file system of programs, text, logs, a database and random bytes, and holes."""

import itertools
import os
import random
import shutil
import sqlite3
import subprocess

MIB = 1 << 20
GIB = 1 << 30
# How much of the disk has files, and of what kind.
FILLED = 0.6
SHARES = {"programs": 0.40, "text": 0.25, "logs": 0.10, "database": 0.10, "random": 0.15}
PROGRAMS = ("/usr/bin", "/usr/lib")
TEXT = ("/usr/share", "/usr/include")
LARGEST = 20 * MIB
# Zeros that become a hole.
BLOCK = 64 << 10


def make(path, size, folder):
    """Makes the image at `path`, with `folder` for what is only needed meanwhile."""
    folder.mkdir(parents=True)
    room = {kind: int(size * FILLED * share) for kind, share in SHARES.items()}
    copy_files(folder / "programs", PROGRAMS, room["programs"])
    copy_files(folder / "text", TEXT, room["text"])
    write_log(folder / "log", room["logs"])
    write_database(folder / "database", room["database"])
    write_random(folder / "random", room["random"])
    partial = path.with_suffix(".part")
    subprocess.run(
        ["mkfs.ext4", "-q", "-F", "-d", folder, "-E", "root_owner=0:0", partial, f"{size // 1024}k"], check=True
    )
    shutil.rmtree(folder)
    partial.rename(path)


def files_below(roots):
    for root in roots:
        for folder, names, files in os.walk(root):
            names.sort()
            for name in sorted(files):
                path = os.path.join(folder, name)
                if os.path.isfile(path) and not os.path.islink(path) and os.access(path, os.R_OK):
                    yield path


def copy_files(folder, roots, room):
    """Files of this machine, more than once where there are not enough."""
    folder.mkdir()
    for number, path in enumerate(itertools.cycle(list(files_below(roots)))):
        length = os.path.getsize(path)
        if length > LARGEST:
            continue
        if length > room:
            return
        room -= length
        shutil.copyfile(path, folder / str(number))


def write_log(path, room):
    with path.open("w") as log:
        for number in itertools.count():
            if log.tell() >= room:
                return
            for entry in range(number * 1000, number * 1000 + 1000):
                log.write(
                    f"2026-11-{1 + entry // 86400 % 28:02}T{entry // 3600 % 24:02}:{entry // 60 % 60:02}:{entry % 60:02}Z"
                    f" host{entry % 7} app[{entry % 997}]: request {entry} took {entry * 7919 % 1000} ms,"
                    f" status {200 if entry % 13 else 503}, {entry * 104729 % 65536} bytes\n"
                )


def write_database(path, room):
    """Rows as an application has them: numbers, names and some bytes that look like nothing."""
    numbers = random.Random(1)
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT, amount REAL, token BLOB)")
    database.execute("CREATE INDEX by_customer ON orders (customer)")
    while path.stat().st_size < room:
        rows = (
            (f"customer-{numbers.randrange(100_000)}", numbers.random() * 1000, numbers.randbytes(32))
            for _ in range(20_000)
        )
        database.executemany("INSERT INTO orders (customer, amount, token) VALUES (?, ?, ?)", rows)
        database.commit()
    database.close()


def write_random(path, room):
    numbers = random.Random(2)
    with path.open("wb") as file:
        while file.tell() < room:
            file.write(numbers.randbytes(min(MIB, room - file.tell())))


def repeat(path, source, times):
    """The source, some times over, with its holes."""
    length = source.stat().st_size
    for number in range(times):
        place = [f"seek={number * length // BLOCK}", f"bs={BLOCK}", "conv=notrunc,sparse", "status=none"]
        subprocess.run(["dd", f"if={source}", f"of={path}", *place], check=True)
    with path.open("r+b") as file:
        file.truncate(times * length)
