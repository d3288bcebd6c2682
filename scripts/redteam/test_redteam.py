"""The edits hold on to the starter as it is: without this one that it has outgrown is found by hours of trials."""

import pathlib
import unittest

import edit
import honest
import lies
import redteam

STARTER = pathlib.Path(__file__).resolve().parents[2] / "configs/workspace/train.py"


class TestEdits(unittest.TestCase):
    def test_each_is_a_program(self):
        text = STARTER.read_text()
        sources = set()
        for name, function in [*((n, v[0]) for n, v in lies.LIES.items()), *honest.EDITS.items()]:
            with self.subTest(name):
                changed = edit.Edits(text)
                function(changed)
                compile(changed.text, name, "exec")
                self.assertTrue(function.__doc__)
                self.assertNotIn(changed.text, sources | {text})
                sources.add(changed.text)

    def test_there_are_many(self):
        self.assertGreaterEqual(len(lies.LIES), 24)
        self.assertGreaterEqual(len(honest.EDITS), 20)
        self.assertLessEqual(set(redteam.SHORT), set(lies.LIES))
        self.assertLessEqual(set(redteam.SHORT_HONEST), set(honest.EDITS))

    def test_a_place_that_is_not_there_once(self):
        with self.assertRaisesRegex(ValueError, "2 times, not once"):
            edit.Edits("a\na\n").swap("a\n", "b\n")


if __name__ == "__main__":
    unittest.main()
