package trainer

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"autoresearchd/daemon/sandbox"
	"autoresearchd/search"
)

// TestNodeAsHere has on a node what a local seat has: a standby that the next
// trial runs in, and a trial that gets ready beside the evaluation of another and
// counts no step before that is scored.
func TestNodeAsHere(t *testing.T) {
	newFakeSlurm(t)
	o := options(t)
	o.Asked = sandbox.Asked{Mode: sandbox.Off} // a script waits for a file outside
	p := onCluster(t, o)
	fit(t, p, "")
	if used, ok := p.Beside("slurm:0"); ok {
		t.Errorf("a node without a GPU uses %d bytes of it", used)
	}
	const brief = training + "train(3)\nevaluate_bpb(0.5, None, 4)\n"
	run := func(given Order, observe func(Event)) search.Outcome {
		out, err := p.Run(context.Background(), given, observe)
		if err != nil || out.Status != search.Completed {
			t.Errorf("trial %d: %v %+v\n%s", given.ID, err, out, logOf(t, o, given.ID))
		}
		return out
	}
	folder(t, o, 1, brief)
	run(Order{Trial: far(1)}, nil)
	p.getReady("slurm:0", []byte(brief))
	b := p.standbys.of["slurm:0"]
	if b == nil {
		t.Fatal("no standby was started")
	}
	if <-b.ready; b.fault != nil {
		t.Fatal(b.fault)
	}
	n := p.cluster.berth("slurm:0").here()
	started := func() int64 {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.last
	}
	before := started()
	folder(t, o, 2, brief)
	run(Order{Trial: far(2)}, nil)
	if after := started(); after != before {
		t.Errorf("trial 2 ran in trainer %d, and not in the standby, which is %d", after, before)
	}

	end := filepath.Join(t.TempDir(), "end")
	folder(t, o, 3, strings.Replace(evaluating, `"end"`, strconv.Quote(end), 1))
	folder(t, o, 4, stepping)
	evaluates, stands, open := make(chan bool, 2), make(chan bool, 2), make(chan struct{})
	told := func(phase search.Phase, to chan bool) func(Event) {
		return func(e Event) {
			if e.Phase == phase {
				to <- true
			}
		}
	}
	first, second := make(chan search.Outcome, 1), make(chan search.Outcome, 1)
	go func() { first <- run(Order{Trial: far(3)}, told(search.Evaluate, evaluates)) }()
	<-evaluates
	go func() {
		second <- run(Order{Trial: far(4), Gate: &Gate{After: 3, Open: open}}, told(search.Gate, stands))
	}()
	<-stands
	close(open)
	if err := os.WriteFile(end, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	<-first
	g := (<-second).Gate
	if g == nil || g.After != 3 || g.Waited <= 0 || g.Scored.IsZero() || g.Opened.Before(g.Scored) {
		t.Errorf("the gate's record is %+v", g)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lost != nil {
		t.Errorf("the node was lost: %v", n.lost)
	}
}
