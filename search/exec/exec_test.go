package exec_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"autoresearchd/search"
	_ "autoresearchd/search/evolution"
	"autoresearchd/search/exec"
	"autoresearchd/search/searchtest"
	"autoresearchd/search/simulate"
)

var update = flag.Bool("update", false, "rewrite the transcripts in testdata")

// message is any line that a program is told.
type message struct {
	Type       string
	Protocol   int
	ID         int
	Seed       uint64
	Options    map[string]any
	Trial      int64
	Value      *float64
	Status     string
	Reason     string
	Constants  map[string]json.RawMessage
	Pending    []map[string]json.RawMessage
	Memo       json.RawMessage
	Dimensions []struct {
		Name, Kind, Scale string
		Low, High, Step   json.RawMessage
		Choices           []json.RawMessage
		Start             json.RawMessage
	}
}

// listen calls take with each line that a program reads.
func listen(g *searchtest.Program, take func(m message) (reply string)) error {
	lines := bufio.NewReader(g.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return nil
		}
		var m message
		if err := json.Unmarshal(line, &m); err != nil {
			return fmt.Errorf("read %q: %w", line, err)
		}
		if reply := take(m); reply != "" {
			if _, err := io.WriteString(g.Stdout, reply+"\n"); err != nil {
				return nil
			}
		}
	}
}

// sampler is a small deterministic search: it moves a few constants of the best
// trial that it was told, or of the start.
func sampler(g *searchtest.Program) error {
	var space message
	var best message
	return listen(g, func(m message) string {
		switch m.Type {
		case "hello":
			return `{"protocol": 1, "name": "sampler"}`
		case "space":
			space, best = m, message{}
		case "tell":
			if m.Value != nil && (best.Value == nil || *m.Value < *best.Value) {
				best = m
			}
		case "ask":
			r := rand.New(rand.NewPCG(m.Seed, 1))
			values := map[string]json.RawMessage{}
			for _, d := range space.Dimensions {
				if v, ok := best.Constants[d.Name]; ok && len(d.Choices) == 0 {
					values[d.Name] = v
				}
			}
			for range 3 {
				d := space.Dimensions[r.IntN(len(space.Dimensions))]
				values[d.Name] = d.Start
				if n := len(d.Choices); n > 0 {
					values[d.Name] = d.Choices[r.IntN(n)]
					continue
				}
				var low, high float64
				_ = json.Unmarshal(d.Low, &low)
				_ = json.Unmarshal(d.High, &high)
				x := low + (high-low)*r.Float64()
				if d.Kind == "int" {
					x = float64(int64(x))
				}
				values[d.Name] = fmt.Appendf(nil, "%g", x)
			}
			for name, v := range values { // what is out of range now is left as it is
				for _, d := range space.Dimensions {
					var x, low, high float64
					if d.Name == name && len(d.Choices) == 0 && json.Unmarshal(v, &x) == nil && json.Unmarshal(d.Low, &low) == nil && json.Unmarshal(d.High, &high) == nil && (x < low || x > high) {
						delete(values, name)
					}
				}
			}
			data, _ := json.Marshal(map[string]any{"id": m.ID, "constants": values})
			return string(data)
		}
		return ""
	})
}

func options(o *exec.Options) { o.Command = []string{"./search"} }

// factory makes the strategy with a program, as the daemon would.
func factory(main func(*searchtest.Program) error, change ...func(*exec.Options)) search.Factory {
	return equipped(search.Tools{Start: searchtest.Start(main)}, change...)
}

func equipped(tools search.Tools, change ...func(*exec.Options)) search.Factory {
	return func(env search.Environment) (search.Strategy, error) {
		env.Tools = tools
		env.Table = func(o any) error {
			options(o.(*exec.Options))
			for _, c := range change {
				c(o.(*exec.Options))
			}
			return nil
		}
		return exec.New(env)
	}
}

func TestConformance(t *testing.T) { searchtest.Run(t, factory(sampler)) }

// TestConformanceOfTheFallback has a program that is not to be had.
func TestConformanceOfTheFallback(t *testing.T) {
	searchtest.Run(t, equipped(search.Tools{Start: func(context.Context, search.Command) (search.Process, error) {
		return nil, errors.New("there is no such program")
	}}))
}

func study(t *testing.T, f search.Factory) (*simulate.Study, search.Strategy) {
	t.Helper()
	strategy, err := f(search.Environment{Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(strategy.(search.Closer).Close)
	task := simulate.NewTask(1, 0)
	task.Lines = []simulate.Line{
		{Name: "MATRIX_LR", Text: "0.04", Value: search.FloatValue(0.04)},
		{Name: "ADAM_BETAS", Text: "(0.8, 0.95)", Value: search.TupleValue(search.FloatValue(0.8), search.FloatValue(0.95))},
		{Name: "DEPTH", Text: "8", Value: search.IntValue(8)},
		{Name: "TOTAL_BATCH_SIZE", Text: "2**19", Value: search.IntValue(1 << 19)},
		{Name: "USE_GATES", Text: "False", Value: search.BoolValue(false)},
	}
	task.True = func(v map[string]search.Value) (float64, search.Status) {
		if v["DEPTH"].Whole() > 12 {
			return 0, search.OutOfMemory
		}
		return 1 + v["MATRIX_LR"].Number(), search.Completed
	}
	s, err := simulate.NewStudy(task, strategy, 7)
	if err != nil {
		t.Fatal(err)
	}
	return s, strategy
}

// turn asks and finishes one trial.
func turn(t *testing.T, s *simulate.Study) search.Trial {
	t.Helper()
	trial, err := s.Ask()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Finish(trial, s.Outcome(trial)); err != nil {
		t.Fatal(err)
	}
	return trial
}

// scripted answers asks with lines in turn, "$ID" for the id.
func scripted(answers ...string) func(*searchtest.Program) error {
	return func(g *searchtest.Program) error {
		return listen(g, func(m message) string {
			switch {
			case m.Type == "hello":
				return `{"protocol": 1}`
			case m.Type != "ask":
				return ""
			case len(answers) == 0:
				return fmt.Sprintf(`{"id": %d, "none": "the script is over"}`, m.ID)
			}
			next := answers[0]
			answers = answers[1:]
			return strings.ReplaceAll(next, "$ID", fmt.Sprint(m.ID))
		})
	}
}

// TestConversation holds the protocol, line by line, to testdata: what this
// changes is a new version.
func TestConversation(t *testing.T) {
	var record bytes.Buffer
	answers := scripted(
		`{"id": $ID, "constants": {"MATRIX_LR": 0.02, "ADAM_BETAS[0]": 0.9}, "description": "a first guess", "memo": {"step": 1}}`,
		`{"id": $ID, "constants": {"MATRIX_LR": 0.02, "ADAM_BETAS": [0.9, 0.95]}}`,
		`{"id": $ID, "constants": {"MATRIX_LR": 5, "DEPHT": 9}}`,
		`{"id": $ID, "constants": {"DEPTH": 16, "USE_GATES": true}}`,
		`{"id": $ID, "constants": {"TOTAL_BATCH_SIZE": 262144}}`)
	s, strategy := study(t, factory(func(g *searchtest.Program) error {
		in, out := g.Stdin, g.Stdout
		g.Stdin = io.TeeReader(in, &record)
		g.Stdout = io.MultiWriter(out, &record)
		return answers(g)
	}, func(o *exec.Options) { o.Options = map[string]any{"sampler": "tpe", "n_startup_trials": int64(10)} }))
	s.History.Earlier = []search.Earlier{{Name: "mar8", Done: []search.Result{{
		Trial:   search.Trial{ID: 31, Constants: []search.Constant{{Name: "MATRIX_LR", Value: search.FloatValue(0.03)}}, Proposal: search.Proposal{Strategy: "llm", Description: "a lower rate"}},
		Outcome: search.Outcome{Status: search.Completed, ValBPB: 0.9773}, Decision: search.Decision{Verdict: search.Keep}}}}}
	for range 3 {
		turn(t, s)
	}
	pending, err := s.Ask()
	if err != nil {
		t.Fatal(err)
	}
	s.History.Pending = []search.Trial{pending}
	if _, err := s.Ask(); err != nil {
		t.Fatal(err)
	}
	strategy.(search.Closer).Close()
	const path = "testdata/conversation.txt"
	if *update {
		if err := os.WriteFile(path, record.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := record.String(); got != string(want) {
		t.Errorf("the conversation is not that of %s; it is\n%s", path, got)
	}
}

// TestReadme holds the conversation of scripts/examples/README.md to the
// transcript.
func TestReadme(t *testing.T) {
	transcript, err := os.ReadFile("testdata/conversation.txt")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../scripts/examples/README.md")
	if err != nil {
		t.Fatal(err)
	}
	said := 0
	for _, line := range strings.Split(string(readme), "\n") {
		_, words, ok := strings.Cut(line, " ")
		if !ok || !strings.HasPrefix(line, "→ ") && !strings.HasPrefix(line, "← ") || strings.Contains(words, "[…]") {
			continue
		}
		if said++; !strings.Contains(string(transcript), words+"\n") {
			t.Errorf("nobody says %s", words)
		}
	}
	if said < 15 {
		t.Errorf("it shows %d lines", said)
	}
}

// TestAnswers tells which answers become proposals.
func TestAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		answers []string
		want    string // in the description
		logged  string
	}{
		"snapped":      {[]string{`{"id": $ID, "constants": {"MATRIX_LR": 0.0312345678, "DEPTH": 9.0}}`}, "MATRIX_LR 0.04 -> 0.0312, DEPTH 8 -> 9", ""},
		"words":        {[]string{`{"id": $ID, "constants": {"DEPTH": 9}, "description": " deeper\tand\n\u001b[31mred "}`}, "deeper and [31mred", ""},
		"late repair":  {[]string{`{"id": $ID, "constants": {"MATRIX_LR": 9}}`, `{"id": $ID, "constants": {"NOPE": 9}}`, `{"id": $ID, "constants": {"DEPTH": 9}}`}, "DEPTH 8 -> 9", ""},
		"nothing":      {[]string{`{"id": $ID, "none": "my grid is used up"}`}, "(evolution, not exec: it has nothing to propose: my grid is used up)", ""},
		"the champion": {slicesOf(`{"id": $ID, "constants": {}}`, 8), "(evolution, not exec: it has nothing to propose that has not been tried)", ""},
		"wrong values": {slicesOf(`{"id": $ID, "constants": {"MATRIX_LR": 9}}`, 9), "not exec: set aside, as its constants were refused 3 times: MATRIX_LR = 9.0 is outside 0.004 to 0.4)", "set aside"},
		"prose":        {slicesOf(`I would try a lower rate`, 3), `not exec: it did not answer within 1m0s, and its last line "I would try a lower rate" is no JSON object`, "started anew"},
		"an array":     {slicesOf(`[1, 2]`, 3), `its last line "[1, 2]" is no JSON object`, "started anew"},
		"no JSON":      {slicesOf(`{'id': $ID, 'constants': {'DEPTH': 9}}`, 3), `set aside, as its answer "{'id': 1, 'constants': {'DEPTH': 9}}" is not understood`, "set aside"},
		"log lines":    {[]string{"[I 2026-01-01] a new study\n\n{\"level\": \"info\", \"msg\": \"sampling\"}\n100%|####|\n\ufeff" + `{"id": $ID, "constants": {"DEPTH": 9}}`}, "DEPTH 8 -> 9", "they are passed over"},
		"not finite":   {slicesOf(`{"id": $ID, "constants": {"MATRIX_LR": NaN}}`, 3), `is not understood`, "set aside"},
		"a typo":       {slicesOf(`{"id": $ID, "constant": {"MATRIX_LR": 0.02}}`, 3), `is not understood (json: unknown field "con…`, "set aside"},
		"two objects":  {slicesOf(`{"id": $ID, "constants": {}} {}`, 3), "is not understood", "set aside"},
		"another id":   {slicesOf(`{"id": 77, "constants": {}}`, 3), "it answered ask 77, not 1: an answer repeats the id of its ask", "set aside"},
		"empty object": {slicesOf(`{"id": $ID}`, 3), `its answer has neither "constants" nor "none"`, "set aside"},
		"endless line": {slicesOf(strings.Repeat("x", 2<<20), 3), "its answer is longer than 1048576 bytes", "set aside"},
		"one mistake":  {[]string{`{oops`, `{"id": $ID, "constants": {"DEPTH": 9}}`}, "DEPTH 8 -> 9", "started anew"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { answered(t, test.answers, test.want, test.logged) })
		})
	}
}

func answered(t *testing.T, answers []string, want, logged string) {
	var log bytes.Buffer
	s, _ := study(t, equipped(search.Tools{Start: searchtest.Start(scripted(answers...)), Log: slog.New(slog.NewTextHandler(&log, nil))}))
	trial := turn(t, s)
	if !strings.Contains(trial.Proposal.Description, want) {
		t.Errorf("described as %q, want %s", trial.Proposal.Description, want)
	}
	if !strings.Contains(log.String(), logged) || (log.Len() > 0) != (logged != "") {
		t.Errorf("logged %q, want %q", log.String(), logged)
	}
}

func slicesOf(s string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = s
	}
	return out
}

// TestRestart has programs that die and hang now and then: the study is the
// one that it would have been.
func TestRestart(t *testing.T) {
	proposals := func(main func(*searchtest.Program) error, change ...func(*exec.Options)) []string {
		s, _ := study(t, factory(main, change...))
		var out []string
		for range 12 {
			out = append(out, turn(t, s).Proposal.Description)
		}
		return out
	}
	want := proposals(sampler)
	starts := 0
	got := proposals(func(g *searchtest.Program) error {
		starts++
		asks := 0
		in := g.Stdin
		r, w := io.Pipe()
		go func() {
			lines := bufio.NewScanner(in)
			lines.Buffer(nil, 1<<20)
			for lines.Scan() {
				if strings.Contains(lines.Text(), `"type":"ask"`) {
					if asks++; asks == 3 {
						fmt.Fprintln(g.Stderr, "Segmentation fault")
						break
					}
				}
				fmt.Fprintln(w, lines.Text())
			}
			w.Close()
		}()
		g.Stdin = r
		return sampler(g)
	})
	if !reflect.DeepEqual(got, want) || starts != 6 {
		t.Errorf("with %d starts:\n%s\nwithout:\n%s", starts, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestHang ends a program that does not answer, and one that does not read.
func TestHang(t *testing.T) {
	for name, main := range map[string]func(*searchtest.Program) error{
		"silent":      func(g *searchtest.Program) error { return listen(g, func(message) string { return "" }) },
		"after hello": scriptedThenSilent,
		"deaf":        func(g *searchtest.Program) error { <-g.Killed; return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := study(t, factory(main, func(o *exec.Options) { o.Deadline, o.Faults = 100*time.Millisecond, 2 }))
				for i, want := range []string{"(evolution, not exec: it did not answer within 100ms: does it flush", "not exec: set aside, as it did not answer within 100ms: does it flush", "not exec: set aside"} {
					if p := turn(t, s).Proposal; !strings.Contains(p.Description, want) || p.Strategy != "evolution" {
						t.Errorf("proposal %d of %s: %s", i, p.Strategy, p.Description)
					}
				}
			})
		})
	}
}

func scriptedThenSilent(g *searchtest.Program) error {
	return listen(g, func(m message) string {
		if m.Type == "hello" {
			return `{"protocol": 1}`
		}
		return ""
	})
}

func TestAnotherProtocolIsSetAsideAtOnce(t *testing.T) {
	starts := 0
	s, _ := study(t, factory(func(g *searchtest.Program) error {
		starts++
		return listen(g, func(message) string { return `{"protocol": 2}` })
	}))
	for range 2 {
		if p := turn(t, s).Proposal; !strings.Contains(p.Description, "set aside, as it speaks another protocol: version 2, and this is version 1") {
			t.Error(p.Description)
		}
	}
	if starts != 1 {
		t.Errorf("%d starts", starts)
	}
}

// TestDeathIsExplained names how the program ended and the last that it said.
func TestDeathIsExplained(t *testing.T) {
	s, _ := study(t, factory(func(g *searchtest.Program) error {
		fmt.Fprintln(g.Stderr, "Traceback (most recent call last):\nModuleNotFoundError: No module named 'optuna'")
		return errors.New("exit status 1")
	}))
	want := "(evolution, not exec: set aside, as it ended: exit status 1: ModuleNotFoundError: No module named 'optuna')"
	if p := turn(t, s).Proposal; !strings.HasSuffix(p.Description, want) {
		t.Error(p.Description)
	}
}

// TestCancelledInMidAsk ends the program, which the next ask starts anew
// without holding it against it.
func TestCancelledInMidAsk(t *testing.T) {
	asked := make(chan struct{}, 1)
	starts := 0
	s, strategy := study(t, factory(func(g *searchtest.Program) error {
		if starts++; starts > 1 {
			return sampler(g)
		}
		return listen(g, func(m message) string {
			if m.Type == "hello" {
				return `{"protocol": 1}`
			}
			if m.Type == "ask" {
				asked <- struct{}{}
			}
			return ""
		})
	}, func(o *exec.Options) { o.Faults = 1 }))
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-asked
		cancel()
	}()
	if _, err := strategy.Ask(ctx, s.History); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if p := turn(t, s).Proposal; p.Strategy != exec.Name {
		t.Errorf("then %s proposed %s", p.Strategy, p.Description)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, test := range []struct {
		change func(*exec.Options)
		want   string
	}{
		{func(o *exec.Options) {}, "search.exec.command is empty"},
		{func(o *exec.Options) { options(o); o.Deadline = 0 }, `search.exec.deadline = "0s": use 100ms or more`},
		{func(o *exec.Options) { options(o); o.Faults = 0 }, "search.exec.faults = 0"},
		{func(o *exec.Options) { options(o); o.Fallback = "agent" }, `search.exec.fallback = "agent": name a strategy that needs no program`},
		{func(o *exec.Options) { options(o); o.Fallback = "evolutoin" }, `search.exec.fallback: unknown strategy "evolutoin": known are`},
	} {
		_, err := exec.New(search.Environment{Seed: 1, Table: func(o any) error { test.change(o.(*exec.Options)); return nil }})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want %s", err, test.want)
		}
	}
	if toml := search.Default.TOML(exec.Name); !strings.Contains(toml, `deadline = "1m"`) || !strings.Contains(toml, "options = { }") {
		t.Error(toml)
	}
}
