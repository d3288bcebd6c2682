package trainer

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"autoresearchd/daemon/sandbox"
	"autoresearchd/search"
)

// TestValidationIsOutOfReach has the notary find, with a real torch, the files
// that the validation split alone reads, and trials in a sandbox try to open
// them. The first trial, without a sandbox, shows that one can. Fault 69.
func TestValidationIsOutOfReach(t *testing.T) {
	venv := os.Getenv("AUTORESEARCH_TEST_VENV")
	if venv == "" {
		t.Log("without AUTORESEARCH_TEST_VENV there is no torch: see scripts/test.sh")
		return
	}
	data := t.TempDir()
	for _, split := range []string{"train", "val"} {
		if err := os.WriteFile(filepath.Join(data, split), []byte("text"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const body = "\n    number = 0\n"
	prepare := strings.Replace(read(t, "testdata/proof_prepare.py"), body, "\n    open(f'"+data+"/{split}').read()"+body, 1)
	const tries = `
for split in "train", "val":
    try:
        print(split, "reached:", open(f"%DATA%/{split}").read())
    except OSError as e:
        print(split, "denied:", e)
`
	o := options(t)
	o.Python, o.Processes, o.Quota, o.Shared = filepath.Join(venv, "bin", "python"), 0, 1<<20, []string{data}
	o.Sandbox = nil
	o.Notary = notary(t, o, prepare, nil)
	run := func(p *Process, id int64, with string) (search.Outcome, string) {
		t.Helper()
		work := o.work(id)
		if err := os.MkdirAll(work, 0o750); err != nil {
			t.Fatal(err)
		}
		script := strings.Replace(proven, "%LIE%", strings.Replace(tries, "%DATA%", data, 1)+with, 1)
		for name, text := range map[string]string{"prepare.py": prepare, "train.py": script} {
			if err := os.WriteFile(filepath.Join(work, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		out, err := p.Run(context.Background(), Order{Trial: trial(id)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return out, logOf(t, o, id)
	}
	first, log := run(newProcess(t, o), 1, "")
	if first.Status != search.Completed || !strings.Contains(log, "val reached: text") {
		t.Fatalf("without a sandbox: %+v\n%s", first, log)
	}
	if found, _ := o.Notary.Found(); !slices.Equal(found.Alone, []string{filepath.Join(data, "val")}) {
		t.Errorf("found %+v", found)
	}
	box(t, &o, sandbox.Leave{})
	confined := newProcess(t, o)
	// The score needs no file of the validation split: its rows are the notary's.
	out, log := run(confined, 2, "")
	if out.Status != search.Completed || math.Abs(out.ValBPB-first.ValBPB) > 1e-6 || out.Proof == nil || out.Proof.Verdict != search.Proven ||
		!strings.Contains(log, "train reached: text") || !strings.Contains(log, "val denied: ") {
		t.Errorf("%+v\n%s", out, log)
	}
	if out, log := run(confined, 3, `SPLIT = "val"`); out.Status != search.Crashed || !strings.Contains(out.Detail, "Error") || !strings.Contains(out.Detail, filepath.Join(data, "val")) || out.ValBPB != 0 {
		t.Errorf("trained on the validation split: %+v\n%s", out, log)
	}
}
