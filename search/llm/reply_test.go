package llm

import (
	"strings"
	"testing"
)

const trainPy = `from prepare import STEP_BUDGET, evaluate_bpb

DEPTH = 8  # layers
TOTAL_BATCH_SIZE = 2**19
MATRIX_LR = 0.04
WEIGHT_DECAY = 0.2
WINDOW_PATTERN = "SSSL"  # S short window, L all before
ADAM_BETAS = (0.8, 0.95)


def block(x):
    x = x + 1
    return x * DEPTH


print(evaluate_bpb(block))
`

const edited = "<<<<<<< SEARCH\n    x = x + 1\n=======\n    x = x + 2\n>>>>>>> REPLACE\n"

// summary writes an answer on one line.
func summary(a answer) string {
	var parts []string
	if a.description != "" {
		parts = append(parts, "D:"+a.description)
	}
	if a.expect != "" {
		parts = append(parts, "E:"+a.expect)
	}
	for _, s := range a.constants {
		if s.quoted {
			parts = append(parts, s.name+"="+`"`+s.text+`"`)
		} else {
			parts = append(parts, s.name+"="+s.text)
		}
	}
	for _, e := range a.edits {
		parts = append(parts, "["+strings.ReplaceAll(e.search, "\n", "|")+" -> "+strings.ReplaceAll(e.replace, "\n", "|")+"]")
	}
	if a.file != "" {
		parts = append(parts, "F:"+strings.ReplaceAll(a.file, "\n", "|"))
	}
	return strings.Join(parts, " ")
}

func TestParse(t *testing.T) {
	const one = "[    x = x + 1 ->     x = x + 2]"
	for _, c := range []struct{ name, reply, want, fault string }{
		{"constants", "DESCRIPTION: a lower rate\nEXPECT: -0.001, less noise\n\nCONSTANTS:\nMATRIX_LR = 0.03\nDEPTH = 9\n", "D:a lower rate E:-0.001, less noise MATRIX_LR=0.03 DEPTH=9", ""},
		{"markdown and prose", "Sure! Here is my proposal.\n\n**Description:** a lower rate\n**Expected effect:** better\n\n## CONSTANTS:\n- `MATRIX_LR` = 0.04 -> 0.03  # was 0.04\n* WINDOW_PATTERN: \"SL\"\n\nGood luck!", `D:a lower rate E:better MATRIX_LR=0.03 WINDOW_PATTERN="SL"`, ""},
		{"constants in a fence", "Description: x\nConstants:\n```python\nADAM_BETAS = (0.9, 0.95)\nTOTAL_BATCH_SIZE = 2**18\n```\n", "D:x ADAM_BETAS=(0.9, 0.95) TOTAL_BATCH_SIZE=2**18", ""},
		{"constants without a heading", "I would try\n```\nMATRIX_LR = 0.03\n```\n", "MATRIX_LR=0.03", ""},
		{"edit", "DESCRIPTION: add two\n\n" + edited, "D:add two " + one, ""},
		{"edit in a fence, CRLF", strings.ReplaceAll("DESCRIPTION: add two\n```python\n"+edited+"```\n", "\n", "\r\n"), "D:add two " + one, ""},
		{"edit with the file's name", "train.py\n```python\n" + edited + "```\n### `./train.py`\n" + edited, one + " " + one, ""},
		{"edit and constants", "CONSTANTS:\nDEPTH = 9\n" + edited, "DEPTH=9 " + one, ""},
		{"edit that deletes", "<<<<<<< SEARCH\nWEIGHT_DECAY = 0.2\n=======\n>>>>>>> REPLACE", "[WEIGHT_DECAY = 0.2 -> ]", ""},
		{"thoughts before", "<think>\nCONSTANTS:\nDEPTH = 100\n</think>\nCONSTANTS:\nDEPTH = 9", "DEPTH=9", ""},
		{"file", "DESCRIPTION: anew\nFILE: train.py\n```python\nimport prepare\nprint(prepare.evaluate_bpb(1))\n```\n", "D:anew F:import prepare|print(prepare.evaluate_bpb(1))|", ""},
		{"file without a heading", "Here:\n```\n" + trainPy + "```\n", "F:" + strings.ReplaceAll(trainPy, "\n", "|"), ""},
		{"JSON", `{"description": "a lower rate", "expected_effect": "good", "constants": {"MATRIX_LR": 0.03, "ADAM_BETAS": [0.9, 0.95], "WINDOW_PATTERN": "SL"}}`,
			`D:a lower rate E:good ADAM_BETAS=[0.9, 0.95] MATRIX_LR=0.03 WINDOW_PATTERN="SL"`, ""},
		{"JSON in a fence", "Here you are:\n```json\n{\"edits\": [{\"file\": \"train.py\", \"search\": \"    x = x + 1\", \"replace\": \"    x = x + 2\"}]}\n```\n", one, ""},
		{"JSON with a file", `{"file": "import prepare\nevaluate_bpb(1)\n"}`, "F:import prepare|evaluate_bpb(1)|", ""},

		{"empty", "", "", errProse.Error()},
		{"prose", "I think that the learning rate is fine.\nLet me know!", "", `neither CONSTANTS nor an edit block nor a whole file; it begins "I think that the learning rate is fine. Let me know!"`},
		{"refusal", "I'm sorry, but I can't help with that.", "", errProse.Error()},
		{"block not closed", "<<<<<<< SEARCH\nDEPTH = 8\n=======\nDEPTH = 9\n", "", "edit block 1: it is cut off"},
		{"block in a block", "<<<<<<< SEARCH\nDEPTH = 8\n" + edited, "", "another block begins"},
		{"file not closed", "FILE:\n```python\nimport prepare\n", "", "the file is cut off"},
		{"prepare.py by name", "prepare.py\n" + edited, "", `the reply edits "prepare.py": only train.py may be changed`},
		{"prepare.py by heading", "FILE: prepare.py\n```python\nTIME_BUDGET = 3000\nevaluate_bpb()\n```", "", `edits "prepare.py"`},
		{"prepare.py by fence", "```python prepare.py\nTIME_BUDGET = 3000\n```", "", `edits "prepare.py"`},
		{"prepare.py in the mark", "<<<<<<< SEARCH prepare.py\na\n=======\nb\n>>>>>>> REPLACE", "", `edits "prepare.py"`},
		{"prepare.py in JSON", `{"edits": [{"path": "prepare.py", "search": "a", "replace": "b"}]}`, "", `edits "prepare.py"`},
		{"path traversal", "**../../etc/autoresearch/autoresearch.toml**\n" + edited, "", "only train.py may be changed"},
		{"path traversal in JSON", `{"edits": [{"file": "../train.py", "search": "a", "replace": "b"}]}`, "", `edits "../train.py"`},
		{"path traversal that comes back", `{"edits": [{"file": "x/../train.py", "search": "a", "replace": "b"}]}`, "[a -> b]", ""},
		{"unified diff", "--- a/train.py\n+++ b/train.py\n@@ -1 +1 @@\n-x\n+y\n", "[x -> y]", ""},
		{"too long", strings.Repeat("x", maxReply+1), "", "bytes long"},
		{"too many edits", strings.Repeat(edited, maxEdits+1), "", "edit blocks, at most"},
		{"huge edits", "<<<<<<< SEARCH\nDEPTH = 8\n=======\n" + strings.Repeat("x = 1\n", maxEditBytes/6+1) + ">>>>>>> REPLACE", "", "bytes long together"},
		{"huge file", "FILE:\n```\n" + strings.Repeat("x = 1\n", maxSource/6+1) + "```", "", "a train.py may have"},
		{"constants that are a list", `{"constants": ["MATRIX_LR"]}`, "", "constants is not an object"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := parse(c.reply)
			if c.fault != "" {
				if err == nil || !strings.Contains(err.Error(), c.fault) {
					t.Fatalf("%v %s, want a fault: %s", err, summary(a), c.fault)
				}
				return
			}
			if err != nil || summary(a) != c.want {
				t.Errorf("%v\n got %s\nwant %s", err, summary(a), c.want)
			}
		})
	}
}

func TestApply(t *testing.T) {
	for _, c := range []struct {
		name  string
		edits []edit
		want  [2]string // what is replaced in trainPy, and by what
		fault string
	}{
		{"one line", []edit{{"    x = x + 1", "    x = x + 2"}}, [2]string{"x + 1", "x + 2"}, ""},
		{"in any order", []edit{{"return x * DEPTH", "return y"}, {"DEPTH = 8", "DEPTH = 9"}}, [2]string{}, ""},
		{"deletion takes the line's end", []edit{{"WEIGHT_DECAY = 0.2", ""}}, [2]string{"WEIGHT_DECAY = 0.2\n", ""}, ""},
		{"not there", []edit{{"x = x + 7", "y"}}, [2]string{}, `edit 1: its search text, which begins "x = x + 7", does not occur in train.py`},
		{"other indentation", []edit{{"  x = x + 1", "  y"}, {"x = x + 1\nreturn", "y"}}, [2]string{}, "edit 2: its search text"},
		{"tabs", []edit{{"\tx = x + 1", "\ty"}}, [2]string{"x = x + 1", "y"}, ""},
		{"twice", []edit{{"DEPTH", "D"}}, [2]string{}, "occurs more than once in train.py, at lines 3 and 13"},
		{"twice, overlapping", []edit{{"SS", "L"}}, [2]string{}, "more than once"},
		{"cut short", []edit{{"WEIGHT_DECAY = 0", ""}}, [2]string{}, "cuts a word of train.py in two, at line"},
		{"begun late", []edit{{"AY = 0.2", ""}}, [2]string{}, "cuts a word of train.py in two, at line"},
		{"empty", []edit{{" \n", "x"}}, [2]string{}, "its search text is empty"},
		{"no change", []edit{{"DEPTH = 8", "DEPTH = 8"}}, [2]string{}, "it changes nothing"},
		{"overlap", []edit{{"x = x + 1\n    return", "y"}, {"return x * DEPTH", "z"}}, [2]string{}, "edits 1 and 2 overlap"},
		{"too long", []edit{{"DEPTH = 8", strings.Repeat("x", maxSource)}}, [2]string{}, "at most 262144 are allowed"},
		{"NUL", []edit{{"DEPTH = 8", "DEPTH = 8\x00"}}, [2]string{}, "not text"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, end := range []string{"\n", "\r\n"} {
				source := strings.ReplaceAll(trainPy, "\n", end)
				got, err := apply([]byte(source), c.edits)
				if c.fault != "" {
					if err == nil || !strings.Contains(err.Error(), c.fault) {
						t.Fatalf("%v, want %s", err, c.fault)
					}
					continue
				}
				want := strings.Replace(trainPy, c.want[0], c.want[1], 1)
				if c.want[0] == "" {
					want = strings.Replace(strings.Replace(trainPy, "return x * DEPTH", "return y", 1), "DEPTH = 8", "DEPTH = 9", 1)
				}
				if want = strings.ReplaceAll(want, "\n", end); err != nil || string(got) != want {
					t.Errorf("%v\n%s", err, got)
				}
			}
		})
	}
}

func TestIdentity(t *testing.T) {
	id := func(s string) uint64 { return identity([]byte(s), constants([]byte(s))) }
	if same := strings.NewReplacer("DEPTH = 8  # layers", "# the layers\n\nDEPTH = 8", "\n\n\n", "\n", "x + 1", "x + 1  ").Replace(trainPy); id(same) != id(trainPy) {
		t.Error("comments and blanks make a difference")
	}
	for _, other := range []string{strings.Replace(trainPy, "x + 1", "x + 2", 1), strings.Replace(trainPy, "0.04", "0.05", 1), strings.Replace(trainPy, `"SSSL"  #`, `"SSSL#"  #`, 1)} {
		if id(other) == id(trainPy) {
			t.Errorf("the same as the original:\n%s", other)
		}
	}
}

// FuzzParse proves that no reply brings the parser down, and that what it lets
// through keeps to the limits and to train.py.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{edited, "CONSTANTS:\nDEPTH = 9", `{"edits": [{"search": "a", "replace": "b"}]}`, "FILE: train.py\n```\nx\n```", "<think></think>```json\n{}\n```",
		"prepare.py\n" + edited, "\xff\x00\u2028DESCRIPTION: x\r\n<<<<<\n=====\n>>>>>", "```python:../x.py\nA = 1\n```"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, reply string) {
		a, err := parse(reply)
		if err != nil {
			if len(err.Error()) > 2000 {
				t.Errorf("a fault of %d bytes", len(err.Error()))
			}
			return
		}
		if len(a.edits)+len(a.constants) == 0 && a.file == "" || len(a.edits) > maxEdits || len(a.constants) > maxConstants || len(a.file) > maxSource {
			t.Errorf("%s", summary(a))
		}
		if strings.ContainsAny(a.description+a.expect, "\n\r\t\x00\x1b\u2028") {
			t.Errorf("description %q, expect %q", a.description, a.expect)
		}
	})
}

// FuzzApply proves that an edit changes one place and nothing else, and that
// what stands there is what was searched for, but for what a level forgives.
func FuzzApply(f *testing.F) {
	f.Add(trainPy, "DEPTH = 8", "DEPTH = 9")
	f.Add(trainPy, "DEPTH", "")
	f.Add("a\r\nb\r\n", "a\nb", "c\n")
	f.Add("aaa", "aa", "\xff")
	f.Add("\ufeffa  \n\tb\rc", "    a\n        b", "d\n  e")
	f.Add("if x:\n\tb = “1”\n", "12| if x:\n13|   b = \"1\"", "12| if y:")
	f.Fuzz(func(t *testing.T, source, search, replace string) {
		got, err := apply([]byte(source), []edit{{search, replace}})
		if err != nil {
			if got != nil {
				t.Errorf("a result beside %v", err)
			}
			return
		}
		d := newDocument(source)
		p, err := d.find(edit{search, replace})
		if err != nil {
			t.Fatalf("applied, but %v", err)
		}
		if s := string(got); s != source[:p.start]+p.text+source[p.end:] {
			t.Errorf("%q with %q for %q is %q", source, replace, search, s)
		}
		letters := func(s string) string {
			return strings.Join(strings.FieldsFunc(plainSigns(s), func(r rune) bool { return r <= ' ' || r == '\u00a0' }), "")
		}
		there := letters(source[p.start:p.end])
		meant := false
		for _, form := range forms(edit{ends.Replace(search), ends.Replace(replace)}) {
			meant = meant || letters(form.search) == there
		}
		if !meant {
			t.Errorf("%q stands for %q", source[p.start:p.end], search)
		}
	})
}
