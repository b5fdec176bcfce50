"""python3 -m unittest discover benches/suite"""

import pathlib
import sys
import tempfile
import unittest
import xml.etree.ElementTree

import chart
import figures
import image
import measure

ABOUT = {"runs": 5, "cores": 2, "processor": "a <processor> & more", "date": "2026-11-23"}


class FiguresTest(unittest.TestCase):
    def setUp(self):
        self.figures = figures.Figures()

    def add(self, *arguments, **options):
        self.figures.add("a job", "s", *arguments, **options)
        return self.figures.rows[-1]

    def test_a_ratio_within_its_goal_holds(self):
        self.assertIs(self.add(1, 10, 0.1)["holds"], True)
        self.assertIs(self.add(1.01, 10, 0.1)["holds"], False)

    def test_where_at_least_a_ratio_is_wanted_a_smaller_one_misses(self):
        self.assertIs(self.add(9.5, 10, 0.95, least=True)["holds"], True)
        self.assertIs(self.add(9.4, 10, 0.95, least=True)["holds"], False)

    def test_without_a_goal_or_a_peer_nothing_holds_or_misses(self):
        self.assertIsNone(self.add(1, 10)["holds"])
        self.assertIsNone(self.add(1, None)["ratio"])

    def test_the_chart_has_a_bar_for_each_goal_and_those_that_miss_end_behind_it(self):
        for ours, options in ((1, {}), (11, {}), (9.5, {"least": True}), (8, {"least": True})):
            self.add(ours, 10, 0.9, **options)
        self.add(1, 10)
        drawn = xml.etree.ElementTree.fromstring(chart.draw(self.figures.rows, ABOUT))
        bars = [bar for bar in drawn.iter("{http://www.w3.org/2000/svg}rect") if bar.get("class") != "paper"]
        self.assertEqual([bar.get("class") for bar in bars], ["holds", "missed", "holds", "missed"])
        behind = [float(bar.get("width")) > chart.length(1) for bar in bars]
        self.assertEqual(behind, [False, True, False, True])


class MeasureTest(unittest.TestCase):
    def test_a_program_tells_numbers_beside_what_it_costs(self):
        cost = measure.run([sys.executable, "-c", "print('part=2.5')"])
        self.assertEqual(cost.told("part"), 2.5)
        self.assertGreater(cost.cpu, 0)

    def test_a_program_that_fails_ends_the_measurement(self):
        with self.assertRaises(RuntimeError):
            measure.run(["false"])

    def test_jobs_take_turns(self):
        order = []
        measure.compare(2, lambda: order.append("ours"), lambda: order.append("theirs"))
        self.assertEqual(order, ["ours", "theirs", "ours", "theirs"])


class ImageTest(unittest.TestCase):
    def test_a_repeated_disk_has_its_contents_and_its_holes(self):
        with tempfile.TemporaryDirectory() as folder:
            one, three = pathlib.Path(folder, "one"), pathlib.Path(folder, "three")
            one.write_bytes(b"x" * 4096 + bytes(image.MIB - 4096))
            image.repeat(three, one, 3)
            self.assertEqual(three.read_bytes(), one.read_bytes() * 3)
            self.assertLess(three.stat().st_blocks * 512, 3 * image.MIB)


if __name__ == "__main__":
    unittest.main()
