package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/journal/journaltest"
	"autoresearchd/daemon/supervisor"
)

// shelved makes state directories of studies that nobody runs, by their tags.
func shelved(t *testing.T, tags ...string) *fixture {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	s := &fixture{t: t, dir: dir}
	for i, tag := range tags {
		must(t, journaltest.Fill(s.path(tag), journaltest.Options{Tag: tag, Trials: 6 * (i + 1)}))
	}
	return s
}

// shows starts serve on any port and returns the address that it prints first.
func (s *fixture) shows(args ...string) (*daemon, string) {
	s.t.Helper()
	d := s.launch(s.command(append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...))
	d.until("read-only")
	at, ok := strings.CutPrefix(d.said[0], "page: ")
	if !ok {
		s.t.Fatalf("it said first %q", d.said[0])
	}
	return d, at
}

func fetched(t *testing.T, url string) string {
	t.Helper()
	answer, err := http.Get(url)
	must(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	must(t, err)
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("%s answered %s: %s", url, answer.Status, body)
	}
	return string(body)
}

func statusAt(t *testing.T, page string) (now supervisor.Status) {
	t.Helper()
	must(t, json.Unmarshal([]byte(fetched(t, page+"api/v1/status")), &now))
	return now
}

// contents are the names, times and sizes of all files below a folder.
func contents(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	must(t, filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil {
			fmt.Fprintln(&b, path, info.Mode(), info.Size(), info.ModTime().UnixNano())
		}
		return err
	}))
	return b.String()
}

// TestServe shows a study that nobody runs, from a folder that it may not write
// to, with an open stream of events, until it is told to end.
func TestServe(t *testing.T) {
	t.Parallel()
	s := shelved(t, "jan5")
	s.readOnly("jan5")
	before := contents(t, s.path("jan5"))
	for _, end := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		d, page := s.shows("--state", s.path("jan5"))
		now := statusAt(t, page)
		if now.State != "finished" || now.Next != "nothing until `autoresearchd run` or `systemctl start autoresearchd`" || len(now.Seats) != 0 || now.Tried.Total == 0 {
			t.Errorf("status %+v", now)
		}
		if body := fetched(t, page); !strings.Contains(body, "jan5") || !strings.Contains(body, "Finished") || strings.Contains(body, "All studies") || strings.Contains(body, `href="metrics"`) {
			t.Errorf("the page is\n%s", body)
		}
		fetched(t, page+"api/v1/trials/1")
		events, err := http.Get(page + "api/v1/events")
		must(t, err)
		defer events.Body.Close()
		must(t, d.Process.Signal(end))
		if code := d.end(); code != 0 {
			t.Errorf("after %v it ended with %d\n%s", end, code, strings.Join(d.said, "\n"))
		}
	}
	if after := contents(t, s.path("jan5")); after != before {
		t.Errorf("there was\n%sthere is\n%s", before, after)
	}
}

// TestServeSeveral has a list at / and each study below its tag.
func TestServeSeveral(t *testing.T) {
	t.Parallel()
	s := shelved(t, "jan5", "jan6.b")
	j, err := journal.Open(s.path("jan5"))
	must(t, err)
	must(t, j.SetFlag(journal.Ended, true))
	must(t, j.Close())
	d, page := s.shows("--state", s.path("jan5"), s.path("jan6.b"))
	want := []string{"page: " + page, "  " + page + "s/jan5/  " + s.path("jan5"), "  " + page + "s/jan6.b/  " + s.path("jan6.b"), "read-only, until Ctrl-C"}
	if got := strings.Join(d.said, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("it said\n%s", got)
	}
	list := fetched(t, page)
	for _, want := range []string{`<a href="s/jan5/">jan5</a>`, `<a href="s/jan6.b/">jan6.b</a>`, "Finished", "Stopped"} {
		if !strings.Contains(list, want) {
			t.Errorf("the list lacks %s:\n%s", want, list)
		}
	}
	for i, tag := range []string{"jan5", "jan6.b"} {
		at := page + "s/" + tag + "/"
		if body := fetched(t, at); !strings.Contains(body, `<a href="../../">All studies</a>`) {
			t.Errorf("no way back from %s:\n%s", at, body)
		}
		fetched(t, at+"assets/main.js")
		if now := statusAt(t, at); now.Study.Tag != tag || now.Trials.Total != 6*(i+1) {
			t.Errorf("%s shows %+v", at, now)
		}
	}
	if now := statusAt(t, page+"s/jan5/"); now.State != "stopped" || !strings.Contains(now.Next, "`autoresearchd resume`") {
		t.Errorf("of a study that was stopped: %+v", now)
	}
	if answer, err := http.Post(page+"s/jan5/", "text/plain", nil); err != nil || answer.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("a POST: %v %v", answer, err)
	}
}

// TestServeBeside shows a study whose daemon goes on, and then no longer does.
func TestServeBeside(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.hold()
	d := s.start("--trials", "2")
	s.training(1)
	_, page := s.shows()
	if now := statusAt(t, page); now.State != "running" || len(now.Running()) != 1 || now.Card.Tried != "nothing tried yet, 1 running" {
		t.Errorf("beside the daemon: %+v", now)
	}
	s.open()
	d.end()
	s.poll("the page to know the last trial", func() bool {
		now := statusAt(t, page)
		return now.Trials.Total == 2 && now.State == "finished" && len(now.Running()) == 0
	})
	var staircase struct{ Candidates []json.RawMessage }
	must(t, json.Unmarshal([]byte(fetched(t, page+"api/v1/staircase")), &staircase))
	if len(staircase.Candidates) != 2 {
		t.Errorf("its staircase has %d candidates", len(staircase.Candidates))
	}
}

var itsVersion = regexp.MustCompile(`this program knows \d+`)

// TestServeRefuses names what is wrong, and what to do.
func TestServeRefuses(t *testing.T) {
	t.Parallel()
	s := shelved(t, "jan5", "new")
	must(t, journaltest.Fill(s.path("twin"), journaltest.Options{Tag: "jan5", Trials: 1}))
	must(t, os.Mkdir(s.path("empty"), 0o755))
	db, err := sql.Open("sqlite", s.path("new", "journal.db"))
	must(t, err)
	_, err = db.Exec("PRAGMA user_version = 99")
	must(t, err)
	must(t, db.Close())
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--state", "empty"}, 1, "no study in DIR/empty yet: start one with `autoresearchd run`, or name its directory with --state"},
		{[]string{"--state", "none", "jan5"}, 1, "no study in DIR/none yet: start one with `autoresearchd run`, or name its directory with --state"},
		{[]string{"--state", "new"}, 1, "open journal DIR/new/journal.db: it was written by a newer autoresearchd (its version is 99, this program knows KNOWN): install that one again, or use another state directory"},
		{[]string{"--state", "jan5", "--state", "twin"}, 2, "DIR/jan5 and DIR/twin both hold a study \"jan5\", and the address of its page is made of its tag: serve one of them on its own, with another --listen"},
		{[]string{"--state", "jan5", "--state", "./jan5"}, 2, "DIR/jan5 is named twice: name each state directory once"},
		{[]string{"--state", "empty", "none"}, 1, "no study in DIR/empty yet: start one with `autoresearchd run`, or name its directory with --state\nno study in DIR/none yet: start one with `autoresearchd run`, or name its directory with --state"},
		{[]string{"--state", "jan5", "--listen", taken.Addr().String()}, 1, "serve http on " + taken.Addr().String() + ": the address is in use: end what listens there (`ss -ltnp`) or set another --listen, such as 127.0.0.1:0 for any that is free"},
		{[]string{"--state", "jan5", "--listen", "here"}, 1, "serve http on here: listen tcp: address here: missing port in address: correct --listen"},
	} {
		out, fault, code := s.cli(append([]string{"serve"}, c.args...)...)
		fault = itsVersion.ReplaceAllString(s.stable(fault), "this program knows KNOWN")
		if code != c.code || out != "" || fault != "autoresearchd: "+c.want {
			t.Errorf("serve %q ended with %d and said\n%s\n%s\nwant\n%s", c.args, code, out, fault, c.want)
		}
	}
}
