package compiled

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func open(t *testing.T, dir string, limit int64) *Store {
	t.Helper()
	s := Open(slog.New(slog.NewTextHandler(t.Output(), nil)), limit, dir)
	if s == nil {
		t.Fatalf("%s cannot be opened", dir)
	}
	return s
}

// put writes files of a trial: by turns a path and its content.
func put(t *testing.T, dir string, files ...string) {
	t.Helper()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// held lists a view's files with their contents, sorted.
func held(t *testing.T, v *View) string {
	t.Helper()
	var all []string
	err := filepath.Walk(v.dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		text := "-> elsewhere"
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text = strings.ReplaceAll(string(data), v.dir, "VIEW")
		}
		name, _ := filepath.Rel(v.dir, path)
		all = append(all, name+"="+text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// trial runs one that does something in its view.
func trial(s *Store, good bool, does func(dir string)) {
	v := s.View()
	does(v.dir)
	v.Close(good)
}

func TestWhatEndedWellIsKept(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Limit)
	v := s.View()
	want := []string{"TORCHINDUCTOR_CACHE_DIR=" + v.dir + "/inductor", "TRITON_CACHE_DIR=" + v.dir + "/triton", "CUTE_DSL_CACHE_DIR=" + v.dir + "/cutlass"}
	t.Setenv("TORCHINDUCTOR_CACHE_DIR", "")
	if got := v.Env(); !slices.Equal(got, want) {
		t.Errorf("the environment is %q", got)
	}
	t.Setenv("TORCHINDUCTOR_CACHE_DIR", "/mine")
	if got := v.Env(); !slices.Equal(got, want[1:]) {
		t.Errorf("the environment is %q", got)
	}
	put(t, v.dir, "inductor/ab/graph", "one", "inductor/ab/graph.lock", "", "inductor/locks/x", "held", "triton/K/k.json", "{}", "triton/tmp.pid_3_x/k", "half",
		"inductor/ab/empty", "", "elsewhere/x", "no", "stray", "no", "inductor/ab/.5.tmp", "half")
	other := s.View()
	if got := held(t, other); got != "" {
		t.Errorf("a trial beside it sees %s", got)
	}
	v.Close(true)
	other.Renew()
	const kept = "inductor/ab/graph=one triton/K/k.json={}"
	if got := held(t, other); got != kept {
		t.Errorf("the trial beside it then sees %s", got)
	}
	put(t, other.dir, "inductor/ab/worse", "of a crash")
	other.Close(false)
	next := s.View()
	if got := held(t, next); got != kept {
		t.Errorf("the next trial sees %s", got)
	}
	s.Close()
	if n, size, err := Kept(dir); n != 2 || size != 5 || err != nil {
		t.Errorf("%d entries, %d bytes, %v", n, size, err)
	}
	s = open(t, dir, Limit)
	defer s.Close()
	if got := held(t, s.View()); got != kept {
		t.Errorf("after a restart a trial sees %s", got)
	}
}

// TestNothingOfOneTrialHarmsAnother has a trial that ended well spoil all that it
// can reach.
func TestNothingOfOneTrialHarmsAnother(t *testing.T) {
	outside := t.TempDir()
	put(t, outside, "secret", "untouched")
	const kept = "inductor/ab/graph=one inductor/cd/graph=two triton/K/__grp__k.json={\"child_paths\":{\"k.cubin\":\"VIEW/triton/K/k.cubin\"}} triton/K/k.cubin=code"
	for name, harm := range map[string]func(s *Store, dir string){
		"writes over a copy":    func(s *Store, dir string) { put(t, dir, "inductor/ab/graph", "ONE") },
		"keeps size and mtime":  func(s *Store, dir string) { forge(t, dir) },
		"takes one away":        func(s *Store, dir string) { must(t, os.Remove(dir+"/inductor/ab/graph")) },
		"takes all away":        func(s *Store, dir string) { must(t, os.RemoveAll(dir)) },
		"a link in its place":   func(s *Store, dir string) { replace(t, outside+"/secret", dir+"/inductor/ab/graph") },
		"a folder elsewhere":    func(s *Store, dir string) { replace(t, outside, dir+"/inductor") },
		"a folder for a file":   func(s *Store, dir string) { put(t, dir, "inductor/ab/x", "1"); swap(t, dir+"/inductor/ab/graph") },
		"a file for a folder":   func(s *Store, dir string) { must(t, os.RemoveAll(dir+"/inductor")); put(t, dir, "inductor", "file") },
		"a link to a new entry": func(s *Store, dir string) { must(t, os.Symlink(outside+"/secret", dir+"/inductor/new")) },
		"a pipe":                func(s *Store, dir string) { must(t, syscall.Mkfifo(dir+"/inductor/pipe", 0o600)) },
		"half a kernel":         func(s *Store, dir string) { put(t, dir, "triton/K/k.cubin", "evil", "triton/K/more", "evil") },
		"a group that points away": func(s *Store, dir string) {
			put(t, dir, "triton/L/__grp__k", `{"child_paths": {"k": "/etc/passwd"}}`, "triton/L/k", "x")
		},
		"a second name of a copy": func(s *Store, dir string) {
			must(t, os.Link(dir+"/inductor/ab/graph", outside+"/"+filepath.Base(dir)))
			defer func() { must(t, os.Remove(outside+"/"+filepath.Base(dir))) }()
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir(), Limit)
			defer s.Close()
			trial(s, true, func(dir string) {
				group := fmt.Sprintf(`{"child_paths":{"k.cubin":"%s/triton/K/k.cubin"}}`, dir)
				put(t, dir, "inductor/ab/graph", "one", "inductor/cd/graph", "two", "triton/K/k.cubin", "code", "triton/K/__grp__k.json", group)
			})
			beside := s.View()
			trial(s, true, func(dir string) { harm(s, dir) })
			for _, v := range []*View{beside, s.View(), s.View()} {
				got := strings.Replace(held(t, v), "inductor/ab/x=1 ", "", 1) // new, and as good as any
				if got != kept {
					t.Errorf("a trial sees %s", got)
				}
			}
			if data, err := os.ReadFile(outside + "/secret"); string(data) != "untouched" || err != nil {
				t.Errorf("a file elsewhere holds %q, %v", data, err)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// forge changes a copy, and what its inode says of that as far as its owner can.
func forge(t *testing.T, dir string) {
	path := dir + "/inductor/ab/graph"
	info, err := os.Stat(path)
	must(t, err)
	put(t, dir, "inductor/ab/graph", "ONE")
	must(t, os.Chtimes(path, unread, info.ModTime()))
}

func replace(t *testing.T, target, path string) {
	must(t, os.RemoveAll(path))
	must(t, os.Symlink(target, path))
}

func swap(t *testing.T, path string) {
	must(t, os.Remove(path))
	must(t, os.MkdirAll(path+"/deep", 0o700))
}

// TestContentsThatAreNotBelieved are torn, planted or gone.
func TestContentsThatAreNotBelieved(t *testing.T) {
	for name, harm := range map[string]func(path string){
		"torn":    func(path string) { must(t, os.Truncate(path, 1)) },
		"planted": func(path string) { must(t, os.Remove(path)); must(t, os.WriteFile(path, []byte("evil"), 0o400)) },
		"gone":    func(path string) { must(t, os.Remove(path)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, Limit)
			trial(s, true, func(dir string) {
				put(t, dir, "inductor/a", "one", "triton/K/k.cubin", "code", "triton/K/k.json", "{}")
			})
			s.Close()
			harm(s.content(digest([]byte("code"))))
			s = open(t, dir, Limit)
			defer s.Close()
			v := s.View()
			if got := held(t, v); strings.Contains(got, "cubin") || !strings.Contains(got, "inductor/a=one") {
				t.Errorf("a trial sees %s", got)
			}
			put(t, v.dir, "triton/K/k.cubin", "again", "triton/K/k.json", "{2}")
			v.Close(true)
			if got := held(t, s.View()); got != "inductor/a=one triton/K/k.cubin=again triton/K/k.json={2}" {
				t.Errorf("once it was compiled anew, a trial sees %s", got)
			}
		})
	}
}

func TestWhatIsReadStays(t *testing.T) {
	s := open(t, t.TempDir(), 100)
	defer s.Close()
	ten := strings.Repeat("x", 9)
	for n := range 10 {
		trial(s, true, func(dir string) { put(t, dir, fmt.Sprintf("inductor/%d", n), ten+fmt.Sprint(n)) })
	}
	// As if an hour had passed between each.
	for n := range 10 {
		e := s.entries[fmt.Sprintf("inductor/%d", n)]
		e.Used = time.Now().Add(time.Duration(n-20) * time.Hour).Unix()
		s.entries[fmt.Sprintf("inductor/%d", n)] = e
	}
	trial(s, false, func(dir string) {
		if _, err := os.ReadFile(dir + "/inductor/0"); err != nil {
			t.Error(err)
		}
	})
	trial(s, true, func(dir string) { put(t, dir, "inductor/new", ten) })
	got := held(t, s.View())
	if strings.Count(got, "=") != 9 || strings.Contains(got, "inductor/1=") || !strings.Contains(got, "inductor/0=") || !strings.Contains(got, "new=") {
		t.Errorf("left of eleven are %s", got)
	}
	contents, _ := filepath.Glob(s.contents() + "/*/*")
	if len(contents) != 9 {
		t.Errorf("%d contents are left", len(contents))
	}
	trial(s, true, func(dir string) { put(t, dir, "inductor/flood", strings.Repeat(ten, 3)) })
	if got := held(t, s.View()); strings.Contains(got, "flood") {
		t.Error("a quarter of all that is kept came from one trial")
	}
}

// TestAStoreThatCannotBeUsed gives views that keep nothing.
func TestAStoreThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "file", "")
	log := slog.New(slog.DiscardHandler)
	if s := Open(log, Limit, dir+"/file/store"); s != nil {
		t.Error("a folder that cannot be made was opened")
	}
	v := (*Store)(nil).View()
	v.Renew()
	v.Close(true)
	if len(v.Env()) > 0 {
		t.Error("a view of nothing has an environment")
	}
	(*Store)(nil).Close()

	first := open(t, dir+"/shared", Limit)
	if Open(log, Limit, dir+"/shared") != nil {
		t.Error("two daemons have one store")
	}
	second := Open(log, Limit, dir+"/shared", dir+"/own")
	if second == nil || second.dir != dir+"/own" {
		t.Error("the second folder was not taken")
	}
	second.Close()
	v = first.View()
	put(t, v.dir, "inductor/a", "one")
	must(t, os.RemoveAll(first.contents()))
	put(t, dir, "shared/store", "a file where the folder was")
	v.Close(true)
	v = first.View()
	put(t, v.dir, "inductor/a", "compiled all the same")
	v.Close(false)
	first.Close()

	put(t, dir, "shared/index.json", `{"../../etc/passwd": {"sha256": "00"}}`)
	must(t, os.Remove(dir+"/shared/store"))
	first = open(t, dir+"/shared", Limit)
	defer first.Close()
	if got := held(t, first.View()); got != "" {
		t.Errorf("an index that is none gave %s", got)
	}
}

// TestWhatAKilledDaemonLeft is removed.
func TestWhatAKilledDaemonLeft(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "views/0/inductor/x", "planted", "store/ab/abc", "orphan", "inductor/fxgraph/old", "shared by all", "triton/K/k", "shared")
	s := open(t, dir, Limit)
	defer s.Close()
	if got := held(t, s.View()); got != "" {
		t.Errorf("a trial sees %s", got)
	}
	for _, name := range []string{"store/ab/abc", "inductor", "triton"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s is still there", name)
		}
	}
}
