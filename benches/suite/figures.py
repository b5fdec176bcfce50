"""The figures that are measured, and what they are held against."""

import json


class Figures:
    def __init__(self):
        self.rows = []

    def add(self, name, unit, ours, peer, goal=None, least=False):
        """Adds a figure. `goal` bounds the ratio of ours to the peer's: from above, or from below where `least`."""
        ratio = ours / peer if peer else None
        holds = None if goal is None or ratio is None else (ratio >= goal if least else ratio <= goal)
        self.rows.append(
            {"name": name, "unit": unit, "ours": ours, "peer": peer, "ratio": ratio, "goal": goal, "holds": holds}
        )
        print(line(self.rows[-1]), flush=True)

    def write(self, path, about):
        path.write_text(json.dumps({"about": about, "figures": self.rows}, indent=2) + "\n")

    def table(self):
        return "\n".join([heading(), *map(line, self.rows)])


def number(value):
    if value is None:
        return ""
    if value and abs(value) < 0.1:
        return f"{value:.4f}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def heading():
    return f"{'figure':<74} {'unit':<6} {'ours':>9} {'peer':>9} {'ratio':>8} {'goal':>8}"


def line(row):
    verdict = {True: "  holds", False: "  MISSED", None: ""}[row["holds"]]
    return (
        f"{row['name']:<74} {row['unit']:<6} {number(row['ours']):>9} {number(row['peer']):>9}"
        f" {number(row['ratio']):>8} {number(row['goal']):>8}{verdict}"
    )
