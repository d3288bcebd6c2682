package trainer

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"autoresearchd/daemon/device"
	"autoresearchd/daemon/slurm"
	"autoresearchd/search"
)

// fakeSlurm are commands that do as Slurm's with one node, which is this
// machine. What each job is stands in a file "state".
type fakeSlurm struct {
	t   *testing.T
	dir string
}

var fakeCommands = map[string]string{
	"sbatch": `cat >/dev/null
if [ -f $D/refuse ]; then cat $D/refuse >&2; exit 1; fi
n=$(($(ls $D/all | wc -l) + 1))
for a; do case $a in --job-name=*) name=${a#*=} ;; --exclude=*) echo "$a" >>$D/excluded ;; esac; done
echo "$name" >$D/all/$n; cp $D/all/$n $D/jobs/$n
echo $n`,
	"squeue": `case " $* " in *" --steps "*)
  for f in $D/steps/*; do [ -e "$f" ] && kill -0 $(cat $f) 2>/dev/null && basename $f; done; exit 0 ;;
esac
for f in $D/jobs/*; do [ -e "$f" ] && echo "$(basename $f)|$(cat $D/state)|$(cat $f)"; done; exit 0`,
	"scancel": `case $1 in
*.*) [ ! -e $D/steps/$1 ] || kill -9 $(cat $D/steps/$1) 2>/dev/null; rm -f $D/steps/$1 ;;
*) rm -f $D/jobs/$1; for f in $D/steps/$1.*; do [ ! -e "$f" ] || kill -9 $(cat $f) 2>/dev/null; rm -f $f; done ;;
esac; exit 0`,
	"srun": `while case $1 in --jobid=*) SLURM_JOB_ID=${1#*=} ;; --*) ;; *) false ;; esac; do shift; done
echo $$ >$D/steps/$SLURM_JOB_ID.0
exec env SLURM_JOB_ID=$SLURM_JOB_ID SLURM_STEP_ID=0 SLURMD_NODENAME=n1 "$@"`,
}

func newFakeSlurm(t *testing.T) *fakeSlurm {
	t.Helper()
	f := &fakeSlurm{t: t, dir: t.TempDir()}
	for _, name := range []string{"bin", "all", "jobs", "steps"} {
		if err := os.Mkdir(filepath.Join(f.dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range fakeCommands {
		f.write("bin/"+name, "#!/bin/sh\nD="+f.dir+"\n"+text+"\n")
	}
	f.write("state", "RUNNING|None|n1|1:00:00")
	t.Setenv("PATH", filepath.Join(f.dir, "bin")+":"+os.Getenv("PATH"))
	return f
}

func (f *fakeSlurm) write(name, text string) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name), []byte(text), 0o755); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fakeSlurm) jobs() (ids []string) {
	f.t.Helper()
	entries, err := os.ReadDir(filepath.Join(f.dir, "jobs"))
	if err != nil {
		f.t.Fatal(err)
	}
	for _, e := range entries {
		ids = append(ids, e.Name())
	}
	return ids
}

// onCluster is a trainer with one seat there.
func onCluster(t *testing.T, o Options) *Process {
	t.Helper()
	p := newProcess(t, o)
	if err := p.Berths([]Berth{{Name: "slurm:0", Request: slurm.Request{Partition: "main"}}}, func() {}); err != nil {
		t.Fatal(err)
	}
	return p
}

// fit waits until a trial can begin there; why, until it says so.
func fit(t *testing.T, p *Process, why string) device.Device {
	t.Helper()
	last := ""
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		d, u := p.Look(device.Device{Name: "slurm:0"})
		if u == nil && why == "" {
			return d
		}
		if u != nil {
			if last = u.Why; why != "" && strings.Contains(last, why) {
				return d
			}
		}
	}
	t.Fatalf("the seat never says %q: %s", why, last)
	return device.Device{}
}

func far(id int64) search.Trial {
	t := trial(id)
	t.Device = "slurm:0"
	return t
}

// TestClusterFaults has what keeps a seat from its node, each in one message
// with its remedy.
func TestClusterFaults(t *testing.T) {
	for name, c := range map[string]struct {
		files  map[string]string
		change func(*Options)
		spoil  func(*Process)
		bad    bool // it is the node's fault
		why    string
	}{
		"in the queue":    {map[string]string{"state": "PENDING|Resources||UNLIMITED"}, nil, nil, false, "its allocation waits in the queue: job 1 is pending (Resources)"},
		"never its turn":  {map[string]string{"state": "PENDING|PartitionTimeLimit||UNLIMITED"}, nil, nil, false, "(PartitionTimeLimit): lower seats.time"},
		"no partition":    {map[string]string{"refuse": "sbatch: error: Batch job submission failed: Invalid partition name specified"}, nil, nil, false, "name one that `sinfo` lists in seats.partition"},
		"no munge":        {map[string]string{"bin/squeue": "#!/bin/sh\necho 'slurm_load_jobs error: Protocol authentication error' >&2; exit 1\n"}, nil, nil, false, "munge key"},
		"too short":       {map[string]string{"state": "RUNNING|None|n1|0:30"}, nil, nil, false, "its allocation lasts 30s, and a trial up to"},
		"no data":         {nil, func(o *Options) { o.Needs = []string{"/nowhere/data"} }, nil, true, "no trial can run on n1: /nowhere/data is not there"},
		"another Python":  {nil, func(o *Options) { o.Python = "/nowhere/bin/python" }, nil, true, "no trial can run on n1: there is no interpreter at /nowhere/bin/python"},
		"no binary there": {nil, nil, func(p *Process) { p.cluster.binary = "/nowhere/autoresearchd" }, true, "install the same autoresearchd"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeSlurm(t)
			for file, text := range c.files {
				f.write(file, text)
			}
			o := options(t)
			o.Limits.Total = 10 * time.Minute
			if c.change != nil {
				c.change(&o)
			}
			p := newProcess(t, o)
			if c.spoil != nil {
				c.spoil(p)
			}
			if err := p.Berths([]Berth{{Name: "slurm:0"}}, func() {}); err != nil {
				t.Fatal(err)
			}
			fit(t, p, c.why)
			if c.bad != avoids(p, "n1") {
				t.Errorf("the node is avoided: %v", !c.bad)
			}
			if _, err := p.at("slurm:0").start(job{name: "trial-1"}); err == nil {
				t.Error("a trainer starts there")
			}
			p.Close()
			if left := f.jobs(); len(left) > 0 {
				t.Errorf("jobs %v are left", left)
			}
		})
	}
}

// avoids reports whether the study asks for a node no more.
func avoids(p *Process, node string) bool {
	p.cluster.mu.Lock()
	defer p.cluster.mu.Unlock()
	return !p.cluster.avoided[node].IsZero()
}

// TestAvoidance gives a node back that is no good, and asks for others, but for
// any where there is no other.
func TestAvoidance(t *testing.T) {
	f := newFakeSlurm(t)
	o := options(t)
	o.Needs = []string{"/nowhere/data"}
	p := onCluster(t, o)
	fit(t, p, "/nowhere/data is not there")
	asked := func(text string) {
		t.Helper()
		for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
			p.Look(device.Device{Name: "slurm:0"})
			if data, _ := os.ReadFile(filepath.Join(f.dir, "excluded")); strings.Contains(string(data), text) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("no allocation is asked for with %q", text)
			}
		}
	}
	f.write("state", "RUNNING|None|n2|1:00:00")
	asked("--exclude=n1\n")
	asked("--exclude=n1,n2\n")
	f.write("bin/sbatch", "#!/bin/sh\nD="+f.dir+"\ncase \"$*\" in *--exclude*) echo none is left >&2; exit 1 ;; esac\n"+fakeCommands["sbatch"]+"\n")
	f.write("state", "PENDING|Resources||1:00:00")
	fit(t, p, "is pending (Resources)")
}

// TestLostDevice has a node say how much of its GPU is in use, and lose that under
// its trial: the trial's end says so, and the node is given back and avoided.
func TestLostDevice(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n := newNode(w, 0)
	started, err := n.start(job{name: "trial-1", id: 1})
	if err != nil {
		t.Fatal(err)
	}
	h := started.(*hosted)
	h.occupy()
	h.take(hostEvent{Kind: "use", Use: &hostUse{Whole: 5 << 30}})
	p := &Process{cluster: &cluster{options: &Options{}, berths: map[string]*berth{"slurm:0": {node: n}}}}
	if used, ok := p.Beside("slurm:0"); !ok || used != 5<<30 {
		t.Errorf("%d bytes of its device are in use, %v", used, ok)
	}
	h.take(hostEvent{Kind: "gone", Gone: &hostGone{Unfit: "cuda:0 cannot be used", Lost: true}})
	h.end(0, true)
	var lost *Lost
	if _, err := h.freed(); !errors.As(err, &lost) || lost.Why != "cuda:0 cannot be used" {
		t.Errorf("freed: %v", err)
	}
	var given *surrender
	if why := n.why(nil); !errors.As(why, &given) || !errors.As(why, new(badNode)) {
		t.Errorf("the node is over for %v", why)
	}
}

// TestCluster runs trials on a node, has one cancelled and one lose its
// allocation, and gives everything back.
func TestCluster(t *testing.T) {
	f := newFakeSlurm(t)
	t.Setenv("OPENAI_API_KEY", "sk-secret")
	o := options(t)
	handles := map[int64]string{}
	o.Seat = func(id int64, handle string) { handles[id] = handle }
	p := onCluster(t, o)
	d := fit(t, p, "")
	if d.Host != "n1" || d.Local != device.CPU || !strings.Contains(d.Kind, "CPU core") {
		t.Errorf("the seat is on %+v", d)
	}

	folder(t, o, 1, training+`
import beside
open("mine", "w").write("x")
print("SECRET" if "sk-secret" in str(os.environ) else "none", os.getcwd(), beside.VALUE, [k for k in os.environ if "SLURM" in k])
train(3)
evaluate_bpb(0.5, None, 4)
`)
	if err := os.WriteFile(filepath.Join(o.work(1), "beside.py"), []byte("VALUE = 7\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := p.Run(context.Background(), Order{Trial: far(1)}, nil)
	if err != nil || out.Status != search.Completed || out.ValBPB != 0.5 || out.Steps != 4 {
		t.Fatalf("%+v, %v", out, err)
	}
	log, err := os.ReadFile(filepath.Join(o.Folder(1), "run.log"))
	if err != nil || !strings.Contains(string(log), "none /") || !strings.Contains(string(log), " 7 []") || strings.Contains(string(log), o.Folder(1)) {
		t.Errorf("the trial printed %q, %v", log, err)
	}
	if _, err := os.Stat(filepath.Join(o.work(1), "mine")); !errors.Is(err, os.ErrNotExist) {
		t.Error("the trial wrote into the study")
	}
	if handles[1] != `{"cgroup":"","host":"n1","job":"1","step":"1.0"}` {
		t.Errorf("its handle is %s", handles[1])
	}

	// One that is cancelled is gone when that is said, and its node stays.
	begin := func(id int64, then func(cancel func())) (search.Outcome, error) {
		folder(t, o, id, training+"train(3)\nprint('step 1', flush=True)\nsubprocess.Popen(['sleep', '1000'], start_new_session=True)\ntime.sleep(1000)\n")
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		once := false
		return p.Run(ctx, Order{Trial: far(id)}, func(e Event) {
			if e.Step != nil && e.Step.Number >= 3 && !once {
				once = true
				go then(cancel)
			}
		})
	}
	out, err = begin(2, func(cancel func()) { cancel() })
	if err != nil || out.Status != search.Interrupted {
		t.Errorf("%+v, %v", out, err)
	}
	if left := marked(ownerMarker(o.Owner+":slurm:0"), 0, false); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
	if got := f.jobs(); !slices.Equal(got, []string{"1"}) {
		t.Errorf("jobs %v", got)
	}

	// One whose allocation ends is no result, and the seat gets another.
	out, err = begin(3, func(func()) {
		if err := p.cluster.slurm.Cancel(context.Background(), "1"); err != nil {
			t.Error(err)
		}
	})
	if err == nil || !strings.Contains(err.Error(), "slurm:0 on n1 was lost") || out.Status != "" {
		t.Errorf("%+v, %v", out, err)
	}
	fit(t, p, "")
	if got := f.jobs(); !slices.Equal(got, []string{"2"}) {
		t.Errorf("jobs %v", got)
	}
	folder(t, o, 4, training+"train(3)\nevaluate_bpb(0.25, None, 4)\n")
	if out, err := p.Run(context.Background(), Order{Trial: far(4)}, nil); err != nil || out.ValBPB != 0.25 {
		t.Errorf("%+v, %v", out, err)
	}

	// A step that an earlier daemon has left is found by its handle.
	if n := Sweep(o.Owner, `{"cgroup":"","host":"n1","job":"2","step":"2.0"}`); n != 1 {
		t.Errorf("%d were found", n)
	}
	p.Close()
	if left := f.jobs(); len(left) > 0 {
		t.Errorf("jobs %v are left", left)
	}
	if left := marked(ownerMarker(o.Owner+":slurm:0"), 0, false); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
}

// TestStage sends a folder, and again what has changed of it.
func TestStage(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	put := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(from, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(from, name), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(to)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	sent := stamps{}
	again := func() (names []string) {
		t.Helper()
		err := send(from, sent, 64<<20, func(files []stagedFile) error {
			for _, f := range files {
				if !f.Mode.IsDir() && !f.More {
					names = append(names, f.Name)
				}
				if err := f.write(root); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	large := strings.Repeat("0123456789abcdef", 1<<20) // two parts and no more
	put("large", large)
	put("empty", "")
	put("in/a", "long text")
	if got := again(); !slices.Equal(got, []string{"empty", "in/a", "large"}) {
		t.Errorf("sent %v", got)
	}
	put("in/a", "short")
	if got := again(); !slices.Equal(got, []string{"in/a"}) {
		t.Errorf("sent %v again", got)
	}
	for name, want := range map[string]string{"large": large, "empty": "", "in/a": "short"} {
		if got, err := os.ReadFile(filepath.Join(to, name)); err != nil || string(got) != want {
			t.Errorf("%s has %d bytes, want %d: %v", name, len(got), len(want), err)
		}
	}
	if err := send(from, nil, 1<<20, func([]stagedFile) error { return nil }); err == nil || !strings.Contains(err.Error(), "more than 1 MiB") {
		t.Errorf("too much: %v", err)
	}
	out := stagedFile{Name: "../outside", Mode: 0o600, Data: []byte("x")}
	if err := out.write(root); err == nil {
		t.Error("a file is written outside")
	}
}

// TestNodeHasAGPU has a trial on a node's GPU measured as one on a GPU here: by
// what a GPU's rounding may differ, and with room beside its evaluation.
func TestNodeHasAGPU(t *testing.T) {
	o := options(t)
	o.Overlap = true
	for device, cuda := range map[string]bool{"cuda:0": true, "cpu": false} {
		h := &hosted{node: &node{hello: &hostHello{Device: device}}}
		p := newProof(&o, far(1), h)
		if want := map[bool]string{true: "cuda", false: "cpu"}[cuda]; p.device != want {
			t.Errorf("on %s of a node, proofs are of %s", device, p.device)
		}
		if got := o.order(Order{Trial: far(1)}, h); got.Overlap != cuda {
			t.Errorf("on %s of a node, room is left: %v", device, got.Overlap)
		}
	}
}

// TestLastAnswer has the notary's last answer reach a trial on a node, which waits
// for it, though the notary's folder has gone with it.
func TestLastAnswer(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	started, err := newNode(w, 0).start(job{name: "trial-1", id: 1})
	if err != nil {
		t.Fatal(err)
	}
	h := started.(*hosted)
	root := t.TempDir()
	h.staged = filepath.Join(root, "work")
	if err := os.Mkdir(filepath.Join(root, "proof-1"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, say := range []string{`{"folder":"proof-1"}`, `{"last":true}`} {
		if err := h.ask(request{Op: "prove", Say: json.RawMessage(say)}); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(root, "proof-1")); err != nil {
			t.Fatal(err)
		}
	}
	for got := ""; got != `{"last":true}`; {
		var said hostRequest
		if err := readFrame(r, &said); err != nil {
			t.Fatal(err)
		}
		if said.Request != nil {
			got = string(said.Request.Say)
		}
	}
}
