package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/study"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/search"
)

// slurmCluster is a real Slurm on this host: one controller and four nodes.
type slurmCluster struct {
	t   *testing.T
	dir string
}

func newSlurm(t *testing.T) *slurmCluster {
	t.Helper()
	dir, err := os.MkdirTemp("", "autoresearchd-slurm") // short: it holds sockets
	must(t, err)
	c := &slurmCluster{t: t, dir: dir}
	t.Setenv("SLURM_CONF", filepath.Join(dir, "slurm.conf"))
	t.Cleanup(func() {
		c.script("down")
		os.RemoveAll(dir)
	})
	c.script("up")
	return c
}

func (c *slurmCluster) script(command string, args ...string) {
	c.t.Helper()
	cmd := exec.Command("../../scripts/slurm.sh", append([]string{command, c.dir}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("scripts/slurm.sh %s: %v\n%s", command, err, out)
	}
}

func (c *slurmCluster) tool(name string, args ...string) string {
	c.t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		c.t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// kill ends one of its daemons at once.
func (c *slurmCluster) kill(name string) {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join(c.dir, "pid", name))
	must(c.t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	must(c.t, err)
	must(c.t, syscall.Kill(pid, syscall.SIGKILL))
}

// jobs are the allocations of the user, "12 RUNNING n1" each.
func (c *slurmCluster) jobs() []string {
	c.t.Helper()
	return slices.DeleteFunc(strings.Split(c.tool("squeue", "-h", "-o", "%i %T %N"), "\n"), func(s string) bool { return s == "" })
}

// intrusion tries from a node what is the study's alone.
const intrusion = `
import os, socket
def reached():
    study = %q
    def writes(name):
        with open(study + name, "r+b") as f:
            f.write(b"")
    def makes(name):
        with open(study + name, "w") as f:
            f.write("x")
    for name, attempt in {
        "the journal": lambda: writes("/state/journal.db"),
        "results.tsv": lambda: writes("/state/results.tsv"),
        "refs of git": lambda: makes("/workspace/.git/refs/heads/planted"),
        "a hook": lambda: makes("/workspace/.git/hooks/post-commit"),
        "train.py": lambda: writes("/workspace/train.py"),
        "the configuration": lambda: open(study + "/autoresearch.toml").read(),
        "the control socket": lambda: socket.socket(socket.AF_UNIX).connect(study + "/state/autoresearchd.sock"),
        "the network": lambda: socket.create_connection(("127.0.0.1", %d), 5),
    }.items():
        try:
            attempt()
            yield name
        except OSError:
            pass
print(f"reached {list(reached())}")
`

// intrusion is that, with something to reach in the network.
func (s *fixture) intrusion() string {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(s.t, err)
	s.t.Cleanup(func() { l.Close() })
	return fmt.Sprintf(intrusion, s.dir, l.Addr().(*net.TCPAddr).Port)
}

// intrudes shows that the same reaches everything outside of a sandbox.
func (s *fixture) intrudes() {
	s.t.Helper()
	out, err := exec.Command(filepath.Join(venv, "bin", "python"), "-c", s.intrusion()).CombinedOutput()
	if n := strings.Count(string(out), "'") / 2; err != nil || n != 8 || !strings.HasPrefix(string(out), "reached [") {
		s.t.Errorf("without a sandbox %d of 8: %s%v", n, out, err)
	}
	for _, planted := range []string{"workspace/.git/refs/heads/planted", "workspace/.git/hooks/post-commit"} {
		must(s.t, os.Remove(s.path(planted)))
	}
}

// onSlurm gives a study seats there alone, and a script that knows its gate by
// name, in the cache, since nothing else of the study is to be seen on a node. It
// tries to reach that first.
func (s *fixture) onSlurm(seats int, more string) {
	s.t.Helper()
	s.gate = s.path("cache", "gates", "gate")
	must(s.t, os.MkdirAll(filepath.Dir(s.gate), 0o755))
	held := strings.Replace(script, `os.environ.get("GATE", "")`, strconv.Quote(s.gate), 1)
	if held == script {
		s.t.Fatal("the script has no gate")
	}
	s.write("workspace/train.py", strings.Replace(held, "\nMATRIX_LR", s.intrusion()+"\nMATRIX_LR", 1))
	s.commit()
	s.configure(more)
	text := strings.Replace(s.read("autoresearch.toml"), `devices = "cpu"`, `devices = []`, 1)
	s.write("autoresearch.toml", strings.Replace(text, `sandbox = "off"`, `sandbox = "require"`, 1)+
		fmt.Sprintf("\n[[seats]]\nkind = \"slurm\"\ncount = %d\ntime = \"1h\"\n", seats))
}

// until waits until a status says so.
func (s *fixture) until(what string, done func(supervisor.Status) bool) (now supervisor.Status) {
	s.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		if now = s.now(); done(now) {
			return now
		}
		if time.Now().After(end) {
			s.t.Fatalf("waited %v for %s: %+v", patience, what, now.Seats)
		}
	}
}

// train waits until so many trials train, and says which on which seat.
func (s *fixture) train(n int, but ...int64) map[string]int64 {
	s.t.Helper()
	on := map[string]int64{}
	s.until(fmt.Sprintf("%d trials to train", n), func(now supervisor.Status) bool {
		clear(on)
		for _, seat := range now.Seats {
			if seat.Trial != nil && seat.Trial.Phase == search.Train && !slices.Contains(but, seat.Trial.ID) {
				on[seat.Name] = seat.Trial.ID
			}
		}
		return len(on) == n
	})
	return on
}

// TestSlurm runs a study on the seats of a real cluster, and takes away, one
// after another, a trial, the controller, a node, its slurmd, an allocation and
// the daemon. Each trial is decided once, and nothing is left.
func TestSlurm(t *testing.T) {
	if os.Getenv("AUTORESEARCH_TEST_SLURM") == "" {
		t.Skip("AUTORESEARCH_TEST_SLURM is not set: scripts/test.sh slurm does, where root can start a Slurm")
	}
	c := newSlurm(t)
	c.tool("sbatch", "--test-only", "--cpus-per-task=1", "../../scripts/examples/cluster/slurm.sbatch", "autoresearch.toml") // docs/cluster.md
	s := newStudy(t)
	s.onSlurm(4, "")
	s.ok("run", "--trials", "1")
	c.gone()

	const key = "sk-nobody-may-see-this"
	s.hold()
	daemon := func() *daemon {
		cmd := s.command("run")
		cmd.Env = append(cmd.Env, "OPENAI_API_KEY="+key)
		d := s.startWith(cmd)
		t.Cleanup(func() {
			for len(d.lines) > 0 {
				d.said = append(d.said, <-d.lines)
			}
			if t.Failed() {
				t.Log(strings.Join(d.said, "\n"))
			}
		})
		return d
	}
	d := daemon()
	on := s.train(4)
	hosts := map[string]bool{}
	for _, seat := range s.now().Seats {
		hosts[seat.Host] = true
		if !regexp.MustCompile(`^n[1-4]$`).MatchString(seat.Host) || seat.Device != "cpu" || seat.State != supervisor.SeatRunning {
			t.Errorf("a seat is %+v", seat)
		}
	}
	s.intrudes()
	for _, seat := range s.now().Seats {
		if !strings.Contains(seat.Sandbox, "seccomp") {
			t.Errorf("on %s trials are confined by %q", seat.Host, seat.Sandbox)
		}
	}
	if len(hosts) != 4 {
		t.Errorf("the seats are on %v", hosts)
	}
	if where := exposes(t, key); len(where) > 0 {
		t.Errorf("the key is in the environment of %v", where)
	}
	if where := holds(t, key, c.dir, fmt.Sprintf("/tmp/autoresearchd-%d", os.Getuid())); len(where) > 0 {
		t.Errorf("the key is in the files of a node: %v", where)
	}

	// A trial that is cancelled ends alone, and there is another in its place.
	cancelled := on["slurm:1"]
	s.ok("cancel", "slurm:1")
	on = s.train(4, cancelled)

	// The controller comes back, and nobody has noticed.
	c.saved()
	c.kill("slurmctld")
	c.script("controller")
	c.ready()
	if again := s.train(4); fmt.Sprint(again) != fmt.Sprint(on) {
		t.Errorf("after the controller's restart %v, before %v", again, on)
	}
	c.tool("scontrol", "update", "nodename=n1", "state=drain", "reason=test")
	if again := s.train(4); fmt.Sprint(again) != fmt.Sprint(on) {
		t.Errorf("while a node drains %v, before %v", again, on)
	}
	c.resume("n1")

	// A node that is down interrupts its trial alone; then it comes back.
	seat := s.at("n2")
	lost := on[seat]
	c.tool("scontrol", "update", "nodename=n2", "state=down", "reason=test")
	s.until("the seat to wait", func(now supervisor.Status) bool {
		i := slices.IndexFunc(now.Seats, func(s supervisor.SeatStatus) bool { return s.Name == seat })
		return now.Seats[i].State == supervisor.SeatWaiting && strings.Contains(now.Seats[i].Why, "slurm:")
	})
	c.resume("n2")
	on = s.train(4, lost)

	// An allocation that somebody else cancels, as preemption does.
	taken := on["slurm:0"]
	c.tool("scancel", c.job("slurm:0"))
	on = s.train(4, taken)

	// One whose time is over, one that is preempted, and one that is queued again:
	// each seat loses its trial, and no other notices.
	lose := func(seat, why string, take func(job string), give func()) int64 {
		lost := on[seat]
		take(c.job(seat))
		s.until(why, func(now supervisor.Status) bool {
			i := slices.IndexFunc(now.Seats, func(s supervisor.SeatStatus) bool { return s.Name == seat })
			return now.Seats[i].Trial == nil || now.Seats[i].Trial.ID != lost
		})
		if give != nil {
			give()
		}
		after := s.train(4, lost)
		for other, id := range on {
			if other != seat && after[other] != id {
				t.Errorf("as %s was lost (%s), %s went from trial %d to %d", seat, why, other, id, after[other])
			}
		}
		on = after
		return lost
	}
	expired := lose("slurm:1", "its time to be over", func(job string) { c.tool("scontrol", "update", "jobid="+job, "timelimit=1") }, nil)
	urgent := ""
	preempted := lose("slurm:2", "it to be preempted", func(job string) {
		urgent = c.tool("sbatch", "--parsable", "--partition=urgent", "--nodelist="+c.tool("squeue", "-h", "-j", job, "-o", "%N"), "--output=/dev/null", "--wrap=exec sleep 1000")
	}, func() {
		s.until("the seat to wait in the queue", func(now supervisor.Status) bool {
			i := slices.IndexFunc(now.Seats, func(s supervisor.SeatStatus) bool { return s.Name == "slurm:2" })
			return now.Seats[i].State == supervisor.SeatWaiting && strings.Contains(now.Seats[i].Why, "its allocation waits in the queue")
		})
		c.tool("scancel", urgent)
	})
	again := ""
	requeued := lose("slurm:3", "it to be queued again", func(job string) {
		again = job
		c.tool("scontrol", "update", "jobid="+job, "requeue=1")
		c.tool("scontrol", "requeue", job)
	}, func() { // Slurm would have it wait for two minutes
		s.poll("the job to be in the queue again", func() bool {
			return exec.Command("scontrol", "update", "jobid="+again, "starttime=now").Run() == nil && c.tool("squeue", "-h", "-j", again, "-o", "%T") != "COMPLETING"
		})
	})
	if job := c.job("slurm:3"); job != again {
		t.Errorf("job %s was queued again, and the seat has job %s", again, job)
	}

	// The daemon is killed in the midst: what ran is interrupted, no step is left,
	// and the allocations are used again.
	before := c.jobs()
	must(t, d.Process.Kill())
	d.end()
	killed := []int64{}
	for _, id := range on {
		killed = append(killed, id)
	}
	d = daemon()
	s.train(4, killed...)
	if after := c.jobs(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the allocations were %v and are %v", before, after)
	}
	if steps := strings.Fields(c.tool("squeue", "-h", "-s", "-o", "%j")); len(slices.DeleteFunc(steps, func(s string) bool { return s != "host" })) != 4 {
		t.Errorf("steps: %v", steps)
	}

	// slurmd dies: its step lives on, and so may the trial. It comes back.
	c.kill("n3")
	c.script("node", "3")
	s.open()
	for range 8 {
		d.until("trial ends")
	}
	s.ok("stop")
	if code := d.end(); code != 0 {
		t.Fatalf("ended with %d\n%s", code, strings.Join(d.said, "\n"))
	}
	c.gone()
	if left := s.seats(); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
	interrupted := append(killed, cancelled, lost, taken, expired, preempted, requeued)
	s.once(interrupted)
}

// exposes finds the processes whose environment holds a text.
func exposes(t *testing.T, text string) (out []string) {
	t.Helper()
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	looked := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		looked++
		if bytes.Contains(data, []byte(text)) {
			command, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
			out = append(out, string(bytes.ReplaceAll(command, []byte{0}, []byte(" "))))
		}
	}
	if looked < 10 {
		t.Errorf("only %d processes could be looked at", looked)
	}
	return out
}

// holds finds the files below folders that hold a text.
func holds(t *testing.T, text string, dirs ...string) (out []string) {
	t.Helper()
	looked := 0
	for _, dir := range dirs {
		_ = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return nil
			}
			if data, err := os.ReadFile(path); err == nil {
				if looked++; bytes.Contains(data, []byte(text)) {
					out = append(out, path)
				}
			}
			return nil
		})
	}
	if looked < 10 {
		t.Errorf("only %d files could be looked at", looked)
	}
	return out
}

// at is the seat on a node.
func (s *fixture) at(host string) string {
	s.t.Helper()
	for _, seat := range s.now().Seats {
		if seat.Host == host {
			return seat.Name
		}
	}
	s.t.Fatalf("no seat is on %s", host)
	return ""
}

// job is the allocation of a seat.
func (c *slurmCluster) job(seat string) string {
	c.t.Helper()
	for line := range strings.Lines(c.tool("squeue", "-h", "-t", "R", "-o", "%i %j")) {
		if id, name, _ := strings.Cut(line, " "); strings.Contains(name, "/"+seat+"/") {
			return id
		}
	}
	c.t.Fatalf("%s has no allocation", seat)
	return ""
}

// saved waits until the controller has written down what it knows, which it
// does within five seconds: what it forgets it ends.
func (c *slurmCluster) saved() {
	c.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if info, err := os.Stat(filepath.Join(c.dir, "state", "job_state")); err == nil && time.Since(info.ModTime()) > 7*time.Second {
			return
		}
	}
	c.t.Fatal("the controller goes on writing")
}

// ready waits for a controller that was started again, and its nodes.
func (c *slurmCluster) ready() {
	c.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if out, err := exec.Command("sinfo", "-h", "-p", "main", "-N", "-o", "%T").CombinedOutput(); err == nil && !bytes.Contains(out, []byte("unk")) {
			return
		}
	}
	c.t.Fatal("the controller does not come back")
}

// resume lets a node have jobs again.
func (c *slurmCluster) resume(node string) {
	c.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		_ = exec.Command("scontrol", "update", "nodename="+node, "state=resume").Run() // refused while what ran there still ends
		if state := c.tool("sinfo", "-h", "-p", "main", "-n", node, "-o", "%T"); !strings.HasPrefix(state, "d") {
			return
		}
	}
	c.t.Fatalf("%s does not come back: %s", node, c.tool("scontrol", "show", "node", node))
}

// gone waits until no allocation is left.
func (c *slurmCluster) gone() {
	c.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if len(c.jobs()) == 0 {
			return
		}
	}
	c.t.Errorf("allocations are left: %v", c.jobs())
}

// once proves that each trial is decided once, in order, and that those and no
// others were interrupted.
func (s *fixture) once(interrupted []int64) {
	t := s.t
	t.Helper()
	r, err := journal.OpenReader(s.path("state"))
	must(t, err)
	defer r.Close()
	records, err := r.Trials()
	must(t, err)
	seen := map[int64]bool{}
	for i, rec := range records {
		id := rec.Trial.ID
		if seen[id] || rec.Decided != int64(i+1) || rec.Stage != search.StageDone || rec.Trial.Kind != "2 CPU cores" && !strings.Contains(rec.Trial.Kind, "CPU core") {
			t.Errorf("record %d is trial %d on %q, decision %d, %s", i+1, id, rec.Trial.Kind, rec.Decided, rec.Stage)
		}
		seen[id] = true
		if log, err := os.ReadFile(filepath.Join(study.Folder(s.path("state"), id), "run.log")); rec.Outcome.Status == search.Completed &&
			(err != nil || !bytes.Contains(log, []byte("reached []")) || !strings.Contains(rec.Outcome.Sandbox, "seccomp")) {
			t.Errorf("trial %d, confined by %q: %v %s", id, rec.Outcome.Sandbox, err, log)
		}
		if want := slices.Contains(interrupted, id); (rec.Outcome.Status == search.Interrupted) != want || !want && rec.Outcome.Status != search.Completed {
			t.Errorf("trial %d is %s: %s (interrupted: %v)", id, rec.Outcome.Status, rec.Outcome.Detail, want)
		}
	}
	s.ok("verify")
}
