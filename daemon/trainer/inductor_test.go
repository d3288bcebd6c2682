package trainer

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"autoresearchd/search"
)

var killedSome = regexp.MustCompile(`killed [1-9]`)

// 34: what Inductor has started to compile with is killed while it compiles. The
// trial fails, or compiles by itself; it does not wait for ever. Needs torch.
func TestInductorsWorkersAreKilled(t *testing.T) {
	venv := os.Getenv("AUTORESEARCH_TEST_VENV")
	if venv == "" {
		t.Skip("AUTORESEARCH_TEST_VENV names no venv with torch")
	}
	o := options(t)
	o.Python = filepath.Join(venv, "bin", "python")
	o.Processes, o.Quota = 0, 0
	root := t.TempDir()
	o.Folder = func(int64) string { return root }
	t.Setenv("TORCHINDUCTOR_CACHE_DIR", filepath.Join(root, "cache"))
	t.Setenv("TORCHINDUCTOR_COMPILE_THREADS", "2")
	folder(t, o, 1, `
import os, signal, sys, threading, time
import torch
from prepare import evaluate_bpb, make_dataloader

def descendants(pid):
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            children = open(f"/proc/{pid}/task/{task}/children").read().split()
        except OSError:
            continue
        for child in map(int, children):
            yield child
            yield from descendants(child)

killed = set()
def kill():
    while True:
        try:
            for pid in list(descendants(os.getpid())):
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
        except OSError:
            pass
        time.sleep(0.001)

weight = torch.nn.Parameter(torch.ones(64, 64))
optimizer = torch.optim.SGD([weight], lr=0.1)
batches = make_dataloader(None, 4, 8, "train")
threading.Thread(target=kill, daemon=True).start()
@torch.compile
def loss(x):
    return (torch.relu(x @ weight).square().sin() + x.exp()).mean()
try:
    for _ in range(2):
        next(batches)
        loss(torch.ones(64, 64)).backward()
        optimizer.step()
finally:
    print("killed", len(killed), flush=True)
evaluate_bpb(1.5, None, 4)
`)
	if err := os.RemoveAll(filepath.Join(o.work(1), "torch")); err != nil { // the stand-in
		t.Fatal(err)
	}
	out, err := newProcess(t, o).Run(context.Background(), Order{Trial: trial(1)}, nil)
	if err != nil || out.Status != search.Crashed && out.Status != search.Completed {
		t.Errorf("%v, %s: %s\n%s", err, out.Status, out.Detail, logOf(t, o, 1))
	}
	if text := logOf(t, o, 1); !killedSome.MatchString(text) {
		t.Errorf("nothing was killed:\n%s", text)
	}
	if left := marked(ownerMarker(o.Owner), 0, false); len(left) > 0 {
		t.Errorf("processes %v of the trial are still there", left)
	}
	last := strings.TrimSpace(out.Detail[strings.LastIndex(strings.TrimSpace(out.Detail), "\n")+1:])
	t.Logf("shown: %s %.100s", out.Status, last)
}
