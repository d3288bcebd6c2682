package external_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"autoresearchd/search"
	agentstrategy "autoresearchd/search/agent"
	_ "autoresearchd/search/evolution"
	execstrategy "autoresearchd/search/exec"
	"autoresearchd/search/simulate"
)

func example(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../scripts/examples", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// python is the interpreter that builds embed.
func python(t *testing.T) string {
	t.Helper()
	p := os.Getenv("AUTORESEARCH_PYTHON")
	if p == "" {
		t.Fatal("AUTORESEARCH_PYTHON is not set: run tests through scripts/go.sh")
	}
	return p
}

// external strategy with real programs.
func strategy(t *testing.T, factory search.Factory, table func(any) error, tools search.Tools, log *bytes.Buffer) search.Strategy {
	t.Helper()
	tools.Log = slog.New(slog.NewTextHandler(log, nil))
	s, err := factory(search.Environment{Seed: 7, Table: table, Tools: tools})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.(search.Closer).Close)
	return s
}

func execFactory(t *testing.T, log *bytes.Buffer, start func(context.Context, search.Command) (search.Process, error), o execstrategy.Options) search.Factory {
	return func(search.Environment) (search.Strategy, error) {
		return strategy(t, execstrategy.New, func(to any) error { *to.(*execstrategy.Options) = o; return nil }, search.Tools{Start: start}, log), nil
	}
}

// TestExecWithARealProgram runs a study of the example, which is killed now and
// then, as any program may be.
func TestExecWithARealProgram(t *testing.T) {
	var log bytes.Buffer
	o := execstrategy.Defaults()
	o.Command = []string{python(t), example(t, "random_search.py")}
	run := func(deadly bool) []string {
		options := options(t)
		p := programs(t, options)
		var current search.Process
		start := func(ctx context.Context, c search.Command) (search.Process, error) {
			var err error
			current, err = p.Start(ctx, c)
			return current, err
		}
		factory := execFactory(t, &log, start, o)
		s, err := factory(search.Environment{Seed: 7})
		if err != nil {
			t.Fatal(err)
		}
		study, err := simulate.NewStudy(simulate.NewTask(3, 5e-4), s, 1)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for n := range 25 {
			trial, err := study.Ask()
			if err != nil {
				t.Fatal(err)
			}
			if trial.Proposal.Strategy != execstrategy.Name {
				t.Errorf("%s proposed: %s", trial.Proposal.Strategy, trial.Proposal.Description)
			}
			out = append(out, trial.Proposal.Description)
			if err := study.Finish(trial, study.Outcome(trial)); err != nil {
				t.Fatal(err)
			}
			if deadly && n%8 == 5 {
				current.Kill()
			}
		}
		s.(search.Closer).Close()
		empty(t, options.Dir)
		return out
	}
	quiet := run(false)
	if log.Len() > 0 {
		t.Errorf("logged %s", log.String())
	}
	if deadly := run(true); !reflect.DeepEqual(quiet, deadly) {
		t.Errorf("proposed\n%s\nand with deaths\n%s", strings.Join(quiet, "\n"), strings.Join(deadly, "\n"))
	}
	if n := strings.Count(log.String(), "started anew"); n != 3 {
		t.Errorf("%d new starts are logged: %s", n, log.String())
	}
}

// TestExecSurvivesBadPrograms has real programs that hang, flood and fork.
func TestExecSurvivesBadPrograms(t *testing.T) {
	for name, test := range map[string]struct{ script, want string }{
		"hang":         {`trap '' TERM; read x; while :; do read x; done; exec sleep 600`, "set aside, as it did not answer within 1s"},
		"flood":        {`read x; exec tr '\0' x </dev/zero`, "set aside, as its answer is longer than 1048576 bytes"},
		"prose":        {`yes 'Sure! Here is a proposal.'`, `set aside, as it wrote 10000 lines that are no answer, the last "Sure! Here is a proposal."`},
		"double fork":  {`(setsid sleep 600 &); exit 0`, "set aside, as it ended"},
		"missing":      {`exec /nowhere/python3 search.py`, "set aside, as it ended: exit status 127: "},
		"closed input": {`exec <&-; sleep 600`, "set aside, as it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			options := options(t)
			o := execstrategy.Defaults()
			o.Command, o.Deadline, o.Faults = []string{"/bin/sh", "-c", test.script}, time.Second, 1
			if name == "flood" || name == "double fork" || name == "missing" || name == "prose" {
				o.Deadline = soon
			}
			s, err := execFactory(t, &log, programs(t, options).Start, o)(search.Environment{Seed: 7})
			if err != nil {
				t.Fatal(err)
			}
			study, err := simulate.NewStudy(simulate.NewTask(3, 0), s, 1)
			if err != nil {
				t.Fatal(err)
			}
			trial, err := study.Ask()
			if err != nil || trial.Proposal.Strategy != "evolution" || !strings.Contains(trial.Proposal.Description, test.want) {
				t.Errorf("%s, %v", trial.Proposal.Description, err)
			}
			empty(t, options.Dir)
		})
	}
}

// TestOptuna runs the adapter on a simulated study with failures.
func TestOptuna(t *testing.T) {
	if out, err := exec.Command("../../scripts/test_tools.sh").CombinedOutput(); err != nil {
		t.Fatalf("install optuna: %v\n%s", err, out)
	}
	var log bytes.Buffer
	o := execstrategy.Defaults()
	interpreter, err := filepath.Abs("../../.build/optuna/bin/python")
	if err != nil {
		t.Fatal(err)
	}
	o.Command = []string{interpreter, example(t, "optuna/optuna_search.py")}
	factory := execFactory(t, &log, programs(t, options(t)).Start, o)
	task := simulate.NewTask(1, 5e-4)
	s, err := factory(search.Environment{Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	study, err := simulate.NewStudy(task, s, 1)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 60 {
		p, err := s.Ask(context.Background(), study.History)
		if err != nil {
			t.Fatal(err)
		}
		if p.Strategy != execstrategy.Name {
			t.Fatalf("%s proposed: %s", p.Strategy, p.Description)
		}
		if n == 40 { // a new daemon goes on as this one
			again, err := factory(search.Environment{Seed: 7})
			if err != nil {
				t.Fatal(err)
			}
			q, err := again.Ask(context.Background(), study.History)
			if err != nil || !reflect.DeepEqual(p, q) {
				t.Errorf("proposed %v, and after a restart %v, %v", p.Values, q.Values, err)
			}
			again.(search.Closer).Close()
		}
		trial, err := study.Admit(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := study.Finish(trial, study.Outcome(trial)); err != nil {
			t.Fatal(err)
		}
	}
	if log.Len() > 0 {
		t.Errorf("logged %s", log.String())
	}
	first, last := study.Best[0], study.Best[len(study.Best)-1]
	if !(last < first-0.003) || math.IsInf(first, 0) {
		t.Errorf("val_bpb went from %.4f to %.4f", first, last)
	}
}

// TestAgentWithARealProgram runs a study of the scripted agent.
func TestAgentWithARealProgram(t *testing.T) {
	options := options(t)
	p := programs(t, options)
	var log bytes.Buffer
	sources := map[int64][]byte{}
	tools := search.Tools{
		Start:  p.Start,
		Check:  func(_ context.Context, source []byte) ([]search.Constant, error) { return lines(source) },
		Source: func(_ context.Context, id int64) ([]byte, error) { return sources[id], nil },
		Read:   func(name string) ([]byte, error) { return []byte("Lower val_bpb.\n"), nil },
	}
	s := strategy(t, agentstrategy.New, func(to any) error {
		to.(*agentstrategy.Options).Command = []string{python(t), example(t, "agent.py")}
		return nil
	}, tools, &log)
	task := simulate.NewTask(3, 0)
	task.Lines = []simulate.Line{
		{Name: "MATRIX_LR", Text: "0.04", Value: search.FloatValue(0.04)}, {Name: "WEIGHT_DECAY", Text: "0.2", Value: search.FloatValue(0.2)}}
	task.True = func(v map[string]search.Value) (float64, search.Status) {
		return 1 + math.Abs(v["MATRIX_LR"].Number()-0.03) + math.Abs(v["WEIGHT_DECAY"].Number()-0.3), search.Completed
	}
	study, err := simulate.NewStudy(task, s, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"lower MATRIX_LR to 0.03, as nobody has tried it", "lower MATRIX_LR to 0.0225, as nobody has tried it",
		"raise MATRIX_LR to 0.0375, as nobody has tried it", "lower WEIGHT_DECAY to 0.15, as nobody has tried it", "raise WEIGHT_DECAY to 0.25, as nobody has tried it"} {
		sources[study.History.Champion.ID] = study.History.Champion.Source
		study.History.Champion.Source = nil
		s.(search.Preparer).Prepare(context.Background(), study.History)
		p, err := s.Ask(context.Background(), study.History)
		if err != nil || p.Description != want || p.Strategy != agentstrategy.Name || p.Source != nil {
			t.Fatalf("%s proposed %q, %v, want %q; %s", p.Strategy, p.Description, err, want, log.String())
		}
		if string(p.Attachments[0].Data) != want+"\n" {
			t.Errorf("kept %q", p.Attachments[0].Data)
		}
		study.History.Champion.Source = sources[study.History.Champion.ID]
		trial, err := study.Admit(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := study.Finish(trial, study.Outcome(trial)); err != nil {
			t.Fatal(err)
		}
	}
	s.(search.Closer).Close()
	empty(t, options.Dir)
}

// lines reads the float constants of a source.
func lines(source []byte) ([]search.Constant, error) {
	var out []search.Constant
	at := 0
	for n, row := range strings.SplitAfter(string(source), "\n") {
		name, text, ok := strings.Cut(strings.TrimRight(row, "\n"), " = ")
		if ok {
			var f float64
			if _, err := fmt.Sscan(text, &f); err != nil {
				return nil, fmt.Errorf("line %d: %w", n+1, err)
			}
			out = append(out, search.Constant{Name: name, Value: search.FloatValue(f), Text: text, Line: n + 1, Start: at + len(name) + 3, End: at + len(name) + 3 + len(text)})
		}
		at += len(row)
	}
	return out, nil
}
