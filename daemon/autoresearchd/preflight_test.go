package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"autoresearchd/daemon/supervisor"
)

// refuses is refusesStart, and doctor says the same.
func (s *fixture) refuses(words ...string) string {
	s.t.Helper()
	fault := s.refusesStart(words...)
	report, _, _ := s.cli("doctor")
	for _, word := range words {
		if !strings.Contains(report, word) {
			s.t.Errorf("doctor does not say %q:\n%s", word, report)
		}
	}
	return fault
}

// refusesStart runs what must fail before any trial, with words in one message.
func (s *fixture) refusesStart(words ...string) string {
	s.t.Helper()
	out, fault, code := s.cli("run", "--trials", "1")
	if code == 0 {
		s.t.Fatalf("it ran:\n%s%s", out, fault)
	}
	if strings.Contains(fault, "trial begins") || strings.Count(fault, "autoresearchd:") != 1 {
		s.t.Errorf("not one message before the first trial:\n%s", fault)
	}
	for _, word := range words {
		if !strings.Contains(fault, word) {
			s.t.Errorf("run does not say %q:\n%s", word, fault)
		}
	}
	return fault
}

// typed runs the last command that a message advises.
func (s *fixture) typed(message string) {
	s.t.Helper()
	parts := strings.Split(message, "`")
	if len(parts) < 3 {
		s.t.Fatalf("no command in %s", message)
	}
	cmd := exec.Command("sh", "-c", parts[len(parts)-2])
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=ada", "GIT_AUTHOR_EMAIL=ada@localhost", "GIT_COMMITTER_NAME=ada", "GIT_COMMITTER_EMAIL=ada@localhost")
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", parts[len(parts)-2], err, out)
	}
}

func TestUnwritableRepository(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"workspace/.git", "workspace/.git/objects", "workspace/.git/refs/heads", "an object's folder"} {
		t.Run(filepath.Base(part), func(t *testing.T) {
			s := newStudy(t)
			if strings.HasPrefix(part, "an ") {
				folders, err := filepath.Glob(s.path("workspace/.git/objects/[0-9a-f]*"))
				must(t, err)
				part, err = filepath.Rel(s.dir, folders[0])
				must(t, err)
			}
			s.readOnly(part)
			s.refusesStart("cannot be written", "chmod -R u+rwX "+s.path("workspace/.git"))
		})
	}
}

func TestBranchInTheWay(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.git("branch", "autoresearch")
	fault := s.refuses("has a branch autoresearch", "branch -m autoresearch autoresearch-old")
	if _, said, code := s.cli("check"); code != 2 || !strings.Contains(said, "branch -m autoresearch") {
		t.Errorf("check ended with %d: %s", code, said)
	}
	s.typed(fault)
	s.ok("check")
	s.ok("run", "--trials", "1")
}

// TestUsedTag gives a second study of the same tag a new state directory.
func TestUsedTag(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.ok("run", "--trials", "1")
	s.ok("run", "--trials", "1") // its own study goes on
	must(t, os.Rename(s.path("state"), s.path("old")))
	s.git("checkout", "-q", "autoresearch/test")
	fault := s.refuses(`study.tag "test" is that of an earlier study`, "--tag, such as test-2", "--state", "update-ref --stdin")
	if strings.Contains(fault, "import") {
		t.Errorf("there is nothing to import:\n%s", fault)
	}
	s.write("workspace/results.tsv", s.read("old/results.tsv"))
	s.refuses("autoresearchd import --tag test " + s.path("workspace"))
	s.ok("--state", s.path("old"), "run", "--trials", "1")
	s.ok("run", "--trials", "1", "--tag", "test-2")
	must(t, os.RemoveAll(s.path("state")))
	must(t, os.Remove(s.path("workspace/results.tsv")))
	s.typed(s.refuses("earlier study"))
	s.ok("run", "--trials", "1")
	if refs := s.git("for-each-ref", "--format=%(refname)", "refs/autoresearch/test"); refs != "refs/autoresearch/test/trial/1" {
		t.Errorf("refs:\n%s", refs)
	}
}

// TestImportOverOwnRefs takes an earlier study over by its results.tsv, as the
// refusal of its tag offers.
func TestImportOverOwnRefs(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.ok("run", "--trials", "2")
	s.write("workspace/results.tsv", s.read("state/results.tsv"))
	must(t, os.RemoveAll(s.path("state")))
	fault := s.refuses("autoresearchd import")
	_, rest, _ := strings.Cut(fault, "`autoresearchd ")
	command, _, _ := strings.Cut(rest, "`")
	s.ok(strings.Fields(command)...)
	s.ok("run", "--trials", "1")
	if rows := s.trials(); len(rows) != 3 {
		t.Errorf("%d trials, want two taken over and one run", len(rows))
	}
}

// TestTagOfTheDay asks for no tag: each new state directory gets one of its own.
func TestTagOfTheDay(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.write("autoresearch.toml", strings.Replace(s.read("autoresearch.toml"), "tag = \"test\"\n", "", 1))
	tags := func() string { return s.git("for-each-ref", "--format=%(refname:lstrip=3)", "refs/heads/autoresearch") }
	s.ok("run", "--trials", "1")
	first := tags()
	s.ok("run", "--trials", "1")
	if got := tags(); got != first {
		t.Fatalf("a study that went on has the branches %s", got)
	}
	for _, next := range []string{"-2", "-3"} {
		must(t, os.RemoveAll(s.path("state")))
		report, _, _ := s.cli("doctor")
		_, said, code := s.cli("run", "--trials", "1")
		if words := "this study is " + first + next; code != 0 || !strings.Contains(said, words) || !strings.Contains(report, words) {
			t.Fatalf("%d, want %q\n%s\ndoctor says\n%s", code, words, said, report)
		}
	}
	if got := tags(); got != first+"\n"+first+"-2\n"+first+"-3" {
		t.Errorf("branches:\n%s", got)
	}
	// A branch that somebody else's loop left is no place to begin, one that is
	// checked out is.
	must(t, os.RemoveAll(s.path("state")))
	s.git("branch", "autoresearch/"+first+"-4")
	if report, _, _ := s.cli("doctor"); !strings.Contains(report, "this study is "+first+"-5") {
		t.Errorf("doctor says\n%s", report)
	}
	s.git("checkout", "-q", "autoresearch/"+first+"-4")
	if report, _, _ := s.cli("doctor"); !strings.Contains(report, "this study is "+first+"-4") {
		t.Errorf("doctor says\n%s", report)
	}
}

// TestTwoAtOnce starts two studies of one workspace that ask for no tag.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.write("autoresearch.toml", strings.Replace(s.read("autoresearch.toml"), "tag = \"test\"\n", "", 1))
	states := []string{s.path("a"), s.path("b")}
	var runs []*exec.Cmd
	for _, state := range states {
		cmd := s.command("--state", state, "run", "--trials", "1")
		must(t, cmd.Start())
		runs = append(runs, cmd)
	}
	for i, cmd := range runs {
		if err := cmd.Wait(); err != nil {
			t.Errorf("the study in %s: %v", states[i], err)
		}
	}
	if branches := strings.Fields(s.git("for-each-ref", "--format=%(refname)", "refs/heads/autoresearch")); len(branches) != 2 {
		t.Errorf("branches %q", branches)
	}
}

// TestBackup starts with a state directory that is older than the repository,
// and with a branch that somebody deleted or moved.
func TestBackup(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.ok("run", "--trials", "1")
	must(t, os.CopyFS(s.path("backup"), os.DirFS(s.path("state"))))
	s.ok("run", "--trials", "1")
	must(t, os.Rename(s.path("state"), s.path("newer")))
	must(t, os.Rename(s.path("backup"), s.path("state")))
	fault := s.refuses("the journal ends before trial 2 of study test")
	must(t, os.RemoveAll(s.path("state")))
	must(t, os.Rename(s.path("newer"), s.path("state")))
	s.ok("run", "--trials", "1")
	if !strings.Contains(fault, "update-ref -d refs/autoresearch/test/trial/2") {
		t.Error(fault)
	}
	s.git("branch", "-q", "-D", "autoresearch/test")
	s.typed(s.refuses("the branch autoresearch/test was deleted"))
	s.ok("run", "--trials", "1")
	s.git("update-ref", "refs/heads/autoresearch/test", s.git("commit-tree", "-m", "by hand", "HEAD^{tree}"))
	s.typed(s.refuses("the branch autoresearch/test stands at"))
	s.ok("run", "--trials", "1")
}

// TestUncommittedModules edits, adds and hides what train.py imports.
func TestUncommittedModules(t *testing.T) {
	t.Parallel()
	with := func(t *testing.T, head string) *fixture {
		s := newStudy(t)
		s.write("workspace/helper.py", "from pkg import deep\n\nV = 1\n")
		s.write("workspace/pkg/__init__.py", "")
		s.write("workspace/pkg/deep.py", "from . import deeper\n")
		s.write("workspace/pkg/deeper.py", "W = 1\n")
		s.write("workspace/train.py", head+script)
		s.commit()
		return s
	}
	for name, c := range map[string]struct {
		file   string
		change func(s *fixture)
	}{
		"changed":       {"helper.py", func(s *fixture) { s.write("workspace/helper.py", "V = 2\n") }},
		"far away":      {"pkg/deeper.py", func(s *fixture) { s.write("workspace/pkg/deeper.py", "W = 2\n") }},
		"not committed": {"helper.py", func(s *fixture) { s.git("rm", "-q", "--cached", "helper.py"); s.git("commit", "-q", "-m", "without") }},
		"ignored": {"pkg/deep.py", func(s *fixture) {
			s.write("workspace/.gitignore", "deep.py\n")
			s.git("rm", "-q", "--cached", "pkg/deep.py")
			s.git("add", ".gitignore")
			s.git("commit", "-q", "-m", "without")
		}},
		"of prepare": {"tokens.py", func(s *fixture) {
			s.write("workspace/prepare.py", "import tokens\n"+s.read("workspace/prepare.py"))
			s.git("commit", "-q", "-a", "-m", "tokens")
			s.write("workspace/tokens.py", "")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := with(t, "import helper\n")
			c.change(s)
			fault := s.refusesStart(c.file + ", which ")
			// What it says to type mends it.
			for i, command := range strings.Split(fault, "`") {
				if i%2 == 1 && (strings.Contains(command, " add ") || strings.Contains(command, " commit ")) {
					s.typed("`" + command + "`")
				}
			}
			s.ok("run", "--trials", "1")
		})
	}
	t.Run("several", func(t *testing.T) {
		s := with(t, "import helper\n")
		s.write("workspace/helper.py", "V = 2\n"+s.read("workspace/helper.py"))
		s.git("rm", "-q", "--cached", "pkg/deeper.py")
		s.git("commit", "-q", "-m", "without")
		s.refuses("helper.py, which train.py imports, differs", "pkg/deeper.py, which pkg/deep.py imports, is not committed")
	})
	t.Run("committed too late", func(t *testing.T) {
		s := with(t, "import helper\n")
		s.ok("run", "--trials", "1")
		s.write("workspace/helper.py", "V = 2\n")
		s.refusesStart("helper.py, which train.py imports, differs")
		s.git("commit", "-q", "-a", "-m", "later")
		if _, said, code := s.cli("run", "--trials", "1"); code != 0 || !strings.Contains(said, "which the study began with and whose files its trials get: helper.py;") {
			t.Errorf("%d\n%s", code, said)
		}
	})
	t.Run("linked", func(t *testing.T) {
		s := newStudy(t)
		s.write("workspace/src/real.py", "V = 1\n")
		must(t, os.Symlink("src/real.py", s.path("workspace/helper.py")))
		must(t, os.Symlink("src", s.path("workspace/lib")))
		s.write("workspace/train.py", "import helper, lib.real\n"+script)
		s.commit()
		s.ok("run", "--trials", "1")
		s.write("workspace/src/real.py", "V = 2\n")
		s.refusesStart("src/real.py, which train.py imports, differs")
	})
	t.Run("told only", func(t *testing.T) {
		s := with(t, "try:\n    import local\nexcept ImportError:\n    pass\nimport json, os.path\n")
		s.write("workspace/model.json", "{}\n")
		s.commit()
		s.write("workspace/model.json", "[]\n")
		s.write("workspace/local.py", "KEY = 1\n")
		s.write("workspace/helper.py", "V = 2\n") // nobody imports it
		s.write("workspace/json.txt", "untracked\n")
		_, said, code := s.cli("run", "--trials", "1")
		if code != 0 || !strings.Contains(said, "they have changed since: helper.py, model.json") || !strings.Contains(said, "local.py, which train.py works without") {
			t.Errorf("%d\n%s", code, said)
		}
	})
}

// TestUnheededCache has a prepare.py that a given cache reaches, and one that it
// does not, which is said before a run and at its start.
func TestUnheededCache(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	words := "prepare.py ignores the cache " + s.path("cache") // of the environment
	if out := s.ok("check"); strings.Contains(out, "ignores") {
		t.Errorf("where it does:\n%s", out)
	}
	s.write("workspace/prepare.py", strings.ReplaceAll(s.read("workspace/prepare.py"), "CACHE_DIR", "DATA_DIR"))
	s.commit()
	if out := s.ok("check"); !strings.Contains(out, words) || !strings.Contains(out, "DATA_DIR (line ") {
		t.Errorf("check does not say it:\n%s", out)
	}
	if _, said, code := s.cli("run", "--trials", "1"); code != 0 || !strings.Contains(said, words) {
		t.Errorf("a start does not say it (%d):\n%s", code, said)
	}
}

// TestStateOfAnother has parts of the state directory that cannot be written:
// what a run by sudo leaves behind.
func TestStateOfAnother(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"results.tsv", "trials"} {
		t.Run(part, func(t *testing.T) {
			s := newStudy(t)
			s.ok("run", "--trials", "1")
			s.readOnly("state/" + part)
			s.refuses("cannot be written", s.path("state", part))
		})
	}
}

func TestNoRoomForATrial(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.configure("[search]\nstrategy = \"evolution\"\n[http]\nlisten = \"\"\n")
	s.write("autoresearch.toml", strings.Replace(s.read("autoresearch.toml"), "budget = ", "log_limit = \"4000TiB\"\nbudget = ", 1))
	s.refuses("the disk is full", "make room there")
}

// TestWaitsAloud takes git's right to write away under a study that runs, and
// reads why it waits wherever a person or a program looks.
func TestWaitsAloud(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.hold()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := l.Addr().String()
	must(t, l.Close())
	s.write("autoresearch.toml", strings.Replace(s.read("autoresearch.toml"), "listen = \"\"", "listen = \""+address+"\"", 1))
	socket := s.path("notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	must(t, err)
	defer manager.Close()
	cmd := s.command("run")
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+socket)
	d := s.startWith(cmd)
	ready := func() (int, string) {
		answer, err := http.Get("http://" + address + "/readyz")
		must(t, err)
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		must(t, err)
		return answer.StatusCode, string(body)
	}
	s.poll("the first trial", func() bool { return len(s.now().Running()) > 0 })
	if code, body := ready(); code != http.StatusOK {
		t.Errorf("%d %s", code, body)
	}
	must(t, os.RemoveAll(s.path("workspace/.git/refs/autoresearch")))
	s.write("workspace/.git/refs/autoresearch", "in the way\n")
	s.open()
	s.poll("the study to wait", func() bool { return s.now().Waiting != "" })
	const why = "refs/autoresearch/test/trial/1"
	if code, body := ready(); code != http.StatusServiceUnavailable || !strings.Contains(body, why) {
		t.Errorf("%d %s", code, body)
	}
	if now := s.now(); !strings.Contains(now.Waiting, why) {
		t.Errorf("status --json: %+v", now)
	}
	if text := s.ok("status"); !strings.Contains(text, why) {
		t.Errorf("status:\n%s", text)
	}
	buffer := make([]byte, 8192)
	must(t, manager.SetReadDeadline(time.Now().Add(time.Minute)))
	for line := ""; !strings.HasPrefix(line, "STATUS=waiting") || !strings.Contains(line, why); {
		n, err := manager.Read(buffer)
		must(t, err)
		line = string(buffer[:n])
	}
	must(t, os.Remove(s.path("workspace/.git/refs/autoresearch")))
	s.ok("resume") // somebody speaks to the loop: it looks at once
	s.poll("the study to go on", func() bool { return s.now().Trials.Total > 0 })
	s.poll("readiness", func() bool { code, _ := ready(); return code == http.StatusOK })
	must(t, d.Process.Signal(syscall.SIGTERM))
	d.end()
}

func (s *fixture) now() (now supervisor.Status) {
	s.t.Helper()
	out, _, code := s.cli("status", "--json")
	if code == 0 {
		must(s.t, json.Unmarshal([]byte(out), &now))
	}
	return now
}
