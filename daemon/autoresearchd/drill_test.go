package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"autoresearchd/daemon/supervisor"
	"autoresearchd/search"
)

// seats are the processes of trials whose state is in this study.
func (s *fixture) seats() []int {
	s.t.Helper()
	var out []int
	entries, err := os.ReadDir("/proc")
	must(s.t, err)
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		env, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		stat, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if strings.Contains(string(env), "AUTORESEARCH_SEAT=") && strings.Contains(string(env), s.dir) && !strings.Contains(string(stat), ") Z ") {
			out = append(out, pid)
		}
	}
	return out
}

// training waits until a trial trains, held by its gate.
func (s *fixture) training(id int64) {
	s.t.Helper()
	s.poll("trial "+strconv.FormatInt(id, 10)+" to train", func() bool {
		var now supervisor.Status
		out, _, code := s.cli("status", "--json")
		return code == 0 && json.Unmarshal([]byte(out), &now) == nil &&
			slices.ContainsFunc(now.Running(), func(r *supervisor.RunningStatus) bool { return r.ID == id && r.Phase == search.Train })
	})
}

// patience is how long a test waits for an event before it fails: far longer
// than any takes on a loaded machine, as no test is about that.
const patience = 3 * time.Minute

// poll waits for something that no event tells.
func (s *fixture) poll(what string, done func() bool) {
	s.t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

func (s *fixture) hold() { must(s.t, os.WriteFile(s.gate, nil, 0o644)) }
func (s *fixture) open() { must(s.t, os.Remove(s.gate)) }

// TestKilledMidTrial is fault 36: the trainer is reaped, the loop goes on, and
// what was interrupted is in the record once, as neither discarded nor crashed.
func TestKilledMidTrial(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.ok("run", "--trials", "1")
	s.hold()
	d := s.start()
	s.training(2)
	if len(s.seats()) == 0 {
		t.Fatal("no trainer runs")
	}
	must(t, d.Process.Kill())
	d.end()
	s.open()
	s.ok("run", "--trials", "1")
	if left := s.seats(); len(left) > 0 {
		t.Errorf("the trainer %v was not reaped", left)
	}
	rows := s.trials()
	if len(rows) != 3 || rows[1].Status != "interrupted" || rows[2].Status != "completed" {
		t.Fatalf("recorded %+v", rows)
	}
	if lines := strings.Split(strings.TrimSpace(s.read("state/results.tsv")), "\n"); len(lines) != 3 {
		t.Errorf("results.tsv has %q", lines)
	}
	if rows[1].Commit != "" {
		t.Errorf("trial 2 is not decided and has commit %s", rows[1].Commit)
	}
	for _, r := range []row{rows[0], rows[2]} {
		if commit := s.git("rev-parse", fmt.Sprintf("refs/autoresearch/test/trial/%d", r.ID)); !strings.HasPrefix(commit, r.Commit) || r.Commit == "" {
			t.Errorf("trial %d is commit %s in git and %s in the journal", r.ID, commit, r.Commit)
		}
	}
}

// TestStoppedMidTrial is fault 38: `systemctl stop`.
func TestStoppedMidTrial(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.hold()
	d := s.start()
	s.training(1)
	must(t, d.Process.Signal(syscall.SIGTERM))
	if code := d.end(); code != 0 {
		t.Errorf("ended with %d\n%s", code, strings.Join(d.said, "\n"))
	}
	if rows := s.trials(); len(rows) != 1 || rows[0].Status != "interrupted" {
		t.Errorf("recorded %+v", rows)
	}
	if left := s.seats(); len(left) > 0 {
		t.Errorf("the trainer %v is still there", left)
	}
}

// TestSecondDaemon is fault 40.
func TestSecondDaemon(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.hold()
	d := s.start()
	_, fault, code := s.cli("run", "--trials", "1")
	want := fmt.Sprintf("autoresearchd: open state directory DIR/state: another autoresearchd holds it (pid %d): stop it first", d.Process.Pid)
	if code != 1 || !strings.HasPrefix(s.stable(fault), want) {
		t.Errorf("%d %s, want %s", code, s.stable(fault), want)
	}
}

// TestReload swaps the strategy in mid-study, and keeps it when the next file
// is bad.
func TestReload(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.hold()
	d := s.start()
	s.training(1)
	s.configure("\n[search]\nstrategy = \"nobody\"\n[http]\nlisten = \"\"\n")
	must(t, d.Process.Signal(syscall.SIGHUP))
	if line := d.until("was not reloaded"); !strings.Contains(line, "nobody") {
		t.Errorf("said %s", line)
	}
	s.open()
	d.until("trial ends\" trial=2")
	s.configure("\n[search]\nstrategy = \"random\"\n[http]\nlisten = \"\"\n")
	must(t, d.Process.Signal(syscall.SIGHUP))
	d.until("configuration reloaded")
	first := regexp.MustCompile(`trial=(\d+)`).FindStringSubmatch(d.until("trial begins"))[1]
	for _, r := range s.trials()[1:] {
		want := "evolution"
		if n, _ := strconv.ParseInt(first, 10, 64); r.ID >= n {
			want = "random"
		}
		if r.Strategy != want {
			t.Errorf("trial %d is by %s, want %s", r.ID, r.Strategy, want)
		}
	}
}

// stuck is a train.py that holds the GIL in a loop in C for hours where its
// gate would hold it.
var stuck = strings.Replace(script, "time.sleep(0.01)", "sum(range(10**12))", 1)

// TestScrapeWhileTheInterpreterIsStuck is fault 4: a loop in C holds the GIL,
// and every page answers.
func TestScrapeWhileTheInterpreterIsStuck(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.write("workspace/train.py", stuck)
	s.commit()
	s.hold()
	s.configure("\n[search]\nstrategy = \"evolution\"\n[watchdog]\nstall = \"1h\"\ngrace = \"1s\"\n[http]\nlisten = \"127.0.0.1:0\"\n")
	d := s.start()
	address := regexp.MustCompile(`listen=(\S+)`).FindStringSubmatch(d.said[len(d.said)-1])[1]
	s.training(1)
	for path, want := range map[string]string{"/metrics": `autoresearch_trial_running{seat="cpu"} 1`, "/healthz": "alive", "/readyz": "ready",
		"/api/v1/status": `"trial":{"id":1,`, "/api/v1/trials": `"total":0`, "/api/v1/trials/1": `"stage":"begun"`, "/api/v1/staircase": `"candidates":[]`, "/api/v1/strategies": `"strategies":[`} {
		// On a loaded machine an answer may lack a part that comes late.
		s.poll(want+" at "+path, func() bool {
			answer, err := http.Get("http://" + address + path)
			must(t, err)
			defer answer.Body.Close()
			body, err := io.ReadAll(answer.Body)
			must(t, err)
			return answer.StatusCode == http.StatusOK && strings.Contains(string(body), want)
		})
	}
	s.ok("cancel")
	d.until("trial ends\" trial=1")
	if rows := s.trials(); rows[0].Status != "interrupted" {
		t.Errorf("recorded %+v", rows)
	}
}

// TestStuckTrialIsKilled has the daemon's watchdog end such a trial.
func TestStuckTrialIsKilled(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.write("workspace/train.py", stuck)
	s.commit()
	s.hold()
	s.configure("\n[search]\nstrategy = \"evolution\"\n[watchdog]\nstall = \"1s\"\ngrace = \"0s\"\n[http]\nlisten = \"\"\n")
	d := s.start()
	d.until("the watchdog killed the trial")
	d.until("trial ends\" trial=1")
	if rows := s.trials(); rows[0].Status != "timed out" {
		t.Errorf("recorded %+v", rows)
	}
}

// TestScrapeDuringShutdown asks for the page until the daemon is gone, which
// waits for a trial that ignores SIGTERM and holds the GIL.
func TestScrapeDuringShutdown(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.write("workspace/train.py", "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"+stuck)
	s.commit()
	s.hold()
	s.configure("\n[search]\nstrategy = \"evolution\"\n[watchdog]\ngrace = \"1h\"\n[http]\nlisten = \"127.0.0.1:0\"\n")
	d := s.start()
	address := regexp.MustCompile(`listen=(\S+)`).FindStringSubmatch(d.said[len(d.said)-1])[1]
	s.training(1)
	must(t, d.Process.Signal(syscall.SIGTERM))
	pages := 0 // with all that there is
	s.poll("the server's end", func() bool {
		answer, err := http.Get("http://" + address + "/metrics")
		if err != nil { // the server is gone
			return true
		}
		defer answer.Body.Close()
		body, _ := io.ReadAll(answer.Body)
		if strings.Contains(string(body), "\nautoresearch_trial_running{") {
			pages++
		}
		if pages == 20 {
			for _, pid := range s.seats() { // its grace would last for an hour
				must(t, syscall.Kill(pid, syscall.SIGKILL))
			}
		}
		return false
	})
	if code := d.end(); code != 0 || pages < 20 {
		t.Errorf("%d pages, and the daemon ended with %d", pages, code)
	}
}

// TestServiceManager plays systemd's part: readiness, watchdog and status come
// over a socket.
func TestServiceManager(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.hold()
	socket := s.path("notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	must(t, err)
	defer l.Close()
	cmd := s.command("run")
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+socket, "WATCHDOG_USEC=400000")
	d := s.startWith(cmd)
	seen := map[string]bool{}
	buffer := make([]byte, 4096)
	wait := func(names ...string) {
		t.Helper()
		must(t, l.SetReadDeadline(time.Now().Add(patience)))
		for _, name := range names {
			for !seen[name] {
				n, err := l.Read(buffer)
				must(t, err)
				for line := range strings.Lines(string(buffer[:n])) {
					key, _, _ := strings.Cut(line, "=")
					seen[key] = true
				}
			}
		}
	}
	wait("READY", "WATCHDOG", "STATUS")
	must(t, d.Process.Signal(syscall.SIGHUP))
	wait("RELOADING")
	must(t, d.Process.Signal(syscall.SIGTERM))
	wait("STOPPING")
	d.end()
	if env, _ := os.ReadFile(s.path("state/trials/1/environ")); strings.Contains(string(env), "NOTIFY_SOCKET") {
		t.Error("the trial was given systemd's socket")
	}
}

// TestResidentMemory holds the daemon below 60 MB while a trial runs.
func TestResidentMemory(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.hold()
	d := s.start()
	s.training(1)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.Process.Pid))
	must(t, err)
	kib, err := strconv.Atoi(regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindStringSubmatch(string(status))[1])
	must(t, err)
	t.Logf("resident: %.1f MB", float64(kib)/1000)
	if kib > 60000 {
		t.Errorf("the daemon has %d kB resident", kib)
	}
}
