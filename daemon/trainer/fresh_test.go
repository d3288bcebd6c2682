package trainer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"autoresearchd/search"
)

// auditable is a train.py for testdata/proof_prepare.py whose weights can be
// scored in a fresh process.
const auditable = `
import torch, torch.nn.functional as F
from prepare import *
class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(VOCAB, VOCAB)
    def logits(self, x):
        return self.table(x)
    def forward(self, x, y=None, reduction="mean"):
        logits = self.logits(x)
        return logits if y is None else F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction=reduction)
def build_model(tokenizer):
    return Model()
if __name__ == "__main__":
    model = build_model(None)
    optimizer = torch.optim.Adam(model.parameters(), 0.1)
    batches = make_dataloader(None, 16, MAX_SEQ_LEN, "train")
    for _ in range(20):
        x, y, _ = next(batches)
        model(x, y).backward(); optimizer.step(); optimizer.zero_grad()
    model.eval()
    %LIE%
    evaluate_bpb(model, Tokenizer.from_directory(), 16)
`

// TestAudits scores the weights of trials in fresh processes, with a real torch.
func TestAudits(t *testing.T) {
	t.Parallel()
	venv := os.Getenv("AUTORESEARCH_TEST_VENV")
	if venv == "" {
		t.Log("without AUTORESEARCH_TEST_VENV there is no torch: see scripts/test.sh")
		return
	}
	o := options(t)
	o.Python, o.Processes = filepath.Join(venv, "bin", "python"), 0
	prepare := read(t, "testdata/proof_prepare.py")
	o.Notary = notary(t, o, prepare, nil)
	p := newProcess(t, o)
	run := func(id int64, lie string) search.Outcome {
		t.Helper()
		source := strings.Replace(auditable, "%LIE%", lie, 1)
		if err := os.MkdirAll(o.work(id), 0o750); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"prepare.py": prepare, "train.py": source} {
			if err := os.WriteFile(filepath.Join(o.work(id), name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		of := trial(id)
		of.Source, of.Fresh = []byte(source), &search.ToAudit{Bar: search.MaxPlausibleBPB, Must: id > 1}
		var phases []search.Phase
		out, err := p.Run(context.Background(), Order{Trial: of}, func(e Event) { phases = append(phases, e.Phase) })
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(phases, search.Exit) {
			t.Errorf("trial %d is said to be over before its audit: %v", id, phases)
		}
		for _, path := range []string{filepath.Join(o.work(id), weightsFile), filepath.Join(o.Folder(id), auditFolder, "work")} {
			if exists(path) {
				t.Errorf("trial %d leaves %s", id, path)
			}
		}
		return out
	}
	first := run(1, "pass")
	if f := first.Fresh; first.Status != search.Completed || f == nil || f.Proof == nil || f.Proof.Verdict != search.Proven || f.ValBPB-first.ValBPB > 1e-6 || first.ValBPB-f.ValBPB > 1e-6 {
		t.Fatalf("%+v\n%+v", first, first.Fresh)
	}
	for lie, want := range map[string]struct {
		status search.Status
		words  string
	}{
		"Model.logits = lambda self, x: 1.5 * self.table(x)":                         {search.Tampered, "in a fresh process that has only its weights and its code it scores"},
		"model.state_dict = lambda: {'table.weight': 0.5 * model.table.weight.data}": {search.Tampered, "in a fresh process that has only its weights and its code it scores"},
		"model.state_dict = lambda: {'another': model.table.weight.data}":            {search.Crashed, "it cannot be scored in a fresh process, as others of this study were: "},
		"import os; model.state_dict = lambda: os.mkdir('audit.pt')":                 {search.Crashed, "what it has saved is no file of weights"},
	} {
		if out := run(int64(len(lie)), lie); out.Status != want.status || !strings.Contains(out.Detail, want.words) || out.ValBPB != 0 || out.Fresh != nil {
			t.Errorf("%s\n%s: %s\n%+v", lie, out.Status, out.Detail, out.Fresh)
		}
	}
}

// TestNotAudited says why a trial cannot be scored in a fresh process, and keeps
// none that must be.
func TestNotAudited(t *testing.T) {
	o := options(t)
	n, err := NewNotary(o, filepath.Join(filepath.Dir(o.Folder(1)), "notary"), nil, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	proven := search.Outcome{Status: search.Completed, ValBPB: 1.5, Proof: &search.Proof{Verdict: search.Proven}}
	for _, c := range []struct {
		name   string
		source string
		change func(*search.Trial, *search.Outcome)
		place  place
		words  string // "": it need not be audited
	}{
		{"not to be audited", "", func(t *search.Trial, _ *search.Outcome) { t.Fresh = nil }, n.place, ""},
		{"no better", "", func(_ *search.Trial, o *search.Outcome) { o.ValBPB = 1.7 }, n.place, ""},
		{"no score", "", func(_ *search.Trial, o *search.Outcome) { o.Status, o.ValBPB = search.Crashed, 0 }, n.place, ""},
		{"on a cluster", auditable, nil, nil, "on a cluster's node"},
		{"not proven", auditable, func(_ *search.Trial, o *search.Outcome) { o.Proof = nil }, n.place, "its score is not proven"},
		{"no build_model", "if __name__ == '__main__':\n    pass\n", nil, n.place, "must have a function build_model(tokenizer)"},
		{"trains when imported", "def build_model(tokenizer):\n    pass\n", nil, n.place, `train only where __name__ == "__main__"`},
		{"no weights", auditable, nil, n.place, "it has saved no weights"},
	} {
		for _, must := range []bool{false, true} {
			of, out := trial(1), proven
			of.Source, of.Fresh = []byte(c.source), &search.ToAudit{Bar: 1.6, Must: must}
			if c.change != nil {
				c.change(&of, &out)
			}
			o.Notary = n
			got, err := o.audited(context.Background(), c.place, Order{Trial: of}, out, nil, nil)
			switch flags := strings.Join(got.Flags, "\n"); {
			case err != nil || got.Fresh != nil:
				t.Errorf("%s: %+v %v", c.name, got, err)
			case c.words == "" && (got.Status != out.Status || flags != ""):
				t.Errorf("%s: %+v", c.name, got)
			case c.words != "" && !must && (got.Status != search.Completed || got.ValBPB != 1.5 || !strings.Contains(flags, c.words)):
				t.Errorf("%s: %+v", c.name, got)
			case c.place == nil:
				if got.Status != search.Completed || !strings.Contains(flags, c.words) {
					t.Errorf("%s: %+v", c.name, got)
				}
			case c.words != "" && must && (got.Status != search.Crashed || got.ValBPB != 0 || !strings.Contains(got.Detail, c.words)):
				t.Errorf("%s, and it must be: %+v", c.name, got)
			}
		}
	}
	if _, err := o.audited(context.Background(), n.place, Order{Trial: trial(1)}, proven, errUnheard, nil); !errors.Is(err, errUnheard) {
		t.Errorf("an error that is no trial's: %v", err)
	}
}
