package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"autoresearchd/daemon/faultpoint"
	"autoresearchd/daemon/mounttest"
)

// TestBackupAndRestore makes a backup beside a daemon whose trial runs, with secrets in
// every place where one may be, restores it to another path, and goes on there
// and here.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	const secret = "hunter2hunter2"
	s := newStudy(t)
	s.write("state/openai.key", secret)
	s.write("workspace/.env", "OPENAI_API_KEY="+secret)
	s.write("key", secret)
	s.write("workspace/sub/notes.txt", "committed\n")
	s.git("add", "sub")
	s.git("commit", "-q", "-m", "notes")
	s.git("tag", "unwanted")
	s.configure("[llm]\nkey_file = \"key\"\n[notify]\nwebhook = \"http://127.0.0.1:1/" + secret + "\"\nevents = [\"stall\"]\n[watchdog]\nstall = \"10m\"\n")
	s.ok("run", "--trials", "2")
	must(t, os.Link(s.path("key"), s.path("state/trials/1/linked")))
	must(t, os.Symlink(s.path("key"), s.path("state/trials/1/points")))
	s.write("state/notary/reference", "losses")
	s.write("gate", "")
	d := s.start("--trials", "1")
	d.until("trial begins")
	before := s.read("state/results.tsv")
	file := s.path("study.tar.gz")
	if out := s.stable(s.ok("backup", file)); !regexp.MustCompile(`^DIR/study\.tar\.gz: study test, 3 trials, \d+ files, \d\.\d MiB$`).MatchString(out) {
		t.Errorf("backup says %s", out)
	}
	refusal := "autoresearchd: back up to DIR/study.tar.gz: it is there already, and is not overwritten: name another file"
	if _, fault, code := s.cli("backup", file); code != 1 || s.stable(fault) != refusal {
		t.Errorf("a second one ended with %d: %s", code, fault)
	}
	must(t, os.Remove(s.gate))
	if code := d.end(); code != 0 {
		t.Errorf("the daemon ended with %d", code)
	}
	if left, _ := filepath.Glob(s.path(".study*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}

	var names []string
	for name, data := range unpack(t, file) {
		names = append(names, name)
		if strings.Contains(string(data), secret) {
			t.Errorf("%s holds the secret", name)
		}
	}
	slices.Sort(names)
	golden(t, "backup.txt", strings.Join(names, "\n")+"\n")

	there := &fixture{t: t, dir: s.path("there"), gate: s.path("no gate")}
	out := s.command("restore", file, there.dir)
	out.Args = slices.DeleteFunc(out.Args, func(a string) bool { return a == "--config" || a == s.path("autoresearch.toml") })
	said, err := out.Output()
	must(t, err)
	golden(t, "restore.txt", regexp.MustCompile(`at \d+ \w+ \d+ \d\d:\d\d`).ReplaceAllString(there.hashless(string(said)), "at TIME")+"\n")
	if text := there.read("autoresearch.toml"); !strings.Contains(text, "webhook = \"\"") || !strings.Contains(text, "workspace = \"workspace\"") {
		t.Errorf("the configuration is\n%s", text)
	}
	if got := there.read("state/notary/reference"); got != "losses" {
		t.Errorf("the notary's reference is %q", got)
	}
	if got := there.read("state/results.tsv"); got != before {
		t.Errorf("results.tsv is\n%s\nwant\n%s", got, before)
	}
	if there.git("status", "--porcelain") != "" || there.read("workspace/sub/notes.txt") != "committed\n" || there.git("branch", "--show-current") != "main" || there.git("tag") != "" {
		t.Errorf("the work tree: %s", there.git("status"))
	}
	there.ok("run", "--trials", "1")
	there.ok("verify")
	rows := there.trials()
	if len(rows) != 4 || rows[2].Status != "interrupted" || rows[3].Status != "completed" {
		t.Errorf("there: %+v", rows)
	}
	s.ok("verify")
	if rows := s.trials(); len(rows) != 3 || rows[2].Status != "completed" {
		t.Errorf("here: %+v", rows)
	}
}

// unpack reads the files of a backup.
func unpack(t *testing.T, file string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	f, err := os.Open(file)
	must(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	must(t, err)
	r := tar.NewReader(z)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return files
		}
		must(t, err)
		files[h.Name], err = io.ReadAll(r)
		must(t, err)
	}
}

// repack writes such files.
func repack(t *testing.T, file string, files map[string][]byte, last ...string) {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	names := slices.DeleteFunc(inOrder(files), func(name string) bool { return slices.Contains(last, name) })
	for _, name := range append(names, last...) {
		must(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(files[name])), Mode: 0o640}))
		_, err := w.Write(files[name])
		must(t, err)
	}
	must(t, errors.Join(w.Close(), z.Close(), os.WriteFile(file, b.Bytes(), 0o640)))
}

func inOrder(files map[string][]byte) []string {
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// TestRestoreRefuses has places that are in use, and files that are no backups.
func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.ok("run", "--trials", "1")
	file := s.path("b")
	s.ok("backup", file)
	whole := []byte(s.read("b"))
	const manifest = "manifest.json"
	broken := func(name string, change func(map[string][]byte)) string {
		files := unpack(t, file)
		change(files)
		repack(t, s.path(name), files, manifest)
		return s.path(name)
	}
	s.write("cut", string(whole[:len(whole)/2]))
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 0x40
	s.write("flipped", string(flipped))
	s.write("text", "no backup\n")
	s.write("taken/workspace/mine", "")
	s.write("state2/mine", "")
	dir := s.path("new")
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"where the study is", []string{"--config", s.path("autoresearch.toml"), "restore", file}, "restore DIR/b: DIR/state is not empty (it holds compiled), and nothing there is overwritten"},
		{"a state that is used", []string{"--config", s.path("autoresearch.toml"), "--state", s.path("state2"), "restore", file}, "restore DIR/b: DIR/state2 is not empty (it holds mine), and nothing there is overwritten: move it away, or restore to another place"},
		{"a workspace that is used", []string{"restore", file, s.path("taken")}, "restore DIR/b: DIR/taken/workspace is not empty (it holds mine), and nothing there"},
		{"a folder that is used", []string{"restore", file, s.dir}, "DIR/autoresearch.toml is there already, and nothing is overwritten: name another folder, or restore where it says with --config DIR/autoresearch.toml"},
		{"nowhere", []string{"restore", file}, "restore needs to know where to: name a folder"},
		{"no file", []string{"restore", s.path("none"), dir}, "read backup DIR/none: no such file or directory"},
		{"no backup", []string{"restore", s.path("text"), dir}, "read backup DIR/text: it is no gzip file, so no backup of autoresearchd's, or it is cut short or damaged: take another copy"},
		{"cut", []string{"restore", s.path("cut"), dir}, "read backup DIR/cut: it is cut short or damaged: take another copy"},
		{"flipped", []string{"restore", s.path("flipped"), dir}, "read backup DIR/flipped: "},
		{"edited", []string{"restore", broken("edited", func(f map[string][]byte) { f["results.tsv"] = []byte("mine") }), dir}, "read backup DIR/edited: results.tsv is not what the manifest says: it is cut short or damaged"},
		{"one missing", []string{"restore", broken("missing", func(f map[string][]byte) { delete(f, "trials/1/run.log") }), dir}, "read backup DIR/missing: trials/1/run.log is not what the manifest says"},
		{"one more", []string{"restore", broken("more", func(f map[string][]byte) { f["trials/1/x"] = nil }), dir}, "read backup DIR/more: its manifest does not name trials/1/x"},
		{"outside", []string{"restore", broken("outside", func(f map[string][]byte) { f["trials/../../x"] = nil }), dir}, `read backup DIR/outside: it holds "trials/../../x", which no backup of autoresearchd's does`},
		{"no manifest", []string{"restore", broken("headless", func(f map[string][]byte) { f["trials/z"] = f[manifest]; delete(f, manifest) }), dir}, "read backup DIR/headless: "},
		{"newer", []string{"restore", broken("newer", func(f map[string][]byte) {
			f[manifest] = bytes.Replace(f[manifest], []byte(`"format": 1`), []byte(`"format": 2`), 1)
		}), dir}, "read backup DIR/newer: its format is 2, and this program knows 1: it was made by autoresearchd development: install that one, or a later one"},
	} {
		cmd := s.command(c.args...)
		cmd.Args = append(cmd.Args[:1], c.args...)
		cmd.Dir = t.TempDir()
		var fault bytes.Buffer
		cmd.Stderr = &fault
		err := cmd.Run()
		if got := s.stable(fault.String()); err == nil || !strings.HasPrefix(got, "autoresearchd: "+c.want) {
			t.Errorf("%s: %v\n%s\nwant\n%s", c.name, err, got, c.want)
		}
		if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("%s: %s was made", c.name, dir)
		}
	}
	s.ok("verify")
}

// TestBackupKilled kills backup and restore at every point: a backup is whole or
// not there, and what was not wholly restored is no study.
func TestBackupKilled(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.ok("run", "--trials", "2")
	s.ok("backup", s.path("whole"))
	killedAt := func(point string, args ...string) {
		t.Helper()
		cmd := s.command(args...)
		cmd.Args = append(cmd.Args[:1], args...)
		cmd.Env = append(cmd.Env, faultpoint.Variable+"="+point)
		err := cmd.Run()
		if st, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || st.Signal() != syscall.SIGKILL {
			t.Fatalf("%s: %v", point, err)
		}
	}
	points := append(faultpoint.Names("backup."), faultpoint.Names("restore.")...)
	if len(points) != 6 {
		t.Errorf("the points are %v", points)
	}
	for i, point := range points {
		dir := s.path(fmt.Sprint("r", i))
		if strings.HasPrefix(point, "backup.") {
			file := s.path(point)
			killedAt(point, "--config", s.path("autoresearch.toml"), "backup", file)
			if _, err := os.Lstat(file); (err == nil) != strings.HasSuffix(point, ".after") {
				t.Errorf("killed at %s: %v", point, err)
			}
			if strings.HasSuffix(point, ".after") {
				s.ok("backup", file+"2")
				continue
			}
			s.ok("backup", file)
			continue
		}
		killedAt(point, "restore", s.path("whole"), dir)
		_, fault, code := s.cli("--state", filepath.Join(dir, "state"), "verify", "--workspace", filepath.Join(dir, "workspace"))
		if whole := point == "restore.after"; (code == 0) != whole || !whole && !strings.Contains(fault, "no study in ") {
			t.Errorf("killed at %s: verify ends with %d: %s", point, code, fault)
		}
	}
}

// TestBackupFull has too little room for a backup, and for a restored study.
func TestBackupFull(t *testing.T) {
	mounttest.Run(t, func() string {
		s := newStudy(t)
		s.ok("run", "--trials", "2")
		s.ok("backup", s.path("whole"))
		must(t, os.Mkdir(s.path("small"), 0o755))
		return s.dir
	}, func(dir string) {
		s := &fixture{t: t, dir: dir}
		for command, sizes := range map[string][]string{"backup": {"16k", "32k", "48k"}, "restore": {"16k", "64k", "100k"}} {
			for _, size := range sizes {
				end := mounttest.Small(t, s.path("small"), size)
				args := []string{"--config", s.path("autoresearch.toml"), "backup", s.path("small/b")}
				if command == "restore" {
					args = []string{"restore", s.path("whole"), s.path("small/r")}
				}
				cmd := s.command()
				cmd.Args = append(cmd.Args[:1], args...)
				var fault bytes.Buffer
				cmd.Stderr = &fault
				if err := cmd.Run(); err == nil || !strings.Contains(fault.String(), "the disk is full: make room there, or ") || !strings.Contains(fault.String(), "nothing is left behind") {
					t.Errorf("%s, %s: %v %s", command, size, err, fault.String())
				}
				if left, err := os.ReadDir(s.path("small")); err != nil || len(left) > 0 {
					t.Errorf("%s, %s: it left %v %v", command, size, left, err)
				}
				end()
			}
		}
	})
}
