package trainer

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"autoresearchd/daemon/sandbox"
	"autoresearchd/search"
)

// hubs are stand-ins for the package kernels, from which an upstream train.py has
// its attention, where the hub's cache lacks it: each asks as such a package does.
var hubs = map[string]string{
	"a look-up of a name": `
import urllib.request
def get_kernel(repo):
    return urllib.request.urlopen("https://hub.invalid/" + repo, timeout=5)
`,
	"an address": `
import urllib.request
def get_kernel(repo):
    return urllib.request.urlopen("http://127.0.0.1:9/" + repo, timeout=5)
`,
	"a cache, offline": `
import os
class LocalEntryNotFoundError(FileNotFoundError):
    pass
def get_kernel(repo):
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    raise LocalEntryNotFoundError("no snapshot of " + repo)
`,
	"an error that it prints": `
import socket, sys
def get_kernel(repo):
    try:
        socket.create_connection(("hub.invalid", 443), 5)
    except OSError as e:
        print(f"cannot load {repo}: <urlopen error {e}>")
        sys.exit(1)
`,
}

// TestMissingKernel says at the end of a trial what to do where it lacks what
// only the network has: in the reason, which every list shows.
func TestMissingKernel(t *testing.T) {
	for name, without := range map[string]sandbox.Leave{"with a root of its own": {}, "without": {Spaces: true}} {
		o := options(t)
		box(t, &o, without)
		p := newProcess(t, o)
		id := int64(0)
		run := func(module, script string) search.Outcome {
			t.Helper()
			id++
			folder(t, o, id, script)
			if err := os.WriteFile(filepath.Join(o.work(id), "kernels.py"), []byte(module), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := p.Run(context.Background(), Order{Trial: trial(id)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		const script = "from kernels import get_kernel\nfrom prepare import evaluate_bpb\nfa = get_kernel('kernels-community/flash-attn3')\nevaluate_bpb(1.0, None, 4)\n"
		for hub, module := range hubs {
			out := run(module, script)
			judge, err := search.LookupJudge("greedy")
			if err != nil {
				t.Fatal(err)
			}
			reason := judge.Judge(search.History{}, search.Result{Trial: trial(id), Outcome: out})
			if out.Status != search.Crashed || !strings.HasSuffix(out.Detail, "\n"+fetchFirst) || !strings.Contains(reason.Reason, "trial.sandbox=\"off\"") {
				t.Errorf("%s, %s: %s %q, %q", name, hub, out.Status, out.Detail, reason.Reason)
			}
		}
		if out := run("", "raise ValueError('none of that')\n"); strings.Contains(out.Detail, "network") {
			t.Errorf("%s: %s", name, out.Detail)
		}
	}
	o := options(t)
	o.Sandbox = nil
	p := newProcess(t, o)
	folder(t, o, 1, "raise ConnectionError('the hub is down')\n")
	if out, err := p.Run(context.Background(), Order{Trial: trial(1)}, nil); err != nil || out.Status != search.Crashed || strings.Contains(out.Detail, "sandbox") {
		t.Errorf("without a sandbox: %v %q", err, out.Detail)
	}
}
