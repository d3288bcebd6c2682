package llm

import (
	"strings"
	"testing"
)

const nested = "import time\n\n\ndef f(x):\n    for i in range(8):\n        x = x + i   \n        if i > 3:\n            break\n    return x\n\n\ndef g(x):\n    for i in range(8):\n        x = x - i\n    return x\n\n\nNAME = \"a < b & c\"\n"

// TestForgives proves which differences between a search text and train.py are
// forgiven, and what the new text becomes then.
func TestForgives(t *testing.T) {
	tabbed := strings.ReplaceAll(nested, "    ", "\t")
	for _, c := range []struct {
		name, source, search, replace string
		old, new                      string // what is replaced in source, and by what
	}{
		{"blanks in train.py", nested, "        x = x + i\n        if i > 3:", "        x = x + 2\n        if i > 3:", "        x = x + i   \n", "        x = x + 2\n"},
		{"blanks in the block", nested, "        x = x - i  \n    return x\t", "        x = x - 2\n    return x", "x - i", "x - 2"},
		{"blank lines around", nested, "\n\n        x = x - i\n    return x\n", "\n\n        x = x - 2\n    return x\n", "x - i", "x - 2"},
		{"further out", nested, "    x = x - i\nreturn x", "    x = x - 2\nreturn x", "x - i", "x - 2"},
		{"further out, new depth", nested, "if i > 3:\n    break", "if i > 3:\n    if x:\n        break", "            break", "            if x:\n                break"},
		{"further in", nested, "            x = x - i\n        return x", "            x = x - 2\n        return x", "x - i", "x - 2"},
		{"the first line alone", nested, "x = x - i\n    return x", "x = x - 2\n    return x", "x - i", "x - 2"},
		{"the first line alone, and blanks", nested, "x = x + i\n        if i > 3:", "x = x + 2\n        if i > 3:", "x + i   ", "x + 2"},
		{"spaces for tabs", tabbed, "        x = x - i\n    return x", "        x = x - 2\n        y = 1\n    return x", "\t\tx = x - i", "\t\tx = x - 2\n\t\ty = 1"},
		{"two spaces for tabs", tabbed, "    x = x - i\n  return x", "    x = x - 2\n  return x", "x - i", "x - 2"},
		{"tabs for spaces", nested, "\t\tx = x - i\n\treturn x", "\t\tx = x - 2\n\treturn x", "x - i", "x - 2"},
		{"typographic quotes", nested, "NAME = “a < b & c”", "NAME = “d”", "\"a < b & c\"", "\"d\""},
		{"blanks that do not break", nested, "\u00a0\u00a0\u00a0 for i in range(8):\n        x = x - i", "    for i in range(9):\n        x = x - i", "range(8):\n        x = x - i", "range(9):\n        x = x - i"},
		{"HTML", nested, "NAME = &quot;a &lt; b &amp; c&quot;", "NAME = &quot;a &gt; b&quot;", "a < b & c", "a > b"},
		{"line numbers", nested, "13 |     for i in range(8):\n14 |         x = x - i", "13 |     for i in range(9):\n14 |         x = x - i", "range(8):\n        x = x - i", "range(9):\n        x = x - i"},
		{"line numbers, colons", nested, "14:         x = x - i", "14:         x = x - 2", "x - i", "x - 2"},
		{"line numbers, tabs", nested, "    14\t        x = x - i", "        x = x - 2", "x - i", "x - 2"},
		{"fences", nested, "```python\n        x = x - i\n```", "```python\n        x = x - 2\n```", "x - i", "x - 2"},
		{"a whole line and parts of others", "LR = 1\nMY_LR = LR = 1\n    LR = 1\n", "LR = 1", "LR = 2", "LR = 1\nMY", "LR = 2\nMY"},
		{"a part that is no part of a word", "MY_LR = 1; LR = 1\n", "LR = 1", "LR = 2", "; LR = 1", "; LR = 2"},
		{"lines that go", nested, "        x = x + i\n", "", "        x = x + i   \n", ""},
		{"an end that the file has not", "a\nb", "b\n", "c\n", "b", "c"},
		{"a BOM", "\ufeffimport a\nimport b\n", "import a", "import c", "import a", "import c"},
		{"a lone CR", "# a\rb = 1\nc = 2\n", "b = 1\nc = 2", "b = 3\nc = 2", "b = 1", "b = 3"},
		{"mixed ends", "a = 1\r\nb = 2\nc = 3\r\n", "a = 1\nb = 2", "a = 1\nx = 0\nb = 2", "a = 1\r\n", "a = 1\r\nx = 0\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, end := range []string{"\n", "\r\n", "\r"} {
				if end != "\n" && strings.Contains(c.source, "\r") {
					continue
				}
				at := func(s string) string { return strings.ReplaceAll(s, "\n", end) }
				if strings.Count(c.source, c.old) != 1 {
					t.Fatalf("%q is no one place", c.old)
				}
				got, err := apply([]byte(at(c.source)), []edit{{c.search, c.replace}})
				want := strings.Replace(at(c.source), at(c.old), at(c.new), 1)
				if strings.Contains(c.name, "mixed") { // every line after the first place ends as the first
					want = "a = 1\r\nx = 0\r\nb = 2\nc = 3\r\n"
				}
				if err != nil || string(got) != want {
					t.Errorf("%v\n got %q\nwant %q", err, got, want)
				}
			}
		})
	}
}

// TestRefuses proves that no edit is applied where its place is open, and that
// the fault names the difference.
func TestRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		edits []edit
		want  string
	}{
		{"two places but for blanks", []edit{{"    for i in range(8):  ", "    for i in range(9):"}}, "edit 1: its search text, which begins \"for i in range(8):\", occurs more than once in train.py, at lines 5 and 13"},
		{"two places further in", []edit{{"  for i in range(8):\n", "  for i in range(9):\n"}}, "occurs more than once"},
		{"another word", []edit{{"    return x", ""}, {"        x = x + j\n        if i > 3:", "y"}}, "edit 2: its search text, which begins \"x = x + j\", does not occur in train.py; it is like line 6, but differs in its line 1 (line 6 of train.py): it is \"x = x + j\" where train.py has \"x = x + i\""},
		{"an indentation within", []edit{{"    for i in range(8):\n      x = x - i", "y"}}, "differs in its line 2 (line 14 of train.py): its indentation is 6 columns where train.py has 8"},
		{"lines left out", []edit{{"def f(x):\n    ...\n    return x", "y"}}, "leaves lines out, with \"...\": copy every line"},
		{"new lines left out", []edit{{"def g(x):", "def g(x):\n    y = 1\n    # ... existing code ..."}}, "its new text leaves lines out, with \"# ... existing code ...\": write them all"},
		{"nothing like it", []edit{{"import numpy as np", "y"}}, "does not occur in train.py"},
		{"no room to move out", []edit{{"                x = x - i\n            return x", "                x = x - 2\nreturn x"}}, "cannot be moved out as far"},
		{"nothing changes", []edit{{"import time", "import time"}, {"NAME = ", "NAME = "}}, "it changes nothing"},
		{"one fault among sound ones", []edit{{"import time", "import os"}, {"no such line = 1", "y"}}, "edit 2: its search text"},
	} {
		if got, err := apply([]byte(nested), c.edits); err == nil || !strings.Contains(err.Error(), c.want) || got != nil {
			t.Errorf("%s: %v\nwant %s\n%s", c.name, err, c.want, got)
		}
	}
	// Two searches for one place among two: each of them is open.
	if _, err := apply([]byte(nested), []edit{{"    return x", "    return y"}}); err == nil || !strings.Contains(err.Error(), "at lines 9 and 15") {
		t.Errorf("%v", err)
	}
}

// TestHarmless proves that blocks that change nothing, or are said twice, do
// not cost the others, and that one block may build on another.
func TestHarmless(t *testing.T) {
	want := strings.Replace(nested, "x - i", "x - 2", 1)
	sound := edit{"        x = x - i", "        x = x - 2"}
	for name, edits := range map[string][]edit{
		"no change":         {{"import time", "import time"}, sound},
		"no change, absent": {sound, {"import numpy", "import numpy"}},
		"no change of ends": {{"import time\n", "import time\n"}, {"        if i > 3:  ", "        if i > 3:"}, sound},
		"twice":             {sound, sound},
	} {
		if got, err := apply([]byte(nested), edits); err != nil || string(got) != want {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
	got, err := apply([]byte(nested), []edit{sound, {"        x = x - 2\n    return x", "        x = x - 3\n    return x"}})
	if err != nil || string(got) != strings.Replace(nested, "x - i", "x - 3", 1) {
		t.Errorf("%v\n%s", err, got)
	}
}

// TestDialects proves that edits in other ways of writing become the same.
func TestDialects(t *testing.T) {
	const want = "[    for i in range(8):|        x = x - i ->     for i in range(9):|        x = x - i]"
	const before, after = "    for i in range(8):\n        x = x - i", "    for i in range(9):\n        x = x - i"
	hunk := "-    for i in range(8):\n+    for i in range(9):\n         x = x - i\n"
	for name, reply := range map[string]string{
		"ORIGINAL and UPDATED":  "<<<<<<< ORIGINAL\n" + before + "\n=======\n" + after + "\n>>>>>>> UPDATED\n",
		"nine signs":            "<<<<<<<<< SEARCH\n" + before + "\n=========\n" + after + "\n>>>>>>>>> REPLACE\n",
		"five signs":            "<<<<< SEARCH\n" + before + "\n=====\n" + after + "\n>>>>> REPLACE\n",
		"no words":              "<<<<<<<\n" + before + "\n=======\n" + after + "\n>>>>>>>\n",
		"Cline":                 "------- SEARCH\n" + before + "\n=======\n" + after + "\n+++++++ REPLACE\n",
		"closed by the fence":   "train.py\n```python\n<<<<<<< SEARCH\n" + before + "\n=======\n" + after + "\n```\n",
		"tags":                  "<search>\n" + before + "\n</search>\n<replace>\n" + after + "\n</replace>\n",
		"old_str":               "<edit>\n<old_str>\n" + before + "\n</old_str>\n<new_str>\n" + after + "\n</new_str>\n</edit>\n",
		"fences":                "**SEARCH:**\n```python\n" + before + "\n```\n**REPLACE:**\n```python\n" + after + "\n```\n",
		"before and after":      "Before:\n```\n" + before + "\n```\n\nAfter:\n```\n" + after + "\n```\n",
		"JSON":                  `{"edits": [{"old_string": "    for i in range(8):\n        x = x - i", "new_string": "    for i in range(9):\n        x = x - i"}]}`,
		"unified":               "```diff\n--- a/train.py\n+++ b/train.py\n@@ -13,2 +13,2 @@ def g(x):\n" + hunk + "```\n",
		"unified, bare":         "--- train.py\n+++ train.py\n@@ -99,7 +1,3 @@\n" + hunk,
		"git":                   "diff --git a/train.py b/train.py\nindex 1234567..89abcde 100644\n--- a/train.py\n+++ b/train.py\n@@ -13,2 +13,2 @@\n" + hunk + "\\ No newline at end of file\n",
		"no head":               "```diff\n" + hunk + "```\n",
		"apply_patch":           "*** Begin Patch\n*** Update File: train.py\n@@ def g(x):\n" + hunk + "*** End Patch\n",
		"apply_patch in a word": "```\n*** Begin Patch\n*** Update File: ./train.py\n@@\n" + hunk + "*** End Patch\n```\n",
	} {
		a, err := parse(reply)
		if err != nil || summary(a) != want {
			t.Errorf("%s: %v\n got %s\nwant %s", name, err, summary(a), want)
			continue
		}
		if got, err := apply([]byte(nested), a.edits); err != nil || string(got) != strings.Replace(nested, "range(8):\n        x = x - i", "range(9):\n        x = x - i", 1) {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
	for name, c := range map[string][2]string{
		"another file":        {"--- a/prepare.py\n+++ b/prepare.py\n@@ -1 +1 @@\n-x\n+y\n", "only train.py may be changed"},
		"a file of a patch":   {"*** Begin Patch\n*** Update File: prepare.py\n@@\n-x\n+y\n*** End Patch\n", "only train.py may be changed"},
		"a new file":          {"*** Begin Patch\n*** Add File: train.py\n+y\n*** End Patch\n", "adds, deletes or moves a file"},
		"nothing to go by":    {"--- a/train.py\n+++ b/train.py\n@@ -1,0 +1 @@\n+y\n", "hunk 1 of the diff: it holds no line of train.py"},
		"cut off":             {"<<<<<<< SEARCH\n" + before + "\n=======\n" + after + "\n", "it is cut off"},
		"cut off in a fence":  {"```\n<<<<<<< SEARCH\n" + before + "\n=======\n" + after + "\n", "it is cut off"},
		"no middle":           {"<<<<<<< SEARCH\n" + before + "\n>>>>>>> REPLACE\n", "it is cut off"},
		"a file left unsaid":  {"FILE: train.py\n```python\nimport prepare\n# ... rest of the code unchanged ...\nprint(prepare.evaluate_bpb(1))\n```\n", "leaves lines out"},
		"several in one hunk": {"@@ -1 +1 @@\n x\n y\n", "the reply"},
	} {
		if a, err := parse(c[0]); err == nil || !strings.Contains(err.Error(), c[1]) {
			t.Errorf("%s: %v %s, want %s", name, err, summary(a), c[1])
		}
	}
	two := "--- a/train.py\n+++ b/train.py\n@@ -1,3 +1,3 @@\n-import time\n+import os\n \n@@ -18 +18 @@\n-NAME = \"a < b & c\"\n+NAME = 1\n"
	if a, err := parse("DESCRIPTION: x\n" + two + "\nThat is all.\n"); err != nil || summary(a) != `D:x [import time -> import os] [NAME = "a < b & c" -> NAME = 1]` {
		t.Errorf("%v %s", err, summary(a))
	}
}
