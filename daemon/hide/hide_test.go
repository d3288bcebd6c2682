package hide

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

const word = "sk-very-secret-0123456789"

func TestMain(m *testing.M) {
	switch os.Getenv("HIDE_TEST") {
	case "keeper":
		os.Exit(keeper())
	case "confined":
		os.Exit(confined())
	}
	os.Exit(m.Run())
}

// keeper hides its key and has a child look for it.
func keeper() int {
	if err := Variables("THE_KEY", "NOT_SET"); err != nil {
		fmt.Println(err)
		return 1
	}
	own, err := os.ReadFile("/proc/self/environ")
	if err != nil || bytes.Contains(own, []byte(word)) || !bytes.Contains(own, []byte("THE_KEY=\x00")) || !bytes.Contains(own, []byte("OTHER=stays\x00")) {
		fmt.Printf("its own environment: %v %q\n", err, own)
	}
	if os.Getenv("THE_KEY") != "" || os.Getenv("OTHER") != "stays" {
		fmt.Println("the variables are", os.Environ())
	}
	if err := Self(); err != nil {
		fmt.Println(err)
	}
	// What the daemon itself needs goes on.
	for _, path := range []string{"/proc/self/cgroup", "/proc/self/mountinfo", "/proc/self/stat"} {
		if _, err := os.ReadFile(path); err != nil {
			fmt.Println(err)
		}
	}
	if fds, err := os.ReadDir("/proc/self/fd"); err != nil || len(fds) == 0 {
		fmt.Println("its descriptors:", err)
	}
	look := exec.Command("sh", "-c", "for f in environ mem maps; do cat /proc/$PPID/$f >/dev/null 2>&1 && echo can read $f; done; ls /proc/$PPID/fd/ >/dev/null 2>&1 && echo can list fd; cat /proc/self/environ >/dev/null || echo is closed itself")
	out, _ := look.CombinedOutput()
	fmt.Printf("%s", out)
	return 0
}

// TestOwnProcess has another process of the same user look into one that hides
// itself. Root sees everything, so it runs as nobody where it can.
func TestOwnProcess(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Dir = "/"
	cmd.Env = []string{"HIDE_TEST=keeper", "THE_KEY=" + word, "OTHER=stays", "PATH=/usr/bin:/bin"}
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

// confined gives up CLOSED and execs a shell that tries what it is told.
func confined() int {
	runtime.LockOSThread()
	if err := Confine(strings.Split(os.Getenv("CLOSED"), ":")); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(syscall.Exec("/bin/sh", []string{"sh", "-c", os.Getenv("TRY")}, os.Environ()))
	return 1
}

func TestConfine(t *testing.T) {
	if err := Supported(); err != nil {
		t.Logf("not here: %v", err)
		if Confine(nil) == nil {
			t.Error("yet a process can be confined")
		}
		return
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"keys/one", "keys/two", "credentials/openai", "work/train.py", "cache/a/x"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(word+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("one", filepath.Join(dir, "keys/link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir+"/keys", filepath.Join(dir, "elsewhere")); err != nil {
		t.Fatal(err)
	}
	other := exec.Command("sleep", "100")
	other.Env = []string{"KEY=" + word}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	try := func(closed, script string) string {
		cmd := exec.Command(os.Args[0])
		cmd.Dir = dir
		cmd.Env = []string{"HIDE_TEST=confined", "CLOSED=" + closed, "TRY=" + script, "PATH=/usr/bin:/bin", fmt.Sprintf("OTHER=%d", other.Process.Pid)}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%q: %v\n%s", script, err, out)
		}
		return string(out)
	}
	// By its name, by a link in the configuration, by links of a trial's own.
	for _, closed := range []string{dir + "/keys/one:" + dir + "/credentials", dir + "/elsewhere/link:" + dir + "/credentials"} {
		for _, path := range []string{"keys/one", "keys/link", "elsewhere/one", "credentials/openai", "/proc/self/cwd/keys/one"} {
			if out := try(closed, "cat "+path+" 2>&1 || true"); !strings.Contains(out, "Permission denied") || strings.Contains(out, word) {
				t.Errorf("with %s closed, %s is %s", closed, path, out)
			}
		}
		all := `set -e
cat keys/two work/train.py >/dev/null; cat /proc/self/environ /etc/passwd /dev/null >/dev/null
echo new >work/made; cat work/made >/dev/null; mkdir work/deep; mv work/made cache/a/made; mv cache/a/x work/deep/x; cat work/deep/x >/dev/null
sleep 0.01 & cat /proc/$!/environ >/dev/null; wait
mv work/deep/x cache/a/x; rm -r work/deep cache/a/made`
		if out := try(closed, all); out != "" {
			t.Errorf("with %s closed: %s", closed, out)
		}
	}
	// The environment of another stays readable to root, by a capability of root's.
	for _, file := range []string{"mem", "fd/0", "cwd"} {
		if out := try("", "cat keys/one >/dev/null; cat /proc/$OTHER/"+file+" 2>&1 || true"); !strings.Contains(out, "Permission denied") {
			t.Errorf("%s of another process of the user: %s", file, out)
		}
	}
}

func TestExposed(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(dir, "home")
	if err := os.MkdirAll(filepath.Join(home, "keys"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(home, "keys", "openai"): home, "/etc/passwd": "", "/run/credentials/x.service": "",
	} {
		if got := Exposed(path, "", home); got != want && (os.Getuid() == 0 || got == "") {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}
