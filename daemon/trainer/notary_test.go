package trainer

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"autoresearchd/search"
)

// notary starts one for a prepare.py.
func notary(t *testing.T, o Options, prepare string, known *search.Proof) *Notary {
	t.Helper()
	n, err := NewNotary(o, filepath.Join(filepath.Dir(o.Folder(1)), "notary"), known, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	n.Start(func(_ context.Context, dir string) error {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, "prepare.py"), []byte(prepare), 0o600)
	})
	return n
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// A workspace whose scores cannot be proven runs as if there were no notary.
func TestScoresThatCannotBeProven(t *testing.T) {
	for prepare, why := range map[string]string{
		read(t, "testdata/work/prepare.py"):       "there is no torch here",
		"raise RuntimeError('not without a GPU')": "there is no torch here",
	} {
		o := options(t)
		o.Notary = notary(t, o, prepare, nil)
		folder(t, o, 1, training+"evaluate_bpb(1.25, None, 4)\n")
		out, err := newProcess(t, o).Run(context.Background(), Order{Trial: trial(1)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		found, known := o.Notary.Found()
		if last, said := LastFound(filepath.Dir(o.Notary.keep)); !said || last.Why != why {
			t.Errorf("doctor is told %+v %v", last, said)
		}
		if out.Status != search.Completed || out.ValBPB != 1.25 || out.Proof != nil || len(out.Flags) > 0 || !known || found.Why != why {
			t.Errorf("%+v, found %+v %v", out, found, known)
		}
	}
}

// proven is a train.py for testdata/proof_prepare.py: a model of what follows
// each token, with a way to lie.
const proven = `
import torch, torch.nn.functional as F
from prepare import *
import prepare, _autoresearchd
class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(VOCAB, VOCAB)
    def logits(self, x):
        return self.table(x)
    def forward(self, x, y=None, reduction="mean"):
        logits = self.logits(x)
        return logits if y is None else F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction=reduction)
BATCH, SPLIT, model = 16, "train", Model()
%LIE%
optimizer = torch.optim.Adam(model.parameters(), 0.1)
batches = make_dataloader(None, 16, MAX_SEQ_LEN, SPLIT)
for _ in range(20):
    x, y, _ = next(batches)
    model(x, y).backward(); optimizer.step(); optimizer.zero_grad()
model.eval()
print("\n---\nval_bpb:         ", evaluate_bpb(model, Tokenizer.from_directory(), BATCH))
`

// TestProofs has the notary look at honest trials and at lies, on one real
// torch after another.
func TestProofs(t *testing.T) {
	t.Parallel() // with what else imports torch, once the other tests are over
	venv := os.Getenv("AUTORESEARCH_TEST_VENV")
	if venv == "" {
		t.Log("without AUTORESEARCH_TEST_VENV there is no torch: see scripts/test.sh")
		return
	}
	o := options(t)
	o.Python, o.Processes, o.Quota = filepath.Join(venv, "bin", "python"), 0, 1<<20
	prepare := read(t, "testdata/proof_prepare.py")
	o.Notary = notary(t, o, prepare, nil)
	p := newProcess(t, o)
	rerun := func(of search.Trial, lie string) search.Outcome {
		t.Helper()
		id := of.ID
		work := o.work(id)
		if err := os.MkdirAll(work, 0o750); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"prepare.py": prepare, "train.py": strings.Replace(proven, "%LIE%", lie, 1)} {
			if err := os.WriteFile(filepath.Join(work, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		out, err := p.Run(context.Background(), Order{Trial: of}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if left, _ := filepath.Glob(filepath.Join(o.Folder(id), "proof-*")); len(left) > 0 {
			t.Errorf("trial %d leaves %v", id, left)
		}
		return out
	}
	run := func(id int64, lie string) search.Outcome { return rerun(trial(id), lie) }
	first := run(1, "")
	if first.Status != search.Completed || first.Proof == nil || first.Proof.Verdict != search.Proven || first.Proof.Reference == "" || first.Proof.Tokens != 64*32 || first.Proof.Weights != 1 {
		t.Fatalf("the first trial: %+v\n%+v\n%s", first, first.Proof, logOf(t, o, 1))
	}
	if printed, err := strconv.ParseFloat(first.Summary["val_bpb"], 64); err != nil || math.Abs(printed-first.ValBPB) > 1e-9 {
		t.Errorf("it was told %v, and its score is %v", printed, first.ValBPB)
	}
	// The same tokens are scored whatever the batch size.
	if out := run(2, "BATCH = 24"); out.Status != search.Completed || math.Abs(out.ValBPB-first.ValBPB) > 1e-6 || out.Proof.Verdict != search.Proven || len(out.Flags) > 0 {
		t.Errorf("a batch size that does not divide: %+v\n%+v", out, out.Proof)
	}
	id := int64(2)
	for lie, want := range map[string]struct {
		status search.Status
		words  string
	}{
		"real = F.cross_entropy\nF.cross_entropy = lambda *a, reduction='mean', **k: real(*a, reduction=reduction, **k) * (1 if reduction == 'mean' else 0.999)":                                                                                               {search.Tampered, "lower than"},
		"Model.logits = lambda self, x: self.table(x) + 0.5 * F.one_hot(x.roll(-1, 1), VOCAB)":                                                                                                                                                                 {search.Tampered, "it sees ahead"},
		"real = Model.forward\ndef forward(self, x, y=None, reduction='mean'):\n    if reduction == 'none': self.table.weight.data.mul_(1 + 1e-5)\n    return real(self, x, y, reduction)\nModel.forward = forward":                                            {search.Tampered, "1 of its 1 weights moved, by up to"},
		"prepare.math = type('', (), {'log': staticmethod(lambda x: 1.0)})":                                                                                                                                                                                    {search.Tampered, "evaluate_bpb returned"},
		"_autoresearchd.host('score', b'{\"val_bpb\": \"0.5\"}'); import sys; sys.exit()":                                                                                                                                                                      {search.Tampered, "it told the score 0.5, which it had not proven"},
		"_autoresearchd.host('prove', b'{\"op\": \"rows\"}'); _autoresearchd.host('score', b'{\"val_bpb\": \"0.5\"}'); import sys; sys.exit()":                                                                                                                 {search.Tampered, "which it had not proven"},
		"Model.forward = lambda self, x, y=None, reduction='mean': F.cross_entropy(self.logits(x).flatten(0, 1), y.flatten(), reduction=reduction) if reduction == 'mean' else F.nll_loss(-self.logits(x).flatten(0, 1), y.flatten(), reduction='none').abs()": {search.Crashed, "its score is not proven, as those of this study are"},
	} {
		id++
		out := run(id, lie)
		if out.Status != want.status || !strings.Contains(out.Detail, want.words) || out.ValBPB != 0 {
			t.Errorf("%s\n%s: %s\n%+v", lie, out.Status, out.Detail, out.Proof)
		}
	}
	// A notary that was ended learns again, and holds trials against the same first one.
	if err := o.Notary.mine(context.Background()); err != nil {
		t.Fatal(err)
	}
	o.Notary.drop()
	<-o.Notary.turn
	if out := run(id+1, ""); out.Status != search.Completed || out.Proof.Verdict != search.Proven || out.Proof.FreshError > 1e-3 {
		t.Errorf("after its notary was ended: %+v\n%+v", out, out.Proof)
	}
	// What it keeps of the first trial is written again where somebody took it away,
	// while it knows it.
	if err := os.WriteFile(o.Notary.keep, []byte("lower"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := run(id+2, ""); out.Status != search.Completed || out.Proof.FreshError > 1e-3 || sum(o.Notary.keep) != first.Proof.Reference {
		t.Errorf("with another reference in the file: %+v\n%+v", out, out.Proof)
	}
	// Once nobody knows it, nothing is proven until the first program has run again.
	if err := errors.Join(o.Notary.mine(context.Background()), os.Remove(o.Notary.keep)); err != nil {
		t.Fatal(err)
	}
	o.Notary.drop()
	<-o.Notary.turn
	if out := run(id+3, ""); out.Status != search.Interrupted || !strings.Contains(out.Void, "are gone from") || o.Notary.Lost() != 1 {
		t.Errorf("without a reference: %+v, lost %d", out, o.Notary.Lost())
	}
	again := trial(id + 4)
	again.Proposal = search.Proposal{Strategy: search.Confirm, Parent: 1}
	if out := rerun(again, ""); out.Status != search.Completed || out.Proof.Reference == "" || o.Notary.Lost() != 0 || sum(o.Notary.keep) != out.Proof.Reference {
		t.Errorf("the first program, again: %+v\n%+v, lost %d", out, out.Proof, o.Notary.Lost())
	}
	// What sets its weights to one length each time is no lie, nor are caches.
	const lengths = "def logits(self, x):\n    self.table.weight.data = 9 * F.normalize(self.table.weight.data, dim=-1)\n    self.register_buffer('last', x, persistent=False)\n    return self.table(x)\nModel.logits = logits"
	if out := run(id+6, lengths); out.Status != search.Completed || out.Proof.Weights != 1 {
		t.Errorf("lengths that are set in each call: %+v\n%+v", out, out.Proof)
	}
	if out := run(id+5, ""); out.Status != search.Completed || out.Proof.FreshError > 1e-3 {
		t.Errorf("against the new reference: %+v\n%+v", out, out.Proof)
	}
	// So does that of the next daemon; other data than then is not proven against.
	n := notary(t, o, strings.Replace(prepare, "11 * step", "13 * step", 1), first.Proof)
	other := *first.Proof
	other.Reference = "that of other losses"
	if n, err := NewNotary(o, filepath.Dir(o.Notary.keep), &other, 1, false); err != nil || n.Lost() != 1 || o.Notary.Lost() != 0 {
		t.Errorf("lost %d where the file is not of the record, %d where it is (%v)", n.Lost(), o.Notary.Lost(), err)
	}
	if err := n.prepare(context.Background()); err == nil || !strings.Contains(err.Error(), "what decides a score has changed since the study's first trial was proven (prepare.py)") {
		t.Errorf("with another prepare.py: %v", err)
	}
}
