package sandbox

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func init() {
	if len(os.Args) > 1 && os.Args[1] == "trainer" {
		runtime.LockOSThread()
	}
}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "trainer" {
		if status, ok := Stage(os.Args[2:], func(err error) { os.Stderr.WriteString(err.Error() + "\n") }); ok {
			os.Exit(status)
		}
	}
	os.Exit(m.Run())
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	for _, leave := range []Leave{{}, {PIDs: true}, {UID: true}, {Spaces: true}} {
		b, err := Find(Wish{Mode: Require, Owner: "x", Command: "trainer", Like: Policy{Read: Mapped(), Write: []string{dir}}, Without: leave})
		if err != nil {
			t.Error(err)
			continue
		}
		t.Log(b.Summary())
		b.Close()
	}
}

// TestWhatIsMissing decides for machines that lack parts. Fault 62.
func TestWhatIsMissing(t *testing.T) {
	const no = "not here"
	for name, c := range map[string]struct {
		m       machine
		missing string
	}{
		"all":                          {machine{landlock: 7}, ""},
		"root of a container":          {machine{root: true, landlock: 7, user: no, spaces: no, pids: no}, ""},
		"an old Landlock":              {machine{landlock: 3, user: no, spaces: no, pids: no}, "other processes cannot be signalled, abstract sockets are closed"},
		"an old Landlock, namespaces":  {machine{landlock: 3}, ""},
		"too old a Landlock":           {machine{landlock: 2}, "files of others cannot be read or written"},
		"no Landlock, namespaces":      {machine{noRules: no}, "files of others cannot be read or written, other processes cannot be looked into, other processes cannot be traced"},
		"no seccomp, and no namespace": {machine{landlock: 7, filter: no, user: no, spaces: no, pids: no}, "other processes cannot be traced, TCP, UDP and name look-ups are closed, sockets of others in the file system are closed"},
	} {
		layers, missing := decide(c.m)
		if got := strings.Join(missing, ", "); got != c.missing {
			t.Errorf("%s: missing is %q, not %q", name, got, c.missing)
		}
		for _, l := range layers {
			if l.Why != "" && l.Remedy == "" {
				t.Errorf("%s: %s has no remedy", name, l.Name)
			}
		}
	}
}

// TestRefused asks for a sandbox in which a program must run that never does, so
// that this machine has none. Fault 62.
func TestRefused(t *testing.T) {
	w := Wish{Mode: Require, Owner: "x", Command: "trainer", Like: Policy{Read: Mapped(), Write: []string{t.TempDir()}}, Try: [][]string{{"false"}}}
	if b, err := Find(w); b != nil || err == nil || !strings.Contains(err.Error(), `trial.sandbox = "require" is refused`) || !strings.Contains(err.Error(), `set trial.sandbox = "auto" to go without`) {
		t.Errorf("required: %+v %v", b, err)
	}
	w.Mode = Auto
	b, err := Find(w)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if !b.off {
		t.Errorf("not required: %s", b.Summary())
	}
}

func TestAttempts(t *testing.T) {
	for _, root := range []bool{true, false} {
		all := attempts(root, Leave{})
		if last := all[len(all)-1]; last != (attempt{}) || all[0].spaces != true || all[0].uid != root {
			t.Errorf("root %v: %+v", root, all)
		}
	}
	if all := attempts(true, Leave{Spaces: true}); len(all) != 2 || all[0] != (attempt{rest: true}) {
		t.Errorf("without namespaces: %+v", all)
	}
}

// TestNVIDIA reads what the driver says of the GPUs of a machine, of which a
// container has two.
func TestNVIDIA(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"nvidiactl", "nvidia-uvm", "nvidia1", "nvidia3"} {
		write("dev/"+name, "")
	}
	if nodes, uuid := nvidia(root, 1); len(nodes) != 4 || uuid != "" {
		t.Errorf("without the driver's words: %v %q", nodes, uuid)
	}
	for bus, minor := range map[string]string{"0000:19:00.0": "3", "0000:1a:00.0": "2", "0000:3b:00.0": "1"} {
		write("proc/driver/nvidia/gpus/"+bus+"/information", "Model: \t\t NVIDIA\nGPU UUID: \t GPU-"+minor+"\nDevice Minor: \t "+minor+"\n")
	}
	for index, minor := range []string{"3", "1"} {
		nodes, uuid := nvidia(root, index)
		if uuid != "GPU-"+minor || len(nodes) != 3 || nodes[2] != filepath.Join(root, "dev/nvidia"+minor) {
			t.Errorf("GPU %d: %v %q", index, nodes, uuid)
		}
	}
	if _, uuid := nvidia(root, 2); uuid != "" {
		t.Error("a GPU that is not there has a name")
	}
}
