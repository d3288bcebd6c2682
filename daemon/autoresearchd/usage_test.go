package main

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"autoresearchd/daemon/journal/journaltest"
	"autoresearchd/daemon/terminal"
)

// recorded is a study of twelve trials that nobody runs, and what the program
// says of it.
func recorded(t *testing.T) *fixture {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	s := &fixture{t: t, dir: dir}
	must(t, journaltest.Fill(s.path("state"), journaltest.Options{Trials: 12}))
	return s
}

// of puts the study's state directory before a command.
func (s *fixture) of(args ...string) []string {
	return append([]string{"--state", s.path("state")}, args...)
}

// TestUsage wants every misuse answered in one line that says what is missing.
func TestUsage(t *testing.T) {
	t.Parallel()
	s := recorded(t)
	for _, c := range []struct {
		args string
		want string
	}{
		{"statsu", "there is no command \"statsu\": did you mean `autoresearchd status`?"},
		{"fandango", "there is no command \"fandango\": `autoresearchd --help` lists them"},
		{"diff", "diff needs a trial: a number, a commit or \"best\", as in `autoresearchd diff best`"},
		{"show", "show needs a trial: a number, a commit or \"best\", as in `autoresearchd show best`"},
		{"log", "log needs a trial: a number, a commit or \"best\", as in `autoresearchd log best`"},
		{"reproduce", "reproduce needs a trial: a number, a commit or \"best\", as in `autoresearchd reproduce best`"},
		{"show 1 2", "show takes one trial, and got 2: 1 2"},
		{"diff 1 2 3", "diff takes one trial or two, and got 3: 1 2 3"},
		{"best now", "best takes no arguments, and got \"now\": see `autoresearchd best --help`"},
		{"best --apply", "--apply needs a value: best --apply DIR"},
		{"best --aply x", "best has no flag --aply: did you mean --apply?"},
		{"finalize all", "finalize takes no arguments, and got \"all\": see `autoresearchd finalize --help`"},
		{"finalise", "there is no command \"finalise\": did you mean `autoresearchd finalize`?"},
		{"ablate 1 2", "ablate takes one candidate, and got 2: 1 2"},
		{"init", "init needs a folder: where to put the study, as in `autoresearchd init demo`"},
		{"import", "import needs a folder: the work tree of the study, as in `autoresearchd import .`"},
		{"backup", "backup needs a file: where to put the backup, as in `autoresearchd backup study.tar.gz`"},
		{"restore", "restore needs a backup: a file that backup wrote, and a folder for the study, as in `autoresearchd restore study.tar.gz demo`"},
		{"restore a b c", "restore takes a file and a folder, and got 3: a b c"},
		{"restore a b", "restore takes a folder, or --config and --state, and not both"},
		{"status now", "status takes no arguments, and got \"now\": see `autoresearchd status --help`"},
		{"trials --colour", "trials has no flag --colour: see `autoresearchd trials --help`"},
		{"trials --jsn", "trials has no flag --jsn: did you mean --json?"},
		{"trials -x", "trials has no flag -x: see `autoresearchd trials --help`"},
		{"trials -n many", "--number takes a whole number, and got \"many\""},
		{"trials -n -1", "-n -1: give a positive number"},
		{"trials --sort score", "--sort score: there is no such key: give one of id, peak_vram_bytes, val_bpb, wall_seconds"},
		{"log 1 --tail", "--tail needs a value: log --tail N"},
		{"log 1 --tail -2", "--tail -2: give a positive number"},
		{"suggest", "suggest needs an idea: words in quotes, or values, as in `autoresearchd suggest --set MATRIX_LR=0.05`; --list shows those that wait"},
	} {
		out, fault, code := s.cli(s.of(strings.Fields(c.args)...)...)
		if code != 2 || out != "" || fault != "autoresearchd: "+c.want+"\n" {
			t.Errorf("%s ended with %d and said\n%s%swant\n%s", c.args, code, out, fault, c.want)
		}
	}
}

// TestHelp wants each page of it within 80 columns, broken between words.
func TestHelp(t *testing.T) {
	t.Parallel()
	for _, c := range append(newRoot().Commands(), newRoot()) {
		root := newRoot()
		args := []string{c.Name(), "--help"}
		if c.Name() == root.Name() {
			args = args[1:]
		}
		var b strings.Builder
		root.SetOut(&b)
		root.SetArgs(args)
		must(t, root.Execute())
		for _, want := range []string{"Usage:\n  autoresearchd", "--state DIR"} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s --help lacks %q:\n%s", c.Name(), want, b.String())
			}
		}
		for _, line := range strings.Split(b.String(), "\n") {
			if n := terminal.Width(line); n > 80 {
				t.Errorf("%s --help has a line of %d cells: %s", c.Name(), n, line)
			}
		}
	}
}

// TestWrapped shows a terminal whole words, and a pipe whole lines.
func TestWrapped(t *testing.T) {
	t.Parallel()
	s := recorded(t)
	whole := s.ok(s.of("show", "12")...)
	master, slave := pty(t, 80, 24)
	cmd := s.command(s.of("show", "12")...)
	cmd.Env = append(cmd.Env, "TERM=xterm", "LC_ALL=C.UTF-8")
	cmd.Stdout, cmd.Stderr = slave, slave
	must(t, cmd.Start())
	shown := read(t, master, "trials/12")
	must(t, cmd.Wait())
	slave.Close()
	long := 0
	for _, line := range strings.Split(whole, "\n") {
		if terminal.Width(line) > 80 {
			long++
		}
	}
	words := func(text string) string { return strings.Join(strings.Fields(text), " ") }
	if got := words(shown); long == 0 || !strings.HasPrefix(words(whole), got) {
		t.Errorf("a pipe, with %d long lines:\n%s\na terminal:\n%s", long, whole, shown)
	}
	for _, line := range strings.Split(strings.ReplaceAll(shown, "\r", ""), "\n") {
		if terminal.Width(line) > 80 && strings.Contains(strings.TrimSpace(line[13:]), " ") {
			t.Errorf("a line takes %d cells: %s", terminal.Width(line), line)
		}
	}
}

// TestChoice takes trials out of the table.
func TestChoice(t *testing.T) {
	t.Parallel()
	s := recorded(t)
	all := s.ok(s.of("trials")...)
	lines := strings.SplitAfter(strings.TrimSuffix(all, "\n"), "\n")
	ids := func(args ...string) string {
		t.Helper()
		var out []string
		for i, line := range strings.Split(strings.TrimSpace(s.ok(s.of(args...)...)), "\n") {
			if i > 0 {
				out = append(out, strings.Fields(line)[0])
			}
		}
		return strings.Join(out, " ")
	}
	if len(lines) != 13 {
		t.Fatalf("%d lines:\n%s", len(lines), all)
	}
	if runs := s.ok(s.of("trials", "--runs")...); strings.Count(runs, "\n") != 13 || !strings.Contains(runs, " keep ") {
		t.Errorf("--runs shows\n%s", runs)
	}
	for _, c := range []struct{ args, want string }{
		{"trials -n 3", "10 11 12"},
		{"trials -n 20", "1 2 3 4 5 6 7 8 9 10 11 12"},
	} {
		if got := ids(strings.Fields(c.args)...); got != c.want {
			t.Errorf("%s: %s, want %s", c.args, got, c.want)
		}
	}
	var kept, scores []string
	for _, line := range strings.Split(s.ok(s.of("trials", "-n", "20", "--sort", "val_bpb", "--keep")...), "\n")[1:] {
		if f := strings.Fields(line); len(f) > 3 {
			kept, scores = append(kept, f[0]), append(scores, f[2])
			if f[4] != "kept" {
				t.Errorf("--keep shows %s", line)
			}
		}
	}
	for i := 1; i < len(scores); i++ {
		if scores[i] < scores[i-1] {
			t.Errorf("--sort val_bpb shows %v", scores)
		}
	}
	if n := strings.Count(all, " kept "); n < 2 || len(kept) != n {
		t.Errorf("kept %v of\n%s", kept, all)
	}
	if got := ids("trials", "--sort", "val_bpb", "-n", "1"); got != kept[0] {
		t.Errorf("the best is %s, not %s", got, kept[0])
	}
	if out := s.ok(s.of("trials", "-n", "2", "--json")...); strings.Count(out, "\"id\":") != 2 {
		t.Errorf("--json shows\n%s", out)
	}
}

// TestLogInAPipe has a line for each state of the progress, and the last lines.
func TestLogInAPipe(t *testing.T) {
	t.Parallel()
	s := recorded(t)
	s.write("state/trials/3/run.log", "start\r\n\n\rstep 1 \rstep 2 \rstep 3\n---\nval_bpb: 1.0\n")
	for _, c := range []struct{ args, want string }{
		{"log 3", "start\n\nstep 1 \nstep 2 \nstep 3\n---\nval_bpb: 1.0\n"},
		{"log 3 --tail 3", "step 3\n---\nval_bpb: 1.0\n"},
		{"log 3 --tail 1 -f", "val_bpb: 1.0\n"},
		{"log 3 --tail 100", "start\n\nstep 1 \nstep 2 \nstep 3\n---\nval_bpb: 1.0\n"},
		{"log 3 --tail 0", ""},
		{"log 3 --tail 1 --json", "{\n  \"id\": 3,\n  \"log\": \"val_bpb: 1.0\\n\"\n}\n"},
	} {
		if got := s.ok(s.of(strings.Fields(c.args)...)...); got != c.want {
			t.Errorf("%s: %q, want %q", c.args, got, c.want)
		}
	}
	// Written in pieces, as a trial does that runs.
	var b strings.Builder
	w := &plainWriter{w: &b, split: true}
	for _, piece := range []string{"\rstep 1 ", "(3%)\r", "step 2", "\n", "end"} {
		_, err := w.Write([]byte(piece))
		must(t, err)
	}
	if b.String() != "step 1 (3%)\nstep 2\nend" {
		t.Errorf("pieces: %q", b.String())
	}
}

// TestCompletion completes ids as bash would ask for them.
func TestCompletion(t *testing.T) {
	t.Parallel()
	s := recorded(t)
	ask := func(words ...string) []string {
		t.Helper()
		out := s.ok(append([]string{"__complete"}, s.of(words...)...)...)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		for i := range lines {
			lines[i], _, _ = strings.Cut(lines[i], "\t")
		}
		return lines
	}
	for _, c := range []struct{ words, want string }{
		{"show |", "best 12 11 10 9 8 7 6 5 4 3 2 1 :36"},
		{"log |1", "12 11 10 1 :36"},
		{"diff 3 |b", "best :36"},
		{"show 3 |", ":36"},
		{"ablate |1", "12 11 10 1 :36"},
		{"best --apply |", ":16"},
		{"serve --state |", ":16"},
		{"serve |", ":16"},
		{"serv|", "serve :4"},
		{"abl|", "ablate :4"},
		{"reproduce |12", "12 :36"},
		{"trials --sort |", "id peak_vram_bytes val_bpb wall_seconds :4"},
		{"sta|", "status :4"},
	} {
		before, last, _ := strings.Cut(c.words, "|")
		words := append(strings.Fields(before), last)
		if len(words) == 2 && last == "" && !strings.Contains(c.words, " ") {
			words = words[:1] // the command itself
		}
		if got := strings.Join(ask(words...), " "); got != c.want {
			t.Errorf("%s: %s, want %s", c.words, got, c.want)
		}
	}
	if out := s.ok("__complete", "--state", s.path("nowhere"), "show", ""); out != ":4\n" && out != ":36\n" {
		t.Errorf("without a study: %q", out)
	}
	if _, err := exec.LookPath("bash"); err != nil {
		t.Fatal(err)
	}
	script := s.ok("completion", "bash")
	check := exec.Command("bash", "-n")
	check.Stdin = strings.NewReader(script)
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("completion bash: %v\n%s", err, out)
	}
}

// TestNothingToStop has a stop that finds no daemon leave the next run alone,
// and a study that was stopped say how it goes on.
func TestNothingToStop(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.ok("run", "--trials", "1")
	config := "autoresearchd --config DIR/autoresearch.toml "
	said := func(want string, args ...string) {
		t.Helper()
		if got := s.stable(s.ok(args...)); got != want {
			t.Errorf("%q said\n%s\nwant\n%s", args, got, want)
		}
	}
	said("no daemon is running on DIR/state, so there is nothing to stop", "stop")
	s.ok("run", "--trials", "1")
	if n := len(s.trials()); n != 2 {
		t.Errorf("the run after a stop that found nothing has %d trials, want 2", n)
	}
	said("no daemon is running on DIR/state; the next one starts no trial until `autoresearchd resume`\nnext: "+config+"resume", "pause")
	next := func(want string) {
		t.Helper()
		if out := s.ok("status"); !strings.Contains(out, "next      "+want+"\n") {
			t.Errorf("status says\n%s\nwant %q", out, want)
		}
	}
	next("nothing: the study is paused; `autoresearchd resume` lets the next `autoresearchd run` continue it")
	said("no daemon is running on DIR/state; the next one continues the study\nnext: "+config+"run", "resume")
	next("nothing until `autoresearchd run` or `systemctl start autoresearchd`")

	s.hold()
	d := s.start()
	s.training(3)
	said("stopping after the running trials\nnext: "+config+"resume", "stop")
	next("nothing: the study was stopped, and `autoresearchd resume` continues it")
	s.open()
	if code := d.end(); code != 0 {
		t.Fatalf("ended with %d", code)
	}
	for range d.lines { // to its last word
	}
	next("nothing: the study was stopped; `autoresearchd resume` lets the next `autoresearchd run` continue it")
	said("no daemon is running on DIR/state, and the study is stopped already\nnext: "+config+"resume", "stop")
	out := s.ok("run")
	if !strings.HasSuffix(s.stable(out), "\nthe study was stopped: `autoresearchd resume` lets the next `autoresearchd run` continue it\nnext: "+config+"resume") {
		t.Errorf("run says\n%s", out)
	}
	s.ok("resume")
	out = s.ok("run", "--trials", "1")
	if !strings.HasSuffix(s.stable(out), "\nnext: "+config+"show best") || len(s.trials()) != 4 {
		t.Errorf("run after resume says\n%s", out)
	}
}

// TestSuggestions lists what waits, takes one back, and warns of a value that no
// strategy would try.
func TestSuggestions(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.ok("run", "--trials", "1")
	s.hold()
	d := s.start()
	s.training(2)
	said := func(want string, args ...string) {
		t.Helper()
		if got := s.stable(s.ok(args...)); got != want {
			t.Errorf("%q said\n%s\nwant\n%s", args, got, want)
		}
	}
	next := "\nnext: autoresearchd --config DIR/autoresearch.toml suggest --list"
	said("no suggestions are waiting", "suggest", "--list")
	said("[]", "suggest", "--list", "--json")
	said("queued: DEPTH 4 -> 6"+next, "suggest", "--set", "DEPTH=6")
	said("queued: MATRIX_LR 0.04 -> 5\nwarning: MATRIX_LR = 5.0 is outside 0.004 to 0.4, which is all that strategies search; it is tried all the same"+next,
		"suggest", "--set", "MATRIX_LR=5")
	list := s.ok("suggest", "--list")
	for _, want := range []string{"ID  SINCE", "SUGGESTION\n 1  ", "  DEPTH 4 -> 6\n 2  ", "  MATRIX_LR 0.04 -> 5\n"} {
		if !strings.Contains(list, want) {
			t.Errorf("--list lacks %q:\n%s", want, list)
		}
	}
	if out := s.ok("suggest", "--list", "--json"); !strings.Contains(out, `"DEPTH": 6`) || strings.Count(out, `"id"`) != 2 {
		t.Errorf("--list --json says\n%s", out)
	}
	if out := s.ok("__complete", "--config", s.path("autoresearch.toml"), "suggest", "--drop", ""); out != "1\tDEPTH 4 -> 6\n2\tMATRIX_LR 0.04 -> 5\n:4\n" {
		t.Errorf("--drop is completed with %q", out)
	}
	if out := s.ok("__complete", "--config", s.path("autoresearch.toml"), "cancel", ""); !strings.HasPrefix(out, "2\t") || strings.Count(out, "\n") != 2 {
		t.Errorf("cancel is completed with %q", out)
	}
	said("dropped: MATRIX_LR 0.04 -> 5", "suggest", "--drop", "2")
	fails := func(code int, want string, args ...string) {
		t.Helper()
		if _, fault, got := s.cli(args...); got != code || fault != "autoresearchd: "+want+"\n" {
			t.Errorf("%q ended with %d and said %s, want %d %s", args, got, fault, code, want)
		}
	}
	fails(1, "there is no suggestion 2: `autoresearchd suggest --list` shows those that wait", "suggest", "--drop", "2")
	fails(2, "suggest does one thing at a time: an idea, --list or --drop", "suggest", "--list", "--drop", "1")
	fails(2, "--drop takes a whole number, and got \"all\"", "suggest", "--drop", "all")
	s.ok("pause")
	s.ok("stop")
	s.open()
	if code := d.end(); code != 0 {
		t.Fatalf("ended with %d", code)
	}
	said("dropped: DEPTH 4 -> 6", "suggest", "--drop", "1") // without a daemon
	said("no suggestions are waiting", "suggest", "--list")
	s.ok("resume")
	s.ok("run", "--trials", "1")
	if rows := s.trials(); rows[2].Strategy == "suggestion" {
		t.Errorf("a suggestion that was dropped ran: %+v", rows[2])
	}
}

// TestPageFirst has a run say where its page is before anything else.
func TestPageFirst(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	out := s.ok("run", "--trials", "1", "--set", `http.listen="127.0.0.1:0"`)
	first, rest, _ := strings.Cut(out, "\n")
	if !regexp.MustCompile(`^page: http://127\.0\.0\.1:\d+/$`).MatchString(first) || !strings.HasPrefix(rest, "study test on cpu, strategy evolution\n") {
		t.Errorf("run says\n%s", out)
	}
	for address, want := range map[string]string{
		"0.0.0.0:9797": "http://localhost:9797/", "[::]:80": "http://localhost:80/", "[::1]:9797": "http://[::1]:9797/", "10.0.0.7:1": "http://10.0.0.7:1/",
	} {
		if got := pageAt(address); got != want {
			t.Errorf("%s is %s, want %s", address, got, want)
		}
	}
}
