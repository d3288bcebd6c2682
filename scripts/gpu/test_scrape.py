"""What scrape.py can be shown to do without a GPU."""

import unittest

import scrape

PAGE = r"""# HELP autoresearch_gpu_memory_used_bytes GPU memory in use by all processes.
# TYPE autoresearch_gpu_memory_used_bytes gauge
autoresearch_gpu_memory_used_bytes{gpu="0"} 4.6e+10
autoresearch_gpu_memory_used_bytes{gpu="0:1"} 3e+09
# TYPE autoresearch_trials counter
autoresearch_trials_total{status="completed",strategy="a\"}\\ b"} 41.0
# TYPE autoresearch_journal_write_seconds histogram
autoresearch_journal_write_seconds_bucket{le="0.5"} 3
autoresearch_journal_write_seconds_bucket{le="+Inf"} 4
autoresearch_journal_write_seconds_sum 1.5
autoresearch_journal_write_seconds_count 4
# EOF
"""


def moments(ours, theirs):
    """One moment for each pair of values, of GPU 0's power."""
    metric = "autoresearch_gpu_power_watts"
    return [
        ({metric: {"0": a}} if a is not None else {}, {metric: {"0": b}}) for a, b in zip(ours, theirs, strict=True)
    ]


class Scrape(unittest.TestCase):
    def test_page(self):
        families = scrape.parse(PAGE)
        self.assertEqual(
            list(families),
            ["autoresearch_gpu_memory_used_bytes", "autoresearch_trials", "autoresearch_journal_write_seconds"],
        )
        self.assertEqual(
            families["autoresearch_trials"][1],
            [("autoresearch_trials_total", r'status="completed",strategy="a\"}\\ b"', "41.0")],
        )
        self.assertEqual(scrape.gpu_figures(families), {"autoresearch_gpu_memory_used_bytes": {"0": 4.6e10}})

    def test_record(self):
        text = scrape.openmetrics([(10.0, scrape.parse(PAGE)), (11.5, scrape.parse(PAGE))]).splitlines()
        self.assertEqual(
            text[:6],
            [
                "# HELP autoresearch_gpu_memory_used_bytes GPU memory in use by all processes.",
                "# TYPE autoresearch_gpu_memory_used_bytes gauge",
                'autoresearch_gpu_memory_used_bytes{gpu="0"} 4.6e+10 10.000',
                'autoresearch_gpu_memory_used_bytes{gpu="0"} 4.6e+10 11.500',
                'autoresearch_gpu_memory_used_bytes{gpu="0:1"} 3e+09 10.000',
                'autoresearch_gpu_memory_used_bytes{gpu="0:1"} 3e+09 11.500',
            ],
        )
        self.assertEqual(text[-1], "# EOF")
        self.assertEqual(sum(line.startswith("#") for line in text), 5)
        self.assertIn("autoresearch_journal_write_seconds_count 4 11.500", text)

    def test_agreement(self):
        self.assertTrue(scrape.compare(moments([650, 640, 100], [660, 600, 90]))[0])

    def test_difference(self):
        agree, lines = scrape.compare(moments([650, 300, 300], [650, 650, 650]))
        self.assertFalse(agree)
        self.assertEqual(
            lines,
            [
                "DIFFERS: gpu 0 autoresearch_gpu_power_watts and power.draw: "
                "1 of 3 samples within bounds, at most 350 apart, 0 missing"
            ],
        )

    def test_what_is_missing_differs(self):
        self.assertFalse(scrape.compare(moments([None, None, 650], [650, 650, 650]))[0])
        self.assertFalse(scrape.compare(moments([None], [650]))[0])
        self.assertFalse(scrape.compare([({}, {})])[0])


if __name__ == "__main__":
    unittest.main()
