package llm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"autoresearchd/search"
	"autoresearchd/search/llm/llmtest"
)

// TestThoughts puts a draft into a reply in every way that models do, and
// proves that it is never what runs.
func TestThoughts(t *testing.T) {
	const draft = "maybe\nCONSTANTS:\nDEPTH = 12\nno, too slow, leave it\n"
	const answer = "DESCRIPTION: only the rate\nCONSTANTS:\nMATRIX_LR = 0.055\n"
	const want = "D:only the rate MATRIX_LR=0.055"
	between := func(open, close string) string { return open + draft + close + answer }
	for name, reply := range map[string]string{
		"think":                    between("<think>\n", "</think>\n"),
		"thinking":                 between("<thinking>\n", "</thinking>\n"),
		"upper case":               between("<THINKING>\n", "</THINKING>\n"),
		"attributes":               between("<think duration=\"3s\" effort='low'>\n", "</think>\n"),
		"blanks":                   between("< think >\n", "</ think >\n"),
		"reasoning":                between("<reasoning>\n", "</reasoning>\n"),
		"scratchpad":               between("<scratchpad>\n", "</scratchpad>\n"),
		"scratch_pad":              between("<scratch_pad>\n", "</scratch_pad>\n"),
		"reflection":               between("<reflection>", "</reflection>"),
		"seed":                     between("<seed:think>", "</seed:think>"),
		"antml":                    between("<thinking>", "</thinking>"),
		"long cat":                 between("<longcat_think>", "</longcat_think>"),
		"Magistral":                between("[THINK]\n", "[/THINK]"),
		"Kimi":                     between("◁think▷", "◁/think▷"),
		"bars":                     between("<|think|>", "<|/think|>"),
		"begin and end":            between("<|begin_of_thought|>", "<|end_of_thought|>"),
		"Cohere":                   between("<|START_THINKING|>", "<|END_THINKING|>"),
		"Gemma":                    between("<|channel>thought\n", "<channel|>"),
		"MedGemma":                 between("<unused94>thought\n", "<unused95>"),
		"Ollama":                   between("Thinking...\n", "...done thinking.\n\n"),
		"Granite":                  between("Here is my thought process:\n", "Here is my response:\n"),
		"harmony":                  "<|channel|>analysis<|message|>" + draft + "<|end|><|start|>assistant<|channel|>final<|message|>" + answer + "<|return|>",
		"harmony, commentary":      "<|start|>assistant<|channel|>commentary to=functions.x <|constrain|>json<|message|>" + draft + "<|call|><|start|>assistant<|channel|>final<|message|>" + answer,
		"harmony without marks":    "analysisWe need " + draft + "assistantfinal" + answer,
		"closed only":              draft + "</think>\n\n" + answer,
		"closed only, with a tail": "<|im_start|>assistant\n" + draft + "</think>\n\n" + answer + "<|im_end|>\n<|im_start|>user\nCONSTANTS:\nDEPTH = 3",
		"nested":                   "<think>a <think>b</think>\n" + draft + "</think>\n" + answer,
		"twice":                    between("<think>x</think>\n<think>\n", "</think>"),
		"in a fence":               "```\n" + between("<think>\n", "</think>\n") + "```\n",
		"a fence of thoughts":      between("```thinking\n", "```\n"),
		"a comment":                between("<!--\n", "-->\n"),
		"details":                  between("<details type=\"reasoning\" done=\"true\">\n<summary>Thought for 3 s</summary>\n", "</details>\n"),
		"details by summary":       between("<details>\n<summary>Thinking</summary>\n", "</details>\n"),
		"a mark of its own":        between("<musings>\n", "</musings>\n"),
		"an answer's mark":         draft + "<answer>\n" + answer + "</answer>",
		"both marks":               between("<think>", "</think>") + "",
		"an edit within":           "<think>\n<<<<<<< SEARCH\nDEPTH = 8\n=======\nDEPTH = 12\n>>>>>>> REPLACE\n</think>\n" + answer,
		"half an edit within":      "<think>\n<<<<<<< SEARCH\nDEPTH = 8\n=======\n</think>\n" + answer,
		"a file within":            "<think>\nFILE: train.py\n```python\n" + trainPy + "```\n</think>\n" + answer,
		"a change of mind":         "CONSTANTS:\nDEPTH = 12\n\nWait, that is too slow.\n\n" + answer,
		"actually":                 "DESCRIPTION: deeper\nCONSTANTS:\nDEPTH = 12\n\nActually, let me revise that:\n\n" + answer,
		"second thoughts":          "DESCRIPTION: deeper\nCONSTANTS:\nDEPTH = 12\nOn second thought, the rate.\n" + answer,
		"final answer":             "DESCRIPTION: deeper\nCONSTANTS:\nDEPTH = 12\n\n**Final answer:**\n" + answer,
		"final proposal":           "## Draft\n\nCONSTANTS:\nDEPTH = 12\n\n## Final proposal\n\n" + answer,
		"draft and answer":         "Draft:\nCONSTANTS:\nDEPTH = 12\n\n" + answer,
		"what is now":              "Current values:\nDEPTH = 12\nMATRIX_LR = 0.04\n\n" + answer,
		"old and new":              "DESCRIPTION: only the rate\n\nOld values:\nMATRIX_LR = 0.04\n\nNew values:\nMATRIX_LR = 0.055\n",
		"ideas before":             "Options considered:\n1. DEPTH = 12: too slow\n2. MATRIX_LR = 0.055\n\n" + answer,
		"analysis before":          "### Analysis\n\nDEPTH = 12 is slow, wait.\nHmm, the rate then.\n\n### Proposal\n\n" + answer + "\nThis should help.\n",
		"a fence around all":       "```\n" + answer + "```\n\nThe rate is too low at present.",
		"the same twice":           answer + "\nSo, once more:\n\n" + answer,
		"prose before":             "The DEPTH is fine as it is.\nDEPTH = 12 would be too slow.\n\n" + answer,
		"a quotation":              "> CONSTANTS:\n> DEPTH = 12\n\n" + answer,
		"JSON twice":               "```json\n{\"constants\": {\"DEPTH\": 12}}\n```\nWait, no.\n```json\n{\"description\": \"only the rate\", \"constants\": {\"MATRIX_LR\": 0.055}}\n```",
	} {
		a, err := parse(reply)
		if err != nil || summary(a) != want {
			t.Errorf("%s: %v\n got %s\nwant %s", name, err, summary(a), want)
		}
		a, err = parse(strings.ReplaceAll(reply, "\n", "\r\n"))
		if err != nil || summary(a) != want {
			t.Errorf("%s with CRLF: %v %s", name, err, summary(a))
		}
	}
	for name, c := range map[string]struct {
		reply string
		want  error
	}{
		"never closed":            {"<think>\n" + answer, errThoughts},
		"closed once of twice":    {"<think>\n<think>\n" + draft + "</think>\n" + answer, errThoughts},
		"Magistral, never closed": {"[THINK]" + answer, errThoughts},
		"Kimi, never closed":      {"◁think▷" + answer, errThoughts},
		"Ollama, never done":      {"Thinking...\n" + answer, errThoughts},
		"no final channel":        {"<|channel|>analysis<|message|>" + answer, errThoughts},
		"no final, unmarked":      {"analysisWe could\n" + answer, errThoughts},
		"nothing after":           {"<think>\n" + answer + "</think>\n", errProse},
		"taken back":              {answer + "\nWait, let me reconsider.\n", errTaken},
		"taken back in one":       {draft, errTaken},
		"options":                 {"Option A:\nCONSTANTS:\nDEPTH = 12\n\nOption B:\nCONSTANTS:\nDEPTH = 10\n", errSeveral},
		"two descriptions":        {"DESCRIPTION: deeper\nCONSTANTS:\nDEPTH = 12\n\n" + answer, errSeveral},
		"two lists":               {"DESCRIPTION: x\nCONSTANTS:\nDEPTH = 12\n\nCONSTANTS:\nMATRIX_LR = 0.055\n", errSeveral},
		"two in JSON":             {"```json\n{\"constants\": {\"DEPTH\": 12}}\n```\n```json\n{\"constants\": {\"DEPTH\": 10}}\n```", errSeveral},
		"a draft only":            {"First draft:\nCONSTANTS:\nDEPTH = 12\n", errDraft},
		"what is now only":        {"Current values:\nDEPTH = 12\n", errDraft},
	} {
		if a, err := parse(c.reply); !errors.Is(err, c.want) {
			t.Errorf("%s: %v %s, want %v", name, err, summary(a), c.want)
		}
	}
	// What only looks like a mark is code.
	for _, code := range []string{`tokens = ["<think>", "</think>"]`, "# a <think> of one's own </think> b", `x = "</answer>"`, `END = "<|im_end|>"`} {
		edit := "DESCRIPTION: x\n<<<<<<< SEARCH\n    x = x + 1\n=======\n    " + code + "\n>>>>>>> REPLACE\n"
		if a, err := parse(edit); err != nil || len(a.edits) != 1 || a.edits[0].replace != "    "+code {
			t.Errorf("%s: %v %s", code, err, summary(a))
		}
		file := "FILE: train.py\n```python\n" + trainPy + code + "\n```\n"
		if a, err := parse(file); err != nil || a.file != trainPy+code+"\n" {
			t.Errorf("%s: %v %s", code, err, summary(a))
		}
	}
	if a, err := parse("I thought about `<think>` marks.\n" + answer); err != nil || summary(a) != want {
		t.Errorf("%v %s", err, summary(a))
	}
}

// TestReasoningField proves that an answer that stands in the field of
// reasoning alone is used if it is whole, and that a person is told.
func TestReasoningField(t *testing.T) {
	model := replies{
		{Text: "We could go deeper.\nCONSTANTS:\nDEPTH = 12\nNo, the rate.\nCONSTANTS:\nMATRIX_LR = 0.05\n", Reasoning: true},
		{Text: "DEPTH = 12 may help.", Reasoning: true},
		{Text: "The rate is low.\n</think>\nDESCRIPTION: a higher rate\nCONSTANTS:\nMATRIX_LR = 0.05\n", Reasoning: true},
		{Text: "DESCRIPTION: shallower\nEXPECT: faster\nCONSTANTS:\nDEPTH = 7\n", Reasoning: true},
	}
	l := newLab(t, one)
	l.s.tools.Model = &model
	if p := l.ask(); p.Strategy == Name || !strings.Contains(p.Description, "field of reasoning") {
		t.Errorf("%+v", p)
	}
	for _, want := range []string{"a higher rate", "shallower"} {
		l.s.Prepare(t.Context(), l.h)
		if p := l.ask(); p.Strategy != Name || !strings.HasPrefix(p.Description, want) {
			t.Errorf("%+v", p)
		}
	}
	if log := l.log.String(); strings.Count(log, "--reasoning-parser") != 1 || !strings.Contains(log, "it is whole, and used") {
		t.Errorf("the log says\n%s", log)
	}
}

// TestTooLong proves that prompts are cut where a model has no room for them,
// and that this is remembered.
func TestTooLong(t *testing.T) {
	l := newLab(t, one)
	l.program = strings.Repeat("a long programme\n", 3000)
	asked, refused := 0, 0
	l.server.Then = func(w http.ResponseWriter, r *http.Request, q llmtest.Request) {
		asked++
		if len(q.Last()) > 15_000 {
			refused++
			llmtest.Status(400, "This model's maximum context length is 4096 tokens. However, your messages resulted in 9000 tokens.")(w, r, q)
			return
		}
		llmtest.Say(fmt.Sprintf("DESCRIPTION: x\nCONSTANTS:\nDEPTH = %d\n", 8+asked))(w, r, q)
	}
	for range 2 {
		if p := l.ask(); p.Strategy != Name || p.Description == "" {
			t.Errorf("%+v", p)
		}
	}
	if refused == 0 || refused > 3 || asked != refused+2 || !strings.Contains(l.log.String(), "prompts are made shorter") {
		t.Errorf("%d requests, %d refused\n%s", asked, refused, l.log.String())
	}
	l.server.Then = llmtest.Status(400, "context length exceeded")
	if p := l.ask(); p.Strategy == Name || !strings.Contains(p.Description, "lower search.llm.prompt_bytes") {
		t.Errorf("%+v", p)
	}
}

// replies is a model that says one after the other.
type replies []search.Reply

func (r *replies) Complete(context.Context, search.Prompt) (search.Reply, error) {
	if len(*r) == 0 {
		return search.Reply{}, errors.New("no more to say")
	}
	reply := (*r)[0]
	*r = (*r)[1:]
	reply.Model = "m"
	return reply, nil
}

// TestValues proves which ways of writing a value are understood, and which
// words are none.
func TestValues(t *testing.T) {
	for text, want := range map[string]string{
		"DEPTH = 9": "DEPTH=9", "DEPTH: int = 9": "DEPTH=9", "DEPTH: Final[int] = 9": "DEPTH=9", "**DEPTH** = 9": "DEPTH=9", "**DEPTH = 9**": "DEPTH=9", "**DEPTH:** 9": "DEPTH=9",
		"1. DEPTH = 9": "DEPTH=9", "2) `DEPTH` = 9": "DEPTH=9", "- `DEPTH = 9`": "DEPTH=9", "* DEPTH: 9": "DEPTH=9", "• DEPTH → 9": "DEPTH=9", "`DEPTH` -> 9": "DEPTH=9", "    DEPTH = 9": "DEPTH=9",
		"MATRIX_LR = 0.05 (was 0.04)": "MATRIX_LR=0.05", "MATRIX_LR: 0.05 # was 0.04": "MATRIX_LR=0.05", "MATRIX_LR = 0.05  // more": "MATRIX_LR=0.05", "MATRIX_LR = 0.05 – less noise": "MATRIX_LR=0.05",
		"MATRIX_LR from 0.04 to 0.05": "MATRIX_LR=0.05", "MATRIX_LR: from 0.04 to 0.05": "MATRIX_LR=0.05", "Increase MATRIX_LR from 0.04 to 0.05.": "MATRIX_LR=0.05", "- raise `MATRIX_LR` to 0.05": "MATRIX_LR=0.05",
		"MATRIX_LR = 0.04 -> 0.05": "MATRIX_LR=0.05", "MATRIX_LR: 0.04 → 0.05 (noise)": "MATRIX_LR=0.05", "MATRIX_LR (0.04 → 0.05)": "MATRIX_LR=0.05", "MATRIX_LR 0.04 -> 0.05": "MATRIX_LR=0.05", "MATRIX_LR := 0.05": "MATRIX_LR=0.05",
		"MATRIX_LR = 0.05, instead of 0.04": "MATRIX_LR=0.05", "MATRIX_LR = 0.05;": "MATRIX_LR=0.05", "MATRIX_LR = 0.05,": "MATRIX_LR=0.05", "MATRIX_LR = 5e-2": "MATRIX_LR=5e-2", "MATRIX_LR = −0.05": "MATRIX_LR=-0.05", "MATRIX_LR = .05": "MATRIX_LR=.05",
		"TOTAL_BATCH_SIZE = 2**18  # halved": "TOTAL_BATCH_SIZE=2**18", "TOTAL_BATCH_SIZE = 524_288": "TOTAL_BATCH_SIZE=524_288", "TOTAL_BATCH_SIZE: 262,144": "TOTAL_BATCH_SIZE=262,144",
		"ADAM_BETAS = (0.9, 0.95)": "ADAM_BETAS=(0.9, 0.95)", "ADAM_BETAS = 0.9, 0.95": "ADAM_BETAS=0.9, 0.95", "ADAM_BETAS: [0.9, 0.95] (was (0.8, 0.95))": "ADAM_BETAS=[0.9, 0.95]", `WINDOW_PATTERN = "SL"  # short`: `WINDOW_PATTERN="SL"`, "WINDOW_PATTERN = “SL”": `WINDOW_PATTERN="SL"`,
		"DEPTH = 9, MATRIX_LR = 0.05": "DEPTH=9 MATRIX_LR=0.05", "DEPTH = 9;MATRIX_LR=0.05": "DEPTH=9 MATRIX_LR=0.05", "DEPTH = 9; MATRIX_LR: 0.05 and WEIGHT_DECAY = 0.1": "DEPTH=9 MATRIX_LR=0.05 WEIGHT_DECAY=0.1",
		"MATRIX_LR (of Muon): 0.05": "MATRIX_LR=0.05", "`MATRIX_LR`: `0.04` ➜ `0.05`": "MATRIX_LR=0.05", "MATRIX_LR: **0.05** [was 0.04]": "MATRIX_LR=0.05", "matrix_lr = 0.05": "matrix_lr=0.05", "- args.depth: 9": "args.depth=9",
		"| name | value |\n|---|---|\n| depth | 9 |": "depth=9",
		`"DEPTH": 9,`: "DEPTH=9", "FLAG = true": "FLAG=true", "WEIGHT_DECAY = 50%": "WEIGHT_DECAY=50%",
		"DEPTH = 9\nMATRIX_LR = 0.04 (unchanged)": "DEPTH=9", "DEPTH = 9\nMATRIX_LR = 0.04 currently, do not change": "DEPTH=9", "DEPTH = 9\nMATRIX_LR: keep": "DEPTH=9",
		"| constant | value |\n|---|---|\n| DEPTH | 9 |": "DEPTH=9", "| Constant | Old | New | Why |\n|:---|---:|---|---|\n| `DEPTH` | 8 | **9** | deeper |\n| MATRIX_LR | 0.04 | unchanged | |": "DEPTH=9",
		"Name | Current | Proposed\n--- | --- | ---\nDEPTH | 8 | 9": "DEPTH=9", "| Constant | Change |\n|---|---|\n| DEPTH | 8 → 9 |": "DEPTH=9",
	} {
		a, err := parse("DESCRIPTION: x\nCONSTANTS:\n" + text + "\n")
		if got := strings.TrimPrefix(summary(a), "D:x "); err != nil || got != want {
			t.Errorf("%q: %v\n got %s\nwant %s", text, err, got, want)
		}
	}
	for name, c := range map[string]struct{ reply, want string }{
		"a heading":                {"## Constants\n\nDEPTH = 9\n", "DEPTH=9"},
		"TOML":                     {"```toml\n[constants]\nDEPTH = 9\nWINDOW_PATTERN = 'SL'\n```", `DEPTH=9 WINDOW_PATTERN="SL"`},
		"YAML":                     {"```yaml\ndescription: deeper\nconstants:\n    DEPTH: 9\n    MATRIX_LR: 0.05\n```", "D:deeper DEPTH=9 MATRIX_LR=0.05"},
		"JSON, a trailing comma":   {"{\"description\": \"deeper\", \"constants\": {\"DEPTH\": 9,},}", "D:deeper DEPTH=9"},
		"JSON, comments":           {"```json\n{\n  // why\n  \"constants\": {\"DEPTH\": 9} # one\n}\n```", "DEPTH=9"},
		"Python":                   {"```python\n{'constants': {'DEPTH': 9, 'ADAM_BETAS': (0.9, 0.95), 'FLAG': True,}}\n```", "ADAM_BETAS=[0.9, 0.95] DEPTH=9 FLAG=true"},
		"an object on the line":    {"CONSTANTS: {\"DEPTH\": 9, \"ADAM_BETAS\": (0.9, 0.95)}", "ADAM_BETAS=[0.9, 0.95] DEPTH=9"},
		"labels and JSON":          {"DESCRIPTION: deeper\nCONSTANTS:\n```json\n{\"DEPTH\": 9,}\n```", "D:deeper DEPTH=9"},
		"tags":                     {"<proposal>\n<description>deeper</description>\n<constants>\nDEPTH = 9\n</constants>\n</proposal>", "D:deeper DEPTH=9"},
		"two moves":                {"Change `MATRIX_LR` from 0.04 to 0.05 and `DEPTH` from 8 to 9.", "MATRIX_LR=0.05 DEPTH=9"},
		"what is recommended":      {"| Parameter | Current | Recommended |\n|---|---|---|\n| DEPTH | 8 | 9 |\n", "DEPTH=9"},
		"a cell with a remark":     {"| Constant | Old | New |\n|---|---|---|\n| DEPTH | 4 | 5 |\n| MATRIX_LR | 0.04 | **0.05** (was 0.04) |\n", "DEPTH=5 MATRIX_LR=0.05"},
		"a cell, kept for a fault": {"| Constant | Old | New |\n|---|---|---|\n| DEPTH | 4 | 5 |\n| MATRIX_LR | 0.04 | a bit more |\n", "DEPTH=5 MATRIX_LR=a bit more"},
		"a table without a rule":   {"CONSTANTS:\n| NAME | VALUE |\n| DEPTH | 9 |\n", "DEPTH=9"},
		"a unit, kept for a fault": {"CONSTANTS:\nMATRIX_LR: 0.05\nDEPTH: 9 layers\n", "MATRIX_LR=0.05 DEPTH=9 layers"},
		"a list of JSON":           {`{"constants": [{"name": "DEPTH", "value": 9}, {"name": "MATRIX_LR", "old": 0.04, "new": 0.05}]}`, "DEPTH=9 MATRIX_LR=0.05"},
		"old and new in JSON":      {`{"constants": {"DEPTH": {"old": 8, "new": 9}}}`, "DEPTH=9"},
		"an arrow in JSON":         {`{"constants": {"MATRIX_LR": "0.04 -> 0.05"}}`, `MATRIX_LR="0.05"`},
		"flat JSON":                {`{"DEPTH": 9, "MATRIX_LR": 0.05}`, "DEPTH=9 MATRIX_LR=0.05"},
		"flat JSON in prose":       {"Here:\n{\n  \"DEPTH\": 9\n}\nGood luck", "DEPTH=9"},
		"a dict in lines":          {"CONSTANTS:\n```python\nconfig = {\n    \"DEPTH\": 9,\n}\n```", "DEPTH=9"},
		"a table of new values":    {"I suggest:\n\n| constant | old | new |\n|---|---|---|\n| DEPTH | 8 | 9 |\n", "DEPTH=9"},
		"the description alone":    {"DESCRIPTION: increase MATRIX_LR from 0.04 to 0.05", "D:increase MATRIX_LR from 0.04 to 0.05 MATRIX_LR=0.05"},
		"prose beside":             {"MATRIX_LR = 0.04 currently, do not change\nDEPTH = 9\n", "DEPTH=9"},
		"prose alone":              {"MATRIX_LR = 0.04 currently, do not change", ""},
		"prose with a conjunctive": {"DEPTH = 12 would be too slow here.", ""},
		"a note":                   {"NOTE: this is fine\nTODO: 3 things", ""},
		"a table of what is":       {"| constant | value |\n|---|---|\n| DEPTH | 8 |\n", ""},
		"code":                     {"```python\nif DEPTH == 9:\n    pass\n```", ""},
		"a mention":                {"I looked at DEPTH: it is 8, and at MATRIX_LR, which is 0.04.", ""},
	} {
		a, err := parse(c.reply)
		if (err != nil) != (c.want == "") || err != nil && !errors.Is(err, errProse) || summary(a) != c.want {
			t.Errorf("%s: %v\n got %s\nwant %s", name, err, summary(a), c.want)
		}
	}
	consts := constants([]byte(trainPy))
	for text, want := range map[string]string{
		"MATRIX_LR=0.04 * 1.25": "MATRIX_LR 0.04 -> 0.05", "MATRIX_LR=1/20": "MATRIX_LR 0.04 -> 0.05", "MATRIX_LR=5%": "MATRIX_LR 0.04 -> 0.05", "ADAM_BETAS=0.9, 0.95": "ADAM_BETAS (0.8, 0.95) -> (0.9, 0.95)",
		"TOTAL_BATCH_SIZE=262,144": "TOTAL_BATCH_SIZE 2**19 -> 2**18", "TOTAL_BATCH_SIZE=2**10 * 2**8": "TOTAL_BATCH_SIZE 2**19 -> 2**18", "DEPTH=50%": "", "DEPTH=9, 10": "", "MATRIX_LR=0,05": "",
	} {
		name, value, _ := strings.Cut(text, "=")
		values, err := settings([]setting{{name: name, text: value}}, consts)
		got := ""
		if err == nil {
			to := slices.Clone(consts)
			for i := range to {
				if v, ok := values[to[i].Name]; ok {
					to[i].Value = v
				}
			}
			got = search.Describe(consts, to)
		}
		if got != want {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
	if _, err := settings([]setting{{name: "DEPTH", text: "12"}, {name: "DEPTH", text: "9"}}, consts); err == nil || !strings.Contains(err.Error(), `sets DEPTH to "12" and to "9": give one value`) {
		t.Errorf("%v", err)
	}
	if v, err := settings([]setting{{name: "DEPTH", text: "8"}, {name: "DEPTH", text: "9"}}, consts); err != nil || !v["DEPTH"].Equal(search.IntValue(9)) {
		t.Errorf("%v %v", v, err)
	}
}

// FuzzThoughts proves that nothing that stands within marks of reasoning runs.
func FuzzThoughts(f *testing.F) {
	for _, seed := range []string{"CONSTANTS:\nDEPTH = 12", "DEPTH = 12\n\nFinal answer:\nDEPTH = 10", "{\"DEPTH\": 12}", "Wait, no.", "DESCRIPTION: x\nFILE: train.py", "analysisWe", "Thinking...\n"} {
		f.Add(seed)
	}
	const answer = "DESCRIPTION: only the rate\nCONSTANTS:\nMATRIX_LR = 0.055\n"
	f.Fuzz(func(t *testing.T, thought string) {
		if strings.ContainsAny(thought, "<>[◁▷\x00") || !utf8.ValidString(thought) || len(thought) > 10_000 {
			return // marks of its own
		}
		for _, reply := range []string{"<think>\n" + thought + "\n</think>\n" + answer, thought + "\n</think>\n" + answer, "[THINK]" + thought + "[/THINK]\n" + answer} {
			if a, err := parse(reply); err == nil && summary(a) != "D:only the rate MATRIX_LR=0.055" {
				t.Errorf("%q runs %s", reply, summary(a))
			}
		}
	})
}
