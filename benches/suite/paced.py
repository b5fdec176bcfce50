"""Hosts and services with a rate: do the slow ones overlap, and how many streams go at once?"""

import statistics

import relay
from measure import compare, median, run
from vcenter import Site

SLOW = 30_000_000
STREAM = 25_000_000


def measure(bench, figures):
    source = bench.image(bench.small)
    names = [f"disk-{number}" for number in range(bench.streams)]
    with Site(bench.simulator, bench.work / "site", {name: source for name in names}) as site:

        def backup(service_rate, *volumes):
            """Into a service that keeps nothing, so that no disk of this machine has a part in it."""
            named = [f"{volume}={site.fresh('backup')}" for volume in volumes]
            return run([bench.relay, "backup", "full", "-", service_rate, *named], site.environment)

        def paced(rate, service_rate, *volumes):
            with site.paced(rate):
                return backup(service_rate, *volumes)

        backup(0, *names)
        parts = relay.parts_alone(bench, site, names[0])
        slow(bench, figures, paced, names[0])
        # All of them together take two cores for the library alone: the host that sends finds none. Fewer leave it some.
        for share in (0.8, 1):
            many(bench, figures, site, paced, parts, names[: max(1, round(share * len(names)))])


def slow(bench, figures, paced, volume):
    host, service, both = compare(
        bench.runs,
        lambda: paced(SLOW, 0, volume),
        lambda: paced(0, SLOW, volume),
        lambda: paced(SLOW, SLOW, volume),
    )
    slower = max(median(host, "wall"), median(service, "wall"))
    rate = f"{SLOW // 10**6} MB/s"
    figures.add(f"slow host and slow service, {rate} each: wall / the slower alone", "s", median(both, "wall"), slower, 1.05)


def rates(cost):
    """MB/s of each stream, from the operation's beginning to its end."""
    jobs = [line.split() for line in cost.text.splitlines() if line.startswith("job=")]
    return [float(size) / float(seconds) / 1e6 for _, seconds, size in jobs]


def many(bench, figures, site, paced, parts, volumes):
    hosts = []

    def all_at_once():
        before = site.cpu()
        cost = paced(STREAM, 0, *volumes)
        hosts.append(site.cpu() - before)
        return cost

    alone, together, *costs = compare(bench.runs, lambda: paced(STREAM, 0, volumes[0]), all_at_once, *parts.values())
    slowest = sorted(min(rates(cost)) for cost in together)[bench.runs // 2]
    one = sorted(min(rates(cost)) for cost in alone)[bench.runs // 2]
    name = f"{len(volumes)} verified streams at {STREAM // 10**6} MB/s each"
    figures.add(f"{name}: the slowest / one alone", "MB/s", slowest, one, 0.95, least=True)
    moved = sum(float(line.split()[2]) for line in together[0].text.splitlines() if line.startswith("job="))
    # What the parts cost alone for as many bytes of the stream, in the same run on the same machine.
    size = float(together[0].text.split("job=", 1)[1].splitlines()[0].split()[2])
    needed = sum(median(cost, "part_cpu") for cost in costs) * moved / size
    figures.add(f"{name}: CPU / {relay.UNKEPT_NAME} alone", "s", median(together, "cpu"), needed, 1.05)
    shares = moved / 250e6
    seconds = median(together, "cpu") / shares
    # What the cores have for as much, while all streams keep their rate.
    most = bench.cores * 250e6 / (len(volumes) * STREAM)
    both = seconds + statistics.median(hosts) / shares
    figures.add(f"{name}: CPU of library and host for 250 MB / what there is", "s", both, most)
