package main

import (
	"encoding/json"
	"fmt"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"autoresearchd/search"
	"autoresearchd/search/simulate"
)

// simulated runs `simulate` in an empty folder.
func simulated(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	dir := t.TempDir()
	s := &fixture{t: t, dir: dir}
	s.write("autoresearch.toml", "[search.random]\nchange = 1\n[http]\nlisten = \"\"\n")
	return s.cli(append([]string{"simulate"}, args...)...)
}

type simulatedTrial struct {
	Trial      int64                   `json:"trial"`
	Constants  map[string]search.Value `json:"constants"`
	Value      *float64                `json:"value"`
	Status     search.Status           `json:"status"`
	Strategy   string                  `json:"strategy"`
	AskSeconds *float64                `json:"ask_seconds"`
	Detail     string                  `json:"detail"`
	Instead    string                  `json:"instead"`
}

func decodeLines[T any](t *testing.T, text string) []T {
	t.Helper()
	var all []T
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	for d.More() {
		var one T
		must(t, d.Decode(&one))
		all = append(all, one)
	}
	return all
}

const axes = `{"MATRIX_LR": {"low": 0.005, "high": 0.2, "log": true, "start": 0.04}, "DEPTH": {"low": 4, "high": 24, "integer": true, "start": 8}, "PATTERN": {"choices": ["SSSL", "LLLL"], "start": "SSSL"}}`

// TestSimulateEveryStrategy plays a study of each strategy that needs no program.
func TestSimulateEveryStrategy(t *testing.T) {
	t.Parallel()
	for _, name := range search.Default.Names() {
		if name == "exec" || name == "agent" || name == "llm" {
			continue // TestSimulateStrategyProgram, TestSimulateModelledLLM
		}
		out, fault, code := simulated(t, "--strategy", name, "--trials", "15", "--seed", "3", "--json")
		trials := decodeLines[simulatedTrial](t, out)
		if code != 0 || fault != "" || len(trials) != 15 {
			t.Fatalf("%s: status %d, %d trials\n%s", name, code, len(trials), fault)
		}
		for i, r := range trials {
			if r.Trial != int64(i+1) || r.AskSeconds == nil || (r.Value == nil) == (r.Status == search.Completed) || r.Strategy == "" || len(r.Constants) != 15 {
				t.Errorf("%s: trial %d: %+v", name, i+1, r)
			}
		}
		if first := trials[0]; first.Strategy != "baseline" || first.Constants["DEPTH"].Whole() != 8 {
			t.Errorf("%s begins with %+v", name, first)
		}
	}
}

func TestSimulateStrategyProgram(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := &fixture{t: t, dir: dir}
	s.write("autoresearch.toml", "[http]\nlisten = \"\"\n[search.exec]\ncommand = [\"./search.sh\"]\n")
	s.write("search.sh", `#!/bin/sh
n=0
while read -r line; do
	case $line in
	*'"hello"'*) echo '{"protocol": 1}' ;;
	*'"ask"'*) n=$((n + 1)); echo "{\"id\": $n, \"constants\": {\"MATRIX_LR\": 0.05$n}}" ;;
	esac
done
`)
	must(t, os.Chmod(filepath.Join(dir, "search.sh"), 0o755))
	out := s.ok("simulate", "--strategy", "exec", "--trials", "4", "--json")
	if trials := decodeLines[simulatedTrial](t, out); len(trials) != 4 || trials[3].Strategy != "exec" || trials[3].Constants["MATRIX_LR"].Number() != 0.053 {
		t.Errorf("got %s", out)
	}
}

// TestSimulateProgram has the program itself as the objective: it describes a
// task of its own, and serves it.
func TestSimulateProgram(t *testing.T) {
	t.Parallel()
	out, _, code := simulated(t, "--task", "cpu", "--seed", "2", "--describe")
	var told struct {
		Space                 json.RawMessage
		Best, Middling, Noise float64
	}
	must(t, json.Unmarshal([]byte(out), &told))
	if code != 0 || !(told.Best < told.Middling) {
		t.Fatalf("status %d, %s", code, out)
	}
	space := filepath.Join(t.TempDir(), "space.json")
	must(t, os.WriteFile(space, told.Space, 0o644))
	command := fmt.Sprintf("%s simulate --task cpu --seed 2 --serve", os.Args[0])
	args := []string{"--strategy", "evolution", "--trials", "25", "--seed", "4", "--space", space, "--exec", command, "--json"}
	out, fault, code := simulated(t, args...)
	trials := decodeLines[simulatedTrial](t, out)
	if code != 0 || len(trials) != 25 {
		t.Fatalf("status %d, %d trials\n%s", code, len(trials), fault)
	}
	best := *trials[0].Value
	for _, r := range trials {
		if r.Value != nil {
			best = min(best, *r.Value)
		}
	}
	if best >= *trials[0].Value || best < told.Best-5*told.Noise {
		t.Errorf("from %g to %g; the lowest is %g", *trials[0].Value, best, told.Best)
	}
	for i := range trials {
		trials[i].AskSeconds = nil
	}
	again, _, _ := simulated(t, args...)
	for i, r := range decodeLines[simulatedTrial](t, again) {
		if r.AskSeconds = nil; fmt.Sprint(r.Constants) != fmt.Sprint(trials[i].Constants) || r.Status != trials[i].Status {
			t.Fatalf("the same seed: trial %d was %+v, then %+v", i+1, trials[i], r)
		}
	}
}

// TestSimulateBrokenProgram says in one line what is wrong with a program that
// never gives a value, and leaves nothing of it behind.
func TestSimulateBrokenProgram(t *testing.T) {
	t.Parallel()
	space := filepath.Join(t.TempDir(), "space.json")
	must(t, os.WriteFile(space, []byte(axes), 0o644))
	const count = `n=0; while read x; do n=$((n+1)); %s; done`
	for command, want := range map[string]string{
		"exit 3":                                                         "gave no value for 3 trials in a row; the last, trial 3: it ended with exit status 3 instead of answering",
		"exec sleep 1000 3<>" + space + "; #":                            "has not answered for 1s (--timeout)",
		"echo hello; sleep 1000":                                         `has not answered for 1s (--timeout): it said "hello"`,
		"echo no such objective >&2; exit 1":                             `ended with exit status 1 instead of answering: it said "no such objective"`,
		"/nowhere/objective":                                             "ended with exit status 127",
		"exec 1>&-; sleep 1000":                                          "closed its output instead of answering",
		`echo '{"id": 77, "value": 1}'; cat`:                             "its id is 77, not 3",
		`echo '{"value": 1}'; cat`:                                       "it has no id: it must be a line",
		`echo null; cat`:                                                 `it answered "null": it must be a line {"id": 3, "value": 0.98}`,
		`echo 0.98; cat`:                                                 `it answered "0.98": it must be a line`,
		`echo "{'id': 1, 'value': 1}"; cat`:                              "it must be a line",
		fmt.Sprintf(count, `echo "{\"id\": $n}"`):                        "it has neither a value nor a status",
		fmt.Sprintf(count, `echo "{\"id\": $n, \"value\": NaN}"`):        "none of its 5 trials has a value, the last: diverged: its value is NaN",
		fmt.Sprintf(count, `echo "{\"id\": $n, \"value\": \"0.98\"}"`):   `its value is "0.98", which is no number`,
		fmt.Sprintf(count, `echo "{\"id\": $n, \"status\": \"bored\"}"`): `status "bored" is not known`,
		fmt.Sprintf(count, `echo "{\"id\": $n, \"value\": 1, \"status\": \"x\"}"`): "give one",
		fmt.Sprintf(count, `echo "{\"id\": $n, \"status\": \"out of memory\"}"`):   "none of its 5 trials has a value, the last: out of memory",
	} {
		timeout := time.Minute
		if strings.Contains(want, "--timeout") {
			timeout = time.Second
		}
		for {
			_, fault, code := simulated(t, "--strategy", "random", "--trials", "5", "--space", space, "--exec", command, "--timeout", timeout.String(), "--json")
			if code == 1 && strings.Contains(fault, strings.ReplaceAll(want, "for 1s", "for "+timeout.String())) && strings.Count(fault, "\n") == 1 {
				break
			}
			if timeout *= 4; timeout > time.Minute { // a loaded machine may have been too slow for less
				t.Errorf("%s: status %d, %s; want %q", command, code, fault, want)
				break
			}
		}
	}
}

// TestSimulateFailedTrial has a program fail at trial 3 in each of the ways that
// there are: the trial has failed, with the reason, and the study goes on.
func TestSimulateFailedTrial(t *testing.T) {
	dir := t.TempDir()
	space := filepath.Join(dir, "space.json")
	must(t, os.WriteFile(space, []byte(axes), 0o644))
	for name, test := range map[string]struct {
		say, detail string
		status      search.Status
	}{
		"null line":    {`echo null`, `it answered "null"`, search.Crashed},
		"null value":   {`echo "{\"id\": $n, \"value\": null}"`, "neither a value nor a status", search.Crashed},
		"null, status": {`echo "{\"id\": $n, \"value\": null, \"status\": \"timed out\"}"`, "", search.TimedOut},
		"NaN":          {`echo "{\"id\": $n, \"value\": NaN}"`, "its value is NaN", search.Diverged},
		"infinite":     {`echo "{\"id\": $n, \"value\": -Infinity}"`, "its value is -Infinity", search.Diverged},
		"too large":    {`echo "{\"id\": $n, \"value\": 1e999}"`, "1e999, which is no number", search.Crashed},
		"text":         {`echo "{\"id\": $n, \"value\": \"0.98\"}"`, "which is no number", search.Crashed},
		"dict":         {`echo "{'id': $n, 'value': 0.98}"`, "it must be a line", search.Crashed},
		"another id":   {`echo "{\"id\": 2, \"value\": 1}"`, "its id is 2, not 3", search.Crashed},
		"end":          {`echo "KeyError: 'DEPTH'" >&2; exit 1`, `ended with exit status 1 instead of answering: it said "KeyError: 'DEPTH'"`, search.Crashed},
		"hang":         {`sleep 1000`, "has not answered for 8s (--timeout)", search.TimedOut},
		"log instead":  {`echo "epoch 3"`, "it said \"epoch 3\"", search.TimedOut},
		// These cost nothing.
		"log, then the answer": {`echo; echo "epoch 3: loss 2.5"; echo "[1/3] {"; echo "{\"level\": \"info\"}"; echo "{\"id\": $n, \"value\": 1.5}"`, "", search.Completed},
		"answer, then a log":   {`echo "{\"id\": $n, \"value\": 1.5}"; echo "saved"`, "", search.Completed},
		"more keys":            {`echo "{\"id\": $n.0, \"value\": 1.5, \"status\": null, \"loss\": NaN, \"note\": \"NaN\"}"`, "", search.Completed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			command := filepath.Join(t.TempDir(), "objective.sh")
			must(t, os.WriteFile(command, []byte(`while read -r line; do
	n=${line#*'"id":'}; n=${n%%,*}
	if [ "$n" = 3 ]; then `+test.say+`; else echo "{\"id\": $n, \"value\": 2.$n}"; fi
done
`), 0o644))
			timeout := "1m"
			if test.status == search.TimedOut {
				timeout = "8s"
			}
			out, fault, code := simulated(t, "--strategy", "random", "--trials", "6", "--space", space, "--exec", "sh "+command, "--timeout", timeout, "--json")
			trials := decodeLines[simulatedTrial](t, out)
			if code != 0 || len(trials) != 6 {
				t.Fatalf("status %d, %d trials\n%s", code, len(trials), fault)
			}
			for i, r := range trials {
				if i == 2 {
					if r.Status != test.status || !strings.Contains(r.Detail, test.detail) || (r.Detail == "") != (test.detail == "") || (r.Value != nil) != (r.Status == search.Completed) {
						t.Errorf("trial 3: %s, %q; want %s, %q", r.Status, r.Detail, test.status, test.detail)
					}
				} else if r.Status != search.Completed || *r.Value < 2 || r.Detail != "" {
					t.Errorf("trial %d: %+v", i+1, r)
				}
			}
			if told := strings.Contains(fault, "1 of 6 trials failed, as the program of --exec did not give a value; the last: it"); told != (test.detail != "") {
				t.Errorf("standard error: %s", fault)
			}
		})
	}
}

// TestSimulateFallback never shows a fallback's figures under a strategy's name
// without a word: who proposed, how often and why.
func TestSimulateFallback(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		program, why string
		own          int // of 11 proposals
	}{
		"not to be found": {"", "there is no such program", 0},
		"ends at once":    {"echo 'no module named optuna' >&2; exit 1", "it ended: exit status 1: no module named optuna", 0},
		"prose":           {"echo '{oops'; cat", `its answer "{oops" is not understood`, 0},
		"unknown name":    {`read x; echo '{"protocol": 1}'; n=0; while read x; do case $x in *'"ask"'*) n=$((n+1)); echo "{\"id\": $n, \"constants\": {\"DEPHT\": 9}}";; esac; done`, "DEPHT is no constant of train.py", 0},
		"silent":          {"echo 'my optimiser 1.0'; exec sleep 1000", "it did not answer within 500ms", 0},
		"gives up":        {`read x; echo '{"protocol": 1}'; n=0; while read x; do case $x in *'"ask"'*) n=$((n+1)); if [ $n -gt 4 ]; then echo "{\"id\": $n, \"none\": \"no more\"}"; else echo "{\"id\": $n, \"constants\": {\"MATRIX_LR\": 0.05$n}}"; fi;; esac; done`, "it has nothing to propose: no more", 4},
		"greeting":        {`echo 'my optimiser 1.0'; read x; echo '{"protocol": 1}'; n=0; while read x; do case $x in *'"ask"'*) n=$((n+1)); echo "{\"id\": $n, \"constants\": {\"MATRIX_LR\": 0.05$n}}";; esac; done`, "", 11},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := &fixture{t: t, dir: dir}
			s.write("autoresearch.toml", "[http]\nlisten = \"\"\n[search.exec]\ncommand = [\"./search.sh\"]\n")
			if name == "silent" {
				s.write("autoresearch.toml", "[http]\nlisten = \"\"\n[search.exec]\ncommand = [\"./search.sh\"]\ndeadline = \"500ms\"\n")
			}
			if test.program != "" {
				s.write("search.sh", "#!/bin/sh\n"+test.program+"\n")
				must(t, os.Chmod(filepath.Join(dir, "search.sh"), 0o755))
			}
			want := 0
			if test.own == 0 {
				want = 1
			}
			stood := 11 - test.own
			out, fault, code := s.cli("simulate", "--strategy", "exec", "--trials", "12", "--json")
			mine, theirs := 0, 0
			for _, r := range decodeLines[simulatedTrial](t, out) {
				switch {
				case r.Strategy == "exec" && r.Instead == "":
					mine++
				case r.Strategy == "evolution" && strings.HasPrefix(r.Instead, "exec: ") && strings.Contains(r.Instead, test.why):
					theirs++
				}
			}
			if code != want || mine != test.own || theirs != stood || want == 1 && !strings.Contains(fault, "exec proposed nothing itself in 1 of 1 studies: what stands under its name is evolution in place of exec: ") {
				t.Errorf("status %d, %d of its own, %d of evolution's\n%s%s", code, mine, theirs, out, fault)
			}
			out, fault, code = s.cli("simulate", "--strategy", "exec,evolution", "--trials", "12", "--seeds", "2", "--task", "hopper")
			const note = " of 22 proposals are of evolution in place of exec: "
			if code != want || strings.Contains(out, "\nexec* ") != (stood > 0) || strings.Contains(out, note) != (stood > 0) || !strings.Contains(out, test.why) || want == 1 && !strings.Contains(fault, "in 2 of 2 studies") || !strings.Contains(out, "\nevolution ") {
				t.Errorf("status %d\n%s%s", code, out, fault)
			}
		})
	}
}

func TestSimulateComparison(t *testing.T) {
	t.Parallel()
	picture := filepath.Join(t.TempDir(), "regret.png")
	out, fault, code := simulated(t, "--strategy", "random,evolution", "--seeds", "3", "--trials", "60", "--task", "hopper,ackley", "-o", picture)
	for _, want := range []string{"\nhopper\nstrategy ", "\nackley\n", "\nall 2 tasks\n", "25 trials", "50 trials", "60 trials", "\nevolution ", " ± "} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if code != 0 {
		t.Fatalf("status %d: %s", code, fault)
	}
	f, err := os.Open(picture)
	must(t, err)
	defer f.Close()
	if p, err := png.Decode(f); err != nil || p.Bounds().Dx() != 1600 {
		t.Errorf("the picture: %v", err)
	}
	args := []string{"--strategy", "evolution", "--seeds", "3", "--trials", "10", "--json"}
	one, _, _ := simulated(t, append(args, "--jobs", "1")...)
	many, _, _ := simulated(t, append(args, "--jobs", "3")...)
	type line struct {
		Task, Strategy string
		Seed           uint64
		Regret         []float64
		Failed         float64
		Ask            float64 `json:"ask_seconds"`
		Shares         map[string]float64
	}
	a, b := decodeLines[line](t, one), decodeLines[line](t, many)
	for i := range a {
		a[i].Ask, b[i].Ask = 0, 0
	}
	if len(a) != 3 || len(a[0].Regret) != 10 || a[0].Shares["baseline"] != 0.1 || fmt.Sprint(a) != fmt.Sprint(b) {
		t.Errorf("one at a time\n%s, three at once\n%s", one, many)
	}
}

func TestSimulateTable(t *testing.T) {
	t.Parallel()
	table := filepath.Join(t.TempDir(), "table.json")
	must(t, os.WriteFile(table, []byte(`[{"constants": {"DEPTH": 4, "LR": 0.1}, "value": -3}, {"constants": {"DEPTH": 8, "LR": 0.1}, "value": -7},
		{"constants": {"DEPTH": 8, "LR": 1}, "status": "out of memory"}]`), 0o644))
	out, fault, code := simulated(t, "--table", table, "--strategy", "evolution")
	if code != 0 || !strings.Contains(fault, "the table has 75 % of all combinations") || !strings.Contains(fault, "the study ends after 4 trials") || !strings.Contains(out, "out of memory") {
		t.Errorf("status %d\n%s%s", code, out, fault)
	}
}

func TestSimulateRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	space := filepath.Join(dir, "space.json")
	must(t, os.WriteFile(space, []byte(`{"A": {"low": 1}}`), 0o644))
	for _, test := range []struct {
		want string
		args []string
	}{
		{`unknown strategy "best"`, []string{"--strategy", "best"}},
		{`unknown task "moon": known are ackley, code, cpu,`, []string{"--task", "moon"}},
		{`unknown judge rule "fair"`, []string{"--judge", "fair"}},
		{"--space and --exec belong together", []string{"--space", space}},
		{"--space and --exec belong together", []string{"--exec", "cat"}},
		{"give one of --task", []string{"--task", "cpu", "--table", "x.json"}},
		{"no such file", []string{"--table", "x.json"}},
		{`A: it has no "start"`, []string{"--space", space, "--exec", "cat"}},
		{"give positive numbers", []string{"--trials", "0"}},
		{"--strategy llm has no model here: give --modelled-llm", []string{"--strategy", "llm"}},
		{"are about one built-in task", []string{"--serve", "--task", "cpu,hopper"}},
	} {
		if out, fault, code := simulated(t, append(test.args, "--json")...); code != 2 || !strings.Contains(fault, test.want) || out != "" {
			t.Errorf("%q: status %d, %s; want %q", test.args, code, fault, test.want)
		}
	}
	out, _, code := simulated(t, "--task", "list")
	if code != 0 || !strings.Contains(out, "rosenbrock   Rosenbrock's valley") {
		t.Errorf("status %d, %s", code, out)
	}
}

// TestSimulateModelledLLM has a modelled language model answer the llm strategy.
func TestSimulateModelledLLM(t *testing.T) {
	t.Parallel()
	out, fault, code := simulated(t, "--strategy", "llm", "--modelled-llm", "1", "--trials", "12", "--task", "code", "--json")
	by := map[string]int{}
	for _, r := range decodeLines[simulatedTrial](t, out) {
		by[r.Strategy]++
	}
	if code != 0 || by["llm"] != 11 {
		t.Errorf("status %d, proposed by %v\n%s", code, by, fault)
	}
	if _, fault, code := simulated(t, "--modelled-llm", "3"); code == 0 || !strings.Contains(fault, "a quality from 0 to 1, not 3") {
		t.Errorf("status %d, %s", code, fault)
	}
}

// TestSimulatePending has several trials run at once: those that take longer are
// decided later, and none is lost.
func TestSimulatePending(t *testing.T) {
	t.Parallel()
	ids := func(args ...string) (out []int64) {
		text, fault, code := simulated(t, append([]string{"--strategy", "random", "--trials", "20", "--seed", "3", "--json"}, args...)...)
		if code != 0 || fault != "" {
			t.Fatalf("%q: status %d\n%s", args, code, fault)
		}
		for _, r := range decodeLines[simulatedTrial](t, text) {
			out = append(out, r.Trial)
		}
		return out
	}
	if got := ids("--pending", "4", "--stale", "drop"); len(got) != 20 || !slices.IsSorted(got) {
		t.Errorf("four that take the same time: %v", got)
	}
	if got := ids("--pending", "4", "--drawn"); slices.IsSorted(got) || len(slices.Compact(slices.Sorted(slices.Values(got)))) != 20 {
		t.Errorf("four that do not: %v", got)
	}
	for _, args := range [][]string{{"--pending", "0"}, {"--stale", "forget"}} {
		if _, fault, code := simulated(t, args...); code != 2 || !strings.Contains(fault, "one of keep, rebase, drop") {
			t.Errorf("%q: status %d\n%s", args, code, fault)
		}
	}
}

// FuzzUnderstand: a line is an answer or a fault, never both; a value is a number.
func FuzzUnderstand(f *testing.F) {
	for _, seed := range []string{`{"id": 7, "value": 0.98}`, `{"id": 7, "status": "out of memory"}`, `{"id": 7, "value": NaN}`, `{"id": 7.0, "value": "NaN", "x": "\"NaN"}`,
		"0.98", "None", "loss 2.5", `{"id": 8, "value": 1}`, `{"id": 7, "value": 1e400}`, "{}", `{"id": 7, "value": null, "status": null}`, "\ufeff{\"id\": 7, \"value\": -Infinity}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		m, meant, f := understand(line, 7)
		switch {
		case f != nil && f.why == "":
			t.Errorf("%q: a fault without words", line)
		case meant && f == nil && m.Status != search.Completed && m.Status != search.Diverged && !simulate.Failure(m.Status):
			t.Errorf("%q has the status %q", line, m.Status)
		case meant && f == nil && m.Status == search.Completed && (math.IsNaN(m.Value) || math.IsInf(m.Value, 0)):
			t.Errorf("%q has the value %v", line, m.Value)
		}
	})
}

// FuzzAssignments: what --set takes is a name with a value that the study can
// keep as JSON.
func FuzzAssignments(f *testing.F) {
	for _, seed := range []string{"MATRIX_LR=0.05", "DEPTH = 2**3", "PATTERN=SSSL", `P="a=b"`, "B=(0.8, .95,)", "=1", "X=", "X=-2**63", "X=a\x00b", "Ä=é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, set string) {
		values, err := assignments([]string{set})
		if err != nil {
			return
		}
		for name, v := range values {
			text, err := json.Marshal(map[string]search.Value{name: v})
			var again map[string]search.Value
			if err != nil || json.Unmarshal(text, &again) != nil || len(again) != 1 || v.Kind() == search.None {
				t.Errorf("%q sets %s to %s: %s, %v", set, name, v, text, err)
			}
		}
	})
}
