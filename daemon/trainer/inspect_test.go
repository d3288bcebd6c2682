package trainer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"autoresearchd/search"
)

func TestInspect(t *testing.T) {
	p := newProcess(t, options(t))
	source := `"""Doc."""
import os
from prepare import STEP_BUDGET, evaluate_bpb as score

# über
DEPTH = 8               # layers
TOTAL = 2**19 # tokens
LR = 0.04
ADAM_BETAS = (0.8, 0.95) # two
PATTERN = "SSSL"
FLAG: bool = True
NEG = -1.5e-3
PRODUCT = (40 * 524288)
ONE = 1.0
BIG = 10**40
COMPUTED = DEPTH * 64
TWICE = 1
TWICE = 2
lower = 3
NAME = os.environ
if True:
    INNER = 4
NOTHING = None
DEPTH2 = 9; DEPTH3 = 10  # both

score(None, None, 4)
`
	i, err := p.Inspect(context.Background(), []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	if i.Error != "" || !i.Evaluates || strings.Join(i.Imports, " ") != "STEP_BUDGET evaluate_bpb" {
		t.Errorf("inspection %+v", i)
	}
	type c struct {
		value search.Value
		text  string
		line  int
		note  string
	}
	want := map[string]c{
		"DEPTH":      {search.IntValue(8), "8", 6, "layers"},
		"TOTAL":      {search.IntValue(1 << 19), "2**19", 7, "tokens"},
		"LR":         {search.FloatValue(0.04), "0.04", 8, ""},
		"ADAM_BETAS": {search.TupleValue(search.FloatValue(0.8), search.FloatValue(0.95)), "(0.8, 0.95)", 9, "two"},
		"PATTERN":    {search.StringValue("SSSL"), `"SSSL"`, 10, ""},
		"FLAG":       {search.BoolValue(true), "True", 11, ""},
		"NEG":        {search.FloatValue(-1.5e-3), "-1.5e-3", 12, ""},
		"PRODUCT":    {search.IntValue(40 * 524288), "40 * 524288", 13, ""},
		"ONE":        {search.FloatValue(1), "1.0", 14, ""},
		"DEPTH2":     {search.IntValue(9), "9", 24, "both"},
		"DEPTH3":     {search.IntValue(10), "10", 24, "both"},
	}
	for _, got := range i.Constants {
		w, ok := want[got.Name]
		if !ok {
			t.Errorf("%s is taken for a constant", got.Name)
			continue
		}
		delete(want, got.Name)
		if !got.Value.Equal(w.value) || got.Text != w.text || got.Line != w.line || got.Comment != w.note {
			t.Errorf("%s: got %v %q line %d %q, want %+v", got.Name, got.Value, got.Text, got.Line, got.Comment, w)
		}
		if source[got.Start:got.End] != got.Text {
			t.Errorf("%s: its span holds %q, not %q", got.Name, source[got.Start:got.End], got.Text)
		}
	}
	for name := range want {
		t.Errorf("%s was not found", name)
	}
	if _, err := json.Marshal(i); err != nil {
		t.Error(err)
	}
}

func TestWhatIsWrongWithASource(t *testing.T) {
	p := newProcess(t, options(t))
	const calls = "from prepare import evaluate_bpb\nevaluate_bpb(1, 2, 3)\n"
	for _, c := range []struct {
		source, want string
		budget       search.Budget
	}{
		{calls, "", search.Budget{Seconds: 300}},
		{"x = (\n" + calls, "line 1: '(' was never closed", search.Budget{Seconds: 300}},
		{"def f():\nreturn 1\n", "line 2: expected an indented block after function definition on line 1", search.Budget{Seconds: 300}},
		{"return 1\n", "line 1: 'return' outside function", search.Budget{Seconds: 300}},
		{"import prepare\nprint('val_bpb: 0.1')\n", "it never calls evaluate_bpb, so it has no score: end it with val_bpb = evaluate_bpb(model, tokenizer, batch_size) from prepare", search.Budget{Seconds: 300}},
		{"import prepare\nprepare.evaluate_bpb(1, 2, 3)\n", "", search.Budget{Seconds: 300}},
		{calls, `it does not take STEP_BUDGET from prepare, so a budget in steps cannot reach it: use a budget in seconds, such as "300s"`, search.Budget{Steps: 400}},
		{"from prepare import STEP_BUDGET\n" + calls, "", search.Budget{Steps: 400}},
		{"import prepare as p\nx = p.STEP_BUDGET\n" + calls, "", search.Budget{Steps: 400}},
		{"import prepare\nx = getattr(prepare, 'STEP_BUDGET', 0)\n" + calls, "", search.Budget{Steps: 400}},
	} {
		i, err := p.Inspect(context.Background(), []byte(c.source))
		if err != nil {
			t.Fatal(err)
		}
		if got := i.Fault(c.budget); got != c.want {
			t.Errorf("%q:\ngot  %q\nwant %q", c.source, got, c.want)
		}
	}
}

func TestModules(t *testing.T) {
	p := newProcess(t, options(t))
	i, err := p.Inspect(context.Background(), []byte(`import os, model.layers as layers
from helper import V
from . import beside
from ..above.deep import *
import importlib
data = importlib.import_module("data")
try:
    import flash
except (ImportError, OSError):
    import slow
try:
    import checked
except ValueError:
    pass
def late():
    import inner
    try:
        import inner
    except Exception:
        pass
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import types_only
x = `+strings.Repeat("1 + ", 900)+`1
`))
	if err != nil || i.Error != "" {
		t.Fatal(err, i.Error)
	}
	got := ""
	for _, m := range i.Modules {
		if got += " " + m.Name; m.Optional {
			got += "?"
		}
	}
	if want := " . ..above.deep .beside checked data flash? helper helper.V importlib inner model.layers os slow types_only? typing typing.TYPE_CHECKING"; got != want {
		t.Errorf("modules %s\nwant    %s", got, want)
	}
}

func TestInspectSaysWhyTheSeatFailed(t *testing.T) {
	o := options(t)
	o.Python = "/no/such/venv/bin/python"
	p := newProcess(t, o)
	i, err := p.Inspect(context.Background(), []byte("A = 1\n"))
	if err == nil && len(i.Constants) != 1 {
		t.Errorf("neither an answer nor a reason: %+v", i)
	}
}

func FuzzParseProgress(f *testing.F) {
	f.Add("step 00071 (96.0%) | loss: 2.500000 | lrm: 1.00 | dt: 9ms | tok/sec: 57,000 | mfu: 0.0% | epoch: 1 | remaining: 3s")
	f.Add("step x | | :")
	f.Fuzz(func(t *testing.T, line string) {
		if p, ok := ParseProgress(line); ok && p.Step < 0 {
			t.Errorf("%+v", p)
		}
	})
}

func TestParseProgress(t *testing.T) {
	p, ok := ParseProgress("step 00071 (96.0%) | loss: 2.500000 | lrm: 1.00 | dt: 9ms | tok/sec: 57,000 | mfu: 39.8% | epoch: 1 | remaining: 3s    ")
	if want := (Progress{Step: 71, Percent: 96, Loss: 2.5, TokPerSec: 57000, MFU: 39.8, Remaining: 3}); !ok || p != want {
		t.Errorf("got %+v, want %+v", p, want)
	}
	for _, line := range []string{"", "step", "step 1", "steps 1 | loss: 2", "val_bpb: 1", "step -1 (0%) | loss: 1"} {
		if _, ok := ParseProgress(line); ok {
			t.Errorf("%q is taken for progress", line)
		}
	}
}

// TestInspectingTrainerStays has one trainer answer one inspection after
// another; what kills or hangs it, and another venv, cost it its place.
func TestInspectingTrainerStays(t *testing.T) {
	o := options(t)
	p := newProcess(t, o)
	inspect := func() int {
		t.Helper()
		i, err := p.Inspect(context.Background(), []byte("A = 1\n"))
		if err != nil || len(i.Constants) != 1 {
			t.Fatalf("%+v %v", i, err)
		}
		return p.inspector.t.(*process).cmd.Process.Pid
	}
	first := inspect()
	if again := inspect(); again != first {
		t.Errorf("a second inspection started trainer %d beside %d", again, first)
	}
	signal := func(s unix.Signal) { // in a sandbox the process that the daemon knows is the trainer's leader
		t.Helper()
		for _, pid := range p.inspector.t.(*process).group.members() {
			if err := unix.Kill(pid, s); err != nil && err != unix.ESRCH {
				t.Fatal(err)
			}
		}
	}
	signal(unix.SIGKILL)
	second := inspect()
	if second == first {
		t.Error("a killed trainer answers")
	}
	signal(unix.SIGSTOP)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.Inspect(ctx, []byte("A = 1\n")); err == nil {
		t.Error("a stopped trainer answers")
	}
	third := inspect()
	if third == second {
		t.Error("a stopped trainer stays")
	}
	if err := os.Chtimes(filepath.Join(filepath.Dir(filepath.Dir(o.Python)), "pyvenv.cfg"), time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if fourth := inspect(); fourth == third {
		t.Error("the trainer outlived its venv")
	}
	p.Close()
	if left := marked(ownerMarker(o.Owner), 0, false); len(left) > 0 {
		t.Errorf("processes %v are left after Close", left)
	}
	if _, err := p.Inspect(context.Background(), []byte("A = 1\n")); err == nil {
		t.Error("a closed trainer inspects")
	}
}

// TestASourceThatKillsTheInspector has it end in C.
func TestASourceThatKillsTheInspector(t *testing.T) {
	p := newProcess(t, options(t))
	deep := []byte("x = " + strings.Repeat("-", 2_000_000) + "1\n") // deeper than the stack, or refused
	if _, err := p.Inspect(context.Background(), deep); err != nil {
		t.Log(err)
	}
	if i, err := p.Inspect(context.Background(), []byte("A = 1\n")); err != nil || len(i.Constants) != 1 {
		t.Errorf("the next inspection: %+v %v", i, err)
	}
}

// TestProtocol refuses a trainer of another version, and a daemon of another.
func TestProtocol(t *testing.T) {
	for _, h := range []*hello{nil, {Protocol: protocol + 1}} {
		if h.fits() == nil {
			t.Errorf("%+v fits", h)
		}
	}
	if err := (&hello{Protocol: 1}).fits(); err == nil || err.Error() != fmt.Sprintf("the trainer speaks version 1 of the protocol and this daemon version %d: install the same autoresearchd for both", protocol) {
		t.Error(err)
	}
	var in, out bytes.Buffer
	if err := writeFrame(&in, request{Protocol: protocol + 1, Op: "start"}); err != nil {
		t.Fatal(err)
	}
	err := serve(&in, &out, false)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("the daemon speaks version %d", protocol+1)) {
		t.Error(err)
	}
	var e event
	if err := readFrame(&out, &e); err != nil || e.Kind != "hello" || e.Hello.Protocol != protocol || e.Hello.Python == "" || e.Hello.PID != os.Getpid() {
		t.Errorf("it begins with %+v, %v", e, err)
	}
}
