"""The figures that have a goal, as a picture: how far each is on the way to its bound."""

import html
import math

ROW, TOP, NAMES, BARS, MARGIN = 22, 60, 560, 320, 130
# A bar ends at twice the goal, and begins at a hundredth of it.
LEAST, MOST = 0.01, 2.0
# Shares that have a line of their own.
MARKS = {0.01: "1/100", 0.1: "1/10", 1: "goal"}
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.paper { fill: #ffffff }
.title { font-weight: 600; font-size: 15px }
.quiet { fill: #59636e; font-size: 12px }
.holds { fill: #1a7f37 }
.missed { fill: #d1242f }
.mark { stroke: #59636e; stroke-width: 0.5 }
.goal { stroke: #1f2328; stroke-width: 1.5; stroke-dasharray: 3 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } .paper { fill: #0d1117 } .quiet { fill: #9198a1 } .holds { fill: #3fb950 } .missed { fill: #f85149 } .goal { stroke: #f0f6fc }
}
"""


def length(share):
    """Of a bar, for a share of what is permitted; each step is a factor."""
    bounded = min(max(share, LEAST), MOST)
    return BARS * math.log(bounded / LEAST) / math.log(MOST / LEAST)


def text(x, y, words, style="", anchor="start"):
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{style}" text-anchor="{anchor}">{html.escape(words)}</text>'


def draw(rows, about):
    rows = [row for row in rows if row["holds"] is not None]
    width, height = NAMES + BARS + MARGIN, TOP + ROW * len(rows) + 28
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">',
        f"<style>{STYLE}</style>",
        f'<rect width="{width}" height="{height}" class="paper"/>',
        text(8, 22, "What is needed, as a share of what the goal allows: shorter is better, on a logarithmic scale", "title"),
        text(8, 42, f"medians of {about['runs']}, {about['cores']} cores, {about['processor']}, {about['date']}", "quiet"),
    ]
    for number, row in enumerate(rows):
        y = TOP + ROW * number
        # Where at least a ratio is wanted, the share is the other way round.
        share = row["ratio"] / row["goal"]
        share = share if (share <= 1) == row["holds"] else 1 / share
        style = "holds" if row["holds"] else "missed"
        lines += [
            text(NAMES - 10, y + 15, row["name"], anchor="end"),
            f'<rect x="{NAMES}" y="{y + 4}" width="{max(length(share), 1):.1f}" height="{ROW - 8}" rx="2" class="{style}"/>',
            text(width - 8, y + 15, f"{row['ratio']:.3f}, goal {row['goal']:.3g}", "quiet", "end"),
        ]
    for share, name in MARKS.items():
        x = NAMES + length(share)
        style = "goal" if share == 1 else "mark"
        lines += [
            text(x, TOP - 4, name, "quiet", "middle"),
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{TOP + ROW * len(rows)}" class="{style}"/>',
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"
