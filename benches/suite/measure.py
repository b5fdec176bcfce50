"""What a program costs: seconds, processor seconds, and what it tells itself.

The peak of memory is told by the programs: wait4's begins with that of the process that started them."""

import os
import statistics
import subprocess
import time


class Cost:
    """One run's; `text` is what the program printed."""

    def __init__(self, wall, cpu, text):
        self.wall, self.cpu, self.text = wall, cpu, text

    def told(self, name):
        """The number that the program printed as `name=number`."""
        for line in self.text.splitlines():
            key, _, value = line.partition("=")
            if key == name:
                return float(value)
        raise LookupError(f"no {name}= in {self.text!r}")


def run(command, environment=None):
    """Runs a program to its end; one that fails ends the measurement."""
    began = time.monotonic()
    program = subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    text = program.stdout.read()
    _, status, usage = os.wait4(program.pid, 0)
    wall = time.monotonic() - began
    program.returncode = os.waitstatus_to_exitcode(status)
    program.stdout.close()
    if program.returncode != 0:
        raise RuntimeError(f"{command} ended with {program.returncode}: {text}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, text)


def compare(runs, *jobs):
    """Does the jobs in turn, so that whatever else the machine does meets all of them; the costs of each."""
    costs = [[] for _ in jobs]
    for _ in range(runs):
        for job, costs_of_it in zip(jobs, costs):
            # What the run before has written is not to be written during this one.
            os.sync()
            costs_of_it.append(job())
    return costs


def median(costs, what):
    """The median of wall or cpu, or of a number that the programs printed."""
    if what in ("wall", "cpu"):
        return statistics.median(getattr(cost, what) for cost in costs)
    return statistics.median(cost.told(what) for cost in costs)
