package trainer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"autoresearchd/daemon/hide"
	"autoresearchd/daemon/sandbox"
	"autoresearchd/search"
)

// denialsName is the variable that makes of this binary a small daemon, which
// runs one trial that tries what it must not.
const denialsName = "AUTORESEARCH_DENIALS_TEST"

// denial is what such a daemon is told.
type denial struct {
	Mode    string // of the sandbox
	Without sandbox.Leave
	Python  string
	Root    string // a folder of its user's
	UID     int    // to become; 0: it stays root
	Other   int    // a process of another user
}

// trespasses is a train.py that tries to reach what is not its own, and says of
// each whether it did.
const trespasses = `
import ctypes, json, os, socket, struct, sys
from prepare import make_dataloader, evaluate_bpb
at = json.load(open("at.json"))
def reads(path):
    return open(path, "rb").read(1) or True
def writes(path):
    with open(path, "w") as f:
        f.write("#!/bin/sh\n")
def links():
    os.symlink(at["outside"] + "/linked", "link")
    writes("link")
def asks(kind, data=b"x", family=socket.AF_INET):
    s = socket.socket(family, kind)
    s.settimeout(5)
    s.connect(tuple(at["tcp" if kind == socket.SOCK_STREAM else "udp"]))
    s.send(data)
def unix(address):
    s = socket.socket(socket.AF_UNIX)
    s.connect(address)
def traces():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(0x4206, at["daemon"], None, None):  # PTRACE_SEIZE stops nobody
        raise OSError(ctypes.get_errno(), "ptrace")
    libc.ptrace(17, at["daemon"], None, None)
query = struct.pack(">6H", 1, 256, 1, 0, 0, 0) + b"\x07example\x03org\x00" + struct.pack(">2H", 1, 1)
attempts = {
    "SSH keys": lambda: reads(at["ssh"]),
    "the daemon's environment": lambda: reads(f"/proc/{at['daemon']}/environ"),
    "the journal": lambda: reads(at["journal"]),
    "the model server's key": lambda: reads(at["key"]),
    "another user's /proc": lambda: reads(f"/proc/{at['other']}/cmdline"),
    "TCP": lambda: asks(socket.SOCK_STREAM),
    "UDP": lambda: asks(socket.SOCK_DGRAM),
    "DNS": lambda: asks(socket.SOCK_DGRAM, query),
    "an abstract socket": lambda: unix("\0" + at["abstract"]),
    "a signal to the daemon": lambda: os.kill(at["daemon"], 0),
    "a trace of the daemon": traces,
    "a file outside": lambda: writes(at["outside"] + "/made"),
    "a file outside by a link": links,
    "a git hook": lambda: writes(at["outside"] + "/.git/hooks/post-commit"),
    "the mode of a file outside": lambda: os.chmod(at["key"], 0o644),
    "the control socket": lambda: unix(at["socket"]),
    "what the validation split reads": lambda: reads(at["denied"]),
}
for name, attempt in attempts.items():
    try:
        attempt()
        print(f"{name}: reached")
    except Exception as e:
        print(f"{name}: denied: {type(e).__name__} {e}")
` + honest + `
next(make_dataloader(None, 4, 8, "train"))
evaluate_bpb(1.0, None, 4)
`

// honest is what training does beside arithmetic.
const honest = `
import multiprocessing, shutil, subprocess, tempfile
from multiprocessing.connection import Client, Listener
def twice(n):
    return 2 * n
def does(name, what):
    try:
        what()
        print(f"{name}: works")
    except Exception as e:
        print(f"{name}: fails: {type(e).__name__} {e}")
def pool():
    with multiprocessing.get_context("fork").Pool(2) as workers:
        assert workers.map(twice, [1, 2, 3]) == [2, 4, 6]
def passes():  # as torch's loaders hand over memory: a descriptor through a socket in the file system
    with Listener(family="AF_UNIX") as listener:
        def send():
            with Client(listener.address) as c, open("given", "w+") as f:
                f.write("through")
                f.flush()
                multiprocessing.reduction.send_handle(c, f.fileno(), None)
        import threading
        threading.Thread(target=send, daemon=True).start()
        with listener.accept() as c:
            fd = multiprocessing.reduction.recv_handle(c)
            assert os.pread(fd, 10, 0) == b"through"
def temporary():
    with tempfile.TemporaryDirectory() as d:
        open(d + "/x", "w").write("x")
        shutil.copy(d + "/x", d + "/y")
        os.chmod(d + "/y", 0o700)
        assert os.stat(d + "/y").st_mode & 0o777 == 0o700
def shared():
    from multiprocessing import shared_memory
    m = shared_memory.SharedMemory(create=True, size=100)
    m.close(); m.unlink()
def compiles():
    with tempfile.TemporaryDirectory() as d:
        open(d + "/x.c", "w").write("int f(void) { return 7; }")
        subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-o", d + "/x.so", d + "/x.c"], check=True)
        assert ctypes.CDLL(d + "/x.so").f() == 7
does("a pool of processes", pool)
does("a descriptor through a socket", passes)
does("temporary files", temporary)
does("shared memory", shared)
does("a C compiler", compiles)
does("the venv's interpreter", lambda: subprocess.run([sys.executable, "-c", "import json"], check=True))
does("a checkpoint", lambda: open("checkpoint.pt", "w").write("x"))
does("data", lambda: reads(at["data"]))
`

// runDenials is that daemon.
func runDenials(told string) int {
	var d denial
	if err := json.Unmarshal([]byte(told), &d); err != nil {
		fmt.Println(err)
		return 1
	}
	if d.UID > 0 && os.Getuid() == 0 {
		if err := becomeUser(d, told); err != nil {
			fmt.Println(err)
			return 1
		}
		return 0
	}
	out, log, layers, err := d.run()
	fmt.Printf("layers: %s\nstatus: %s %s %v\n%s", layers, out.Status, out.Detail, err, log)
	return 0
}

// becomeUser makes the interpreter readable to everybody, in a mount namespace
// of this process's, and starts this binary again as a plain user.
func becomeUser(d denial, told string) error {
	prefix, err := filepath.EvalSymlinks(os.Getenv("AUTORESEARCH_PYTHON"))
	if err != nil {
		return err
	}
	for at, rest := "/", strings.Split(strings.Trim(filepath.Dir(filepath.Dir(prefix)), "/"), "/"); len(rest) > 0; rest = rest[1:] {
		at = filepath.Join(at, rest[0])
		info, err := os.Stat(at)
		if err != nil {
			return err
		}
		if info.Mode()&0o001 != 0 || len(rest) == 1 {
			continue
		}
		inner := filepath.Join(at, rest[1])
		fd, err := unix.OpenTree(unix.AT_FDCWD, inner, unix.OPEN_TREE_CLONE|unix.AT_RECURSIVE)
		if err == nil {
			err = errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("x", at, "tmpfs", 0, "mode=755"), os.Mkdir(inner, 0o755))
		}
		if err == nil {
			err = unix.MoveMount(fd, "", unix.AT_FDCWD, inner, unix.MOVE_MOUNT_F_EMPTY_PATH)
		}
		if err != nil {
			return err
		}
	}
	cmd := exec.Command(filepath.Join(d.Root, "daemon"))
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", os.Stdout, os.Stdout
	cmd.Env = append(os.Environ(), denialsName+"="+told)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(d.UID), Gid: uint32(d.UID)}}
	return cmd.Run()
}

// run plays a trial beside what it must not reach.
func (d *denial) run() (out search.Outcome, log, layers string, err error) {
	state, home, cache := filepath.Join(d.Root, "state"), filepath.Join(d.Root, "home"), filepath.Join(d.Root, "cache")
	at := map[string]any{"daemon": os.Getpid(), "other": d.Other, "abstract": fmt.Sprintf("autoresearchd-%d", os.Getpid()), "outside": filepath.Join(d.Root, "workspace"),
		"ssh": filepath.Join(home, ".ssh/id_ed25519"), "journal": filepath.Join(state, "journal.db"), "key": filepath.Join(state, "openai.key"),
		"socket": filepath.Join(state, "autoresearchd.sock"), "denied": filepath.Join(cache, "data/validation"), "data": filepath.Join(cache, "data/training")}
	for _, name := range []string{"ssh", "journal", "key", "denied", "data"} {
		path := at[name].(string)
		if err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("secret"), 0o600)); err != nil {
			return
		}
	}
	if err = os.MkdirAll(filepath.Join(d.Root, "workspace/.git/hooks"), 0o755); err != nil {
		return
	}
	for _, on := range [][2]string{{"unix", "@" + at["abstract"].(string)}, {"unix", at["socket"].(string)}, {"tcp", "127.0.0.1:0"}} {
		l, err := net.Listen(on[0], on[1])
		if err != nil {
			return out, "", "", err
		}
		defer l.Close()
		if a, ok := l.Addr().(*net.TCPAddr); ok {
			at["tcp"] = []any{"127.0.0.1", a.Port}
		}
	}
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return
	}
	defer udp.Close()
	at["udp"] = []any{"127.0.0.1", udp.LocalAddr().(*net.UDPAddr).Port}

	os.Setenv("HOME", home)
	o := Options{Python: d.Python, Folder: func(id int64) string { return filepath.Join(state, "trials", strconv.FormatInt(id, 10)) },
		Limits: patient(), LogLimit: 1 << 20, Processes: 200, Owner: state, Shared: []string{filepath.Join(cache, "data")}, Deny: []string{at["denied"].(string)}}
	work := o.work(1)
	where, err := json.Marshal(at)
	if err == nil {
		err = errors.Join(os.MkdirAll(work, 0o750), os.CopyFS(work, os.DirFS(filepath.Join(d.Root, "beside"))),
			os.WriteFile(filepath.Join(work, "train.py"), []byte(trespasses), 0o600), os.WriteFile(filepath.Join(work, "at.json"), where, 0o600))
	}
	if err != nil {
		return
	}
	if d.Mode == sandbox.Require { // as the daemon, which a sandbox's processes begin as hidden as
		if err = hide.Self(); err != nil {
			return
		}
	}
	if o.Sandbox, err = FindSandbox(&o, d.Mode, "cpu", d.Without); err != nil {
		return
	}
	defer o.Sandbox.Close()
	p, err := NewProcess(o)
	if err != nil {
		return
	}
	defer p.Close()
	out, err = p.Run(context.Background(), Order{Trial: trial(1)}, nil)
	text, _ := os.ReadFile(filepath.Join(o.Folder(1), "run.log"))
	return out, string(text), o.Sandbox.Summary(), err
}

// TestTrespasses has a train.py try, under a real CPython, what it must not, as
// the users that a daemon may run as. The same trial without a sandbox shows
// that each attempt succeeds where nothing forbids it. Faults 51 to 54.
func TestTrespasses(t *testing.T) {
	const plain = 61000
	modes := []struct {
		name string
		d    denial
		root bool // it can be shown by root alone
	}{
		{"root, a user of its own", denial{}, true},
		{"root without namespaces", denial{Without: sandbox.Leave{Spaces: true}}, true},
		{"a plain user with user namespaces", denial{UID: plain}, false},
		{"a plain user without", denial{UID: plain, Without: sandbox.Leave{Spaces: true}}, false},
	}
	other := exec.Command("sleep", "1000")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	for _, m := range modes {
		if os.Getuid() != 0 {
			if m.root {
				t.Logf("not shown here, for it takes root: %s", m.name)
				continue
			}
			m.d.UID = 0
		}
		for _, mode := range []string{sandbox.Off, sandbox.Require} {
			t.Run(m.name+", "+mode, func(t *testing.T) {
				d := m.d
				d.Mode, d.Python, d.Other, d.Root = mode, "", other.Process.Pid, sharedFolder(t)
				d.Python = filepath.Join(d.Root, "venv/bin/python")
				prepareRoot(t, d)
				told, err := json.Marshal(d)
				if err != nil {
					t.Fatal(err)
				}
				cmd := exec.Command(filepath.Join(d.Root, "daemon"))
				cmd.Env, cmd.Dir = append(os.Environ(), denialsName+"="+string(told)), "/"
				if d.UID > 0 {
					cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
				}
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				check(t, string(out), mode == sandbox.Require)
			})
		}
	}
}

// sharedFolder is one that every user may enter.
func sharedFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "trespass")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func prepareRoot(t *testing.T, d denial) {
	t.Helper()
	in, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(filepath.Join(d.Root, "daemon"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(out, in)
	err = errors.Join(err, out.Close(), os.CopyFS(filepath.Join(d.Root, "beside"), os.DirFS("testdata/work")))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := exec.Command(os.Getenv("AUTORESEARCH_PYTHON"), "-m", "venv", "--without-pip", filepath.Join(d.Root, "venv")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if d.UID > 0 {
		err = filepath.WalkDir(d.Root, func(path string, _ os.DirEntry, err error) error {
			return errors.Join(err, os.Lchown(path, d.UID, d.UID))
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// check reads what the trial printed.
func check(t *testing.T, text string, confined bool) {
	t.Helper()
	seen := 0
	for line := range strings.Lines(text) {
		name, result, _ := strings.Cut(strings.TrimSpace(line), ": ")
		tried := strings.Contains(trespasses, strconv.Quote(name)+":")
		switch {
		case name == "layers":
			t.Log(result)
		case name == "status" && !strings.HasPrefix(result, "completed"):
			t.Error(line)
		case strings.HasPrefix(result, "fails"):
			t.Error(line)
		case strings.HasPrefix(result, "works"):
			seen++
		case tried && strings.HasPrefix(result, "reached") == confined:
			if !confined && name == "a trace of the daemon" && !traceable() {
				seen++
				continue
			}
			t.Error(line)
		case tried:
			seen++
		}
	}
	if seen != 17+8 {
		t.Errorf("%d of 25 answers:\n%s", seen, text)
	}
}

// traceable reports whether processes of one user may trace each other here.
func traceable() bool {
	data, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope")
	return err != nil || strings.TrimSpace(string(data)) == "0"
}

// TestStandbyInASandbox has a trial run in a process that was confined before
// there was a trial, in a folder that was another's.
func TestStandbyInASandbox(t *testing.T) {
	for name, without := range map[string]sandbox.Leave{"with a root of its own": {}, "without": {Spaces: true}} {
		t.Run(name, func(t *testing.T) {
			o := options(t)
			var said bytes.Buffer
			o.Log = slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug}))
			box(t, &o, without)
			p := newProcess(t, o)
			const source = "import json\nfrom prepare import evaluate_bpb\nopen('made', 'w').write('here')\nprint(open('beside').read())\nevaluate_bpb(1.0, None, 4)\n"
			if warmed(t, p, source) == 0 {
				t.Fatal("no standby was ready")
			}
			folder(t, p.options, 2, source)
			work := o.work(2)
			if err := os.WriteFile(filepath.Join(work, "beside"), []byte("found"), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := p.Run(context.Background(), Order{Trial: trial(2)}, nil)
			if err != nil || out.Status != search.Completed {
				t.Fatalf("%v %+v\n%s", err, out, logOf(t, o, 2))
			}
			if text, err := os.ReadFile(filepath.Join(work, "made")); string(text) != "here" || !strings.Contains(logOf(t, o, 2), "found") {
				t.Errorf("it made %q (%v) and printed %q", text, err, logOf(t, o, 2))
			}
			if !strings.Contains(said.String(), "a trainer was ready") {
				t.Errorf("the standby was not used: %s", said.String())
			}
		})
	}
}
