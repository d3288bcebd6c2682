package main

import (
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"autoresearchd/daemon/hide"
	"autoresearchd/search/llm/llmtest"
)

// manager plays systemd's part: it hears what is sent to NOTIFY_SOCKET.
type manager struct {
	t      *testing.T
	l      *net.UnixConn
	socket string
	said   []string
}

func (s *fixture) manager() *manager {
	s.t.Helper()
	m := &manager{t: s.t, socket: s.path("notify")}
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.socket, Net: "unixgram"})
	must(s.t, err)
	m.l = l
	s.t.Cleanup(func() { l.Close() })
	return m
}

// until waits for a line that begins so and returns the rest of it.
func (m *manager) until(prefix string) string {
	m.t.Helper()
	must(m.t, m.l.SetReadDeadline(time.Now().Add(time.Minute)))
	buffer := make([]byte, 8192)
	for {
		n, err := m.l.Read(buffer)
		if err != nil {
			m.t.Fatalf("systemd never heard %q: %v; it heard %q", prefix, err, m.said)
		}
		for line := range strings.Lines(string(buffer[:n])) {
			m.said = append(m.said, line)
			if rest, ok := strings.CutPrefix(line, prefix); ok {
				return rest
			}
		}
	}
}

// status waits for a status that holds the words.
func (m *manager) status(words string) string {
	m.t.Helper()
	for {
		if line := m.until("STATUS="); strings.Contains(line, words) {
			return line
		}
	}
}

// TestRefusedUnderAServiceManager has starts that no further start would mend:
// the status that the unit knows, and the reason where `systemctl status` shows it.
func TestRefusedUnderAServiceManager(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(s *fixture)
		plain int // the status at a terminal
		want  string
	}{
		"wrong key":    {func(s *fixture) { s.configure("\n[watchdog]\nstal = \"60s\"\n") }, 2, "watchdog.stal"},
		"no TOML":      {func(s *fixture) { s.write("autoresearch.toml", "[study\n") }, 2, "is not TOML"},
		"no file":      {func(s *fixture) { must(s.t, os.Remove(s.path("autoresearch.toml"))) }, 2, "no such file"},
		"no work tree": {func(s *fixture) { must(s.t, os.RemoveAll(s.path("workspace/.git"))) }, 1, "workspace"},
		"no data": {func(s *fixture) {
			s.write("workspace/prepare.py", s.read("workspace/prepare.py")+"\n# tokenizer.pkl\n")
			s.commit()
		}, 1, "data is not prepared"},
		"many faults": {func(s *fixture) {
			s.configure(strings.Repeat("\n[watchdog.x]\ny = 1\n", 1) + "[search.space]\n" + manyFaults())
		}, 2, "…"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStudy(t)
			c.spoil(s)
			m := s.manager()
			if _, fault, code := s.cli("run", "--trials", "1"); code != c.plain {
				t.Errorf("at a terminal it ends with %d, want %d\n%s", code, c.plain, fault)
			}
			cmd := s.command("run")
			cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+m.socket)
			out, _ := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != 78 {
				t.Errorf("the service ends with %d, want 78\n%s", code, out)
			}
			if status := m.until("STATUS="); !strings.HasPrefix(status, "refused to start, ") || !strings.Contains(status, c.want) || len(status) > 1100 {
				t.Errorf("systemd shows %s", status)
			}
		})
	}
}

func manyFaults() string {
	var b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&b, "A%d = { low = 2, high = 1 }\n", i)
	}
	return b.String()
}

// TestInTheWay has what may be gone when the daemon is started again.
func TestInTheWay(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.hold()
	s.start()
	m := s.manager()
	cmd := s.command("run")
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+m.socket)
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("ends with %d\n%s", code, out)
	}
	if status := m.until("STATUS=ended: "); !strings.Contains(status, "another autoresearchd holds it") {
		t.Errorf("systemd shows %s", status)
	}
}

// TestReloadCommand is the unit's ExecReload: its status is what came of it, and
// a refusal is shown until a reload is good.
func TestReloadCommand(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.hold()
	if _, fault, code := s.cli("reload"); code != 1 || !strings.Contains(fault, "no daemon is running") {
		t.Errorf("without a daemon: %d %s", code, fault)
	}
	m := s.manager()
	cmd := s.command("run")
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+m.socket)
	d := s.startWith(cmd)
	s.training(1)
	sound := s.read("autoresearch.toml")
	if out := s.ok("reload"); out != willHold+"\n" {
		t.Errorf("says %q", out)
	}
	for name, c := range map[string]struct{ text, want string }{
		"a strategy that is none": {strings.Replace(sound, `"evolution"`, `"nobody"`, 1), `"nobody" is not a strategy`},
		"a table broken":          {sound + "\n[llm]\nenabled = true\n", "llm.base_url"},
		"no TOML":                 {sound + "\n[llm\n", "is not TOML"},
		"what needs a restart":    {strings.Replace(sound, "[trial]\n", "[trial]\nprocesses = 100\n", 1), "reload cannot change trial.processes: restart the daemon"},
		"an option":               {sound + "\n[search.evolution]\npopulation = 0\n", "population"},
		"an arm's option":         {strings.Replace(sound, `"evolution"`, `"portfolio"`, 1) + badArm, badArmFault},
		"a key that is gone":      {sound + "\n[llm]\nenabled = true\nbase_url = \"http://127.0.0.1:1/v1\"\nmodels = [\"m\"]\nkey_file = \"gone\"\n", "llm.key_file"},
	} {
		s.write("autoresearch.toml", c.text)
		_, fault, code := s.cli("reload")
		if code != 1 || !strings.Contains(fault, c.want) || !strings.Contains(fault, "the old one stays in force") {
			t.Errorf("%s: %d %s", name, code, fault)
		}
		if status := m.status(c.want); !strings.Contains(status, "the last reload was refused: ") {
			t.Errorf("%s: systemd shows %s", name, status)
		}
		if out := s.ok("status"); !strings.Contains(out, "the last one was refused: ") {
			t.Errorf("%s: status says\n%s", name, out)
		}
	}
	// Where not even the daemon can be found by the file, systemd's MAINPID serves.
	s.write("autoresearch.toml", "[study]\nstate = 7\n")
	lost := s.command("reload")
	lost.Env = append(lost.Env, fmt.Sprintf("MAINPID=%d", d.Process.Pid))
	if out, err := lost.CombinedOutput(); err == nil || lost.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), "study.state") {
		t.Errorf("%v %s", err, out)
	}
	m.until("RELOADING")
	m.status("study.state")
	s.write("autoresearch.toml", sound)
	s.ok("reload")
	if status := m.until("STATUS="); strings.Contains(status, "refused") {
		t.Errorf("after a good one systemd shows %s", status)
	}
	if out := s.ok("status"); strings.Contains(out, "refused") {
		t.Errorf("after a good one status says\n%s", out)
	}
}

const (
	badArm      = "\n[search.gp]\nopening = -1\n"
	badArmFault = "search.gp.opening = -1: use 0 or more"
)

// TestArmsTable has a fault in the table of a strategy that the portfolio asks:
// check and run refuse it in the same words, and say it once.
func TestArmsTable(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.write("autoresearch.toml", strings.Replace(s.read("autoresearch.toml"), `"evolution"`, `"portfolio"`, 1)+badArm)
	for _, args := range [][]string{{"check"}, {"run", "--trials", "1"}} {
		if _, fault, code := s.cli(args...); code == 0 || strings.Count(fault, badArmFault) != 1 {
			t.Errorf("%q ended with %d: %s", args, code, fault)
		}
	}
	if s.git("for-each-ref", "refs/autoresearch", "refs/heads/autoresearch") != "" {
		t.Error("a study was begun")
	}
}

// TestBrokenTableElsewhere looks at a healthy daemon, and commands it, by a file
// whose [llm] is broken.
func TestBrokenTableElsewhere(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.ok("run", "--trials", "1")
	s.hold()
	s.start()
	s.training(2)
	sound := s.read("autoresearch.toml")
	for name, more := range map[string]string{"unsound": "\n[llm]\nenabled = true\n", "unknown": "\n[llm]\nbase_ur = 1\n", "no TOML": "\n[llm\nenabled"} {
		s.write("autoresearch.toml", sound+more)
		for _, args := range [][]string{{"status"}, {"status", "--json"}, {"trials"}, {"show", "1"}, {"diff", "1"}, {"log", "1"}, {"pause"}, {"resume"}, {"plot", "-o", "p.png"}, {"export", "--format", "csv", "-o", "t.csv"}} {
			out, fault, code := s.cli(args...)
			if code != 0 || !strings.Contains(fault, "autoresearch.toml is unsound and would be refused") || strings.Contains(out, "unsound") {
				t.Errorf("%s: %q ended with %d\n%s%s", name, args, code, out, fault)
			}
		}
		if _, _, code := s.cli("check"); code != 2 {
			t.Errorf("%s: check ended with %d", name, code)
		}
	}
}

// spy is a train.py that looks for the word in all that it can reach of the
// daemon, and says what it found.
const spy = `
def look(name, read):
    try:
        found = WORD in read()
    except OSError as e:
        found = e.strerror
    with open(os.environ["FOUND"], "a") as f:
        f.write(f"{name}: {found}\n")

def whole(path):
    with open(path, "rb") as f:
        return f.read()

def memory(pid):
    text = b""
    with open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in open(f"/proc/{pid}/maps"):
            span, mode = line.split()[:2]
            start, end = (int(x, 16) for x in span.split("-"))
            if mode.startswith("rw") and end - start < 1 << 28:
                try:
                    mem.seek(start)
                    text += mem.read(end - start)
                except OSError:
                    pass
    return text

def files(pid):
    return b"".join(whole(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd") if os.path.isfile(f"/proc/{pid}/fd/{fd}"))

WORD = b"sk-very-" + b"secret-0123456789"
daemon = os.getppid()
look("own environment", lambda: repr(os.environ).encode() + whole("/proc/self/environ"))
look("environment", lambda: whole(f"/proc/{daemon}/environ"))
look("memory", lambda: memory(daemon))
look("descriptors", lambda: files(daemon))
look("folder", lambda: whole(f"/proc/{daemon}/cwd/secret/key"))
look("key_file", lambda: whole(os.environ["KEY_FILE"]))
look("credential", lambda: whole(os.environ["CREDENTIAL"]))
`

// TestTrialsAndTheKey has a real trial look for the model's key wherever it may
// lie.
func TestTrialsAndTheKey(t *testing.T) {
	t.Parallel()
	const secret = "sk-very-secret-0123456789"
	server := llmtest.New()
	web := httptest.NewServer(server)
	defer web.Close()
	confined := hide.Supported() == nil
	user := os.Getuid() != 0 // root looks into every process that is not confined
	for source, value := range map[string]string{"key_env": "THE_KEY", "key_file": "secret/key", "key_credential": "openai"} {
		t.Run(source, func(t *testing.T) {
			s := newStudy(t)
			s.write("workspace/train.py", script+spy)
			s.commit()
			// Beside the folders in which trials make files.
			away, err := os.MkdirTemp("/", "autoresearchd-test")
			if err != nil {
				away = s.path()
			}
			defer os.RemoveAll(filepath.Join(away, "secret"))
			defer os.Remove(away)
			for _, name := range []string{"secret/key", "secret/credentials/openai"} {
				must(t, os.MkdirAll(filepath.Dir(filepath.Join(away, name)), 0o700))
				must(t, os.WriteFile(filepath.Join(away, name), []byte(secret+"\n"), 0o600))
			}
			if source == "key_file" {
				value = filepath.Join(away, value)
			}
			s.configure(fmt.Sprintf("\n[llm]\nenabled = true\nbase_url = %q\nmodels = [\"small\"]\n%s = %q\n", web.URL+"/v1", source, value))
			cmd := s.command("run", "--trials", "1")
			cmd.Env = append(cmd.Env, "FOUND="+s.path("found"), "KEY_FILE="+filepath.Join(away, "secret/key"), "CREDENTIAL="+filepath.Join(away, "secret/credentials/openai"))
			switch source {
			case "key_env":
				cmd.Env = append(cmd.Env, "THE_KEY="+secret, "OTHER_API_KEY="+secret)
			case "key_credential":
				cmd.Env = append(cmd.Env, "CREDENTIALS_DIRECTORY="+filepath.Join(away, "secret/credentials"))
			}
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			found := "\n" + s.read("found")
			for what, closed := range map[string]bool{
				"own environment": true, "environment": true, "memory": confined || user, "descriptors": confined || user, "folder": confined || user,
				"key_file": confined && source == "key_file" && away != s.path(), "credential": confined && source == "key_credential" && away != s.path(),
			} {
				if !strings.Contains(found, "\n"+what+": ") || closed && strings.Contains(found, "\n"+what+": True") {
					t.Errorf("of %s the trial says%s", what, found)
				}
			}
			if strings.Contains(string(out), secret) {
				t.Errorf("the key is printed\n%s", out)
			}
			t.Logf("%s", found)
		})
	}
}

// TestExposedKeyFile says of a key that lies where trials make files that they
// can read it.
func TestExposedKeyFile(t *testing.T) {
	t.Parallel()
	if hide.Supported() != nil {
		t.Log("nothing can be closed here, and that is said instead")
	}
	s := newStudy(t)
	s.write("state/key", "sk-1\n")
	s.configure("\n[llm]\nenabled = true\nbase_url = \"http://127.0.0.1:1/v1\"\nmodels = [\"small\"]\nkey_file = \"state/key\"\n")
	_, said, code := s.cli("run", "--trials", "1")
	if code != 0 || !strings.Contains(said, "trials can read") || !strings.Contains(said, s.path("state/key")) {
		t.Errorf("%d %s", code, said)
	}
}

// TestStoppedInProcess ends a daemon whose trial is the daemon: stopped, it is
// stopped; a trial that had to be killed has it started again.
func TestStoppedInProcess(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end  func(s *fixture, d *daemon)
		want int
	}{
		"stop":   {func(s *fixture, d *daemon) { must(s.t, d.Process.Signal(syscall.SIGTERM)) }, 0},
		"cancel": {func(s *fixture, d *daemon) { s.ok("cancel") }, 75},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStudy(t)
			s.hold()
			s.write("autoresearch.toml", strings.Replace(s.read("autoresearch.toml"), "[trial]\n", "[trial]\nisolation = \"inprocess\"\n", 1))
			cmd := s.command("run")
			cmd.Env = append(cmd.Env, "AUTORESEARCH_SUPERVISED=1")
			d := s.startWith(cmd)
			s.training(1)
			c.end(s, d)
			if code := d.end(); code != c.want {
				t.Errorf("ended with %d, want %d\n%s", code, c.want, strings.Join(d.said, "\n"))
			}
			if rows := s.trials(); len(rows) != 1 || rows[0].Status != "interrupted" {
				t.Errorf("recorded %+v", rows)
			}
		})
	}
}

// TestEachEndOnce has standard output and error be systemd's journal, where a
// trial's end is one line.
func TestEachEndOnce(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	out, err := os.Create(s.path("journal"))
	must(t, err)
	defer out.Close()
	var st unix.Stat_t
	must(t, unix.Fstat(int(out.Fd()), &st))
	for _, stream := range []string{fmt.Sprintf("%d:%d", st.Dev, st.Ino), "1:2"} {
		must(t, out.Truncate(0))
		cmd := s.command("run", "--trials", "2")
		cmd.Stdout, cmd.Stderr = out, out
		cmd.Env = append(cmd.Env, "JOURNAL_STREAM="+stream)
		must(t, cmd.Run())
		said := s.read("journal")
		want := map[bool]int{true: 0, false: 2}[stream != "1:2"]
		if n := strings.Count(said, "\ncandidate ") + strings.Count(said, "\x00candidate "); n != want || strings.Count(said, `msg="trial ends"`) != 2 {
			t.Errorf("with JOURNAL_STREAM=%s\n%s", stream, said)
		}
	}
}

// TestNoScoreYet has no number stand for the score of a study that has none.
func TestNoScoreYet(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	sound := s.read("workspace/train.py")
	s.write("workspace/train.py", strings.Replace(sound, "val_bpb = evaluate_bpb", "raise RuntimeError\nval_bpb = evaluate_bpb", 1))
	s.commit()
	s.ok("run", "--trials", "1")
	out, said, code := s.cli("run", "--trials", "1")
	if code != 0 || !strings.Contains(out, "continuing after 1 candidate in 1 run: 0 kept, 0 discarded, 1 failed (1 crashed); none has a score yet") || strings.Contains(out+said, "0.000000") || strings.Contains(said, "val_bpb=0 ") {
		t.Errorf("%d\n%s\n%s", code, out, said)
	}
}
