// Package trespass has tests try what the sandbox denies: one table of attempts,
// which trials, agents, programs and checks make in the same surroundings, as
// each of the users that a daemon may run as.
package trespass

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"autoresearchd/daemon/hide"
	"autoresearchd/daemon/sandbox"
)

// attempts are Python expressions, by what they try to reach.
var attempts = [][2]string{
	{"SSH keys", `reads(at["ssh"])`},
	{"the daemon's environment", `reads(f"/proc/{at['daemon']}/environ")`},
	{"the journal", `reads(at["journal"])`},
	{"the model server's key", `reads(at["key"])`},
	{"another user's /proc", `reads(f"/proc/{at['other']}/cmdline")`},
	{"TCP", `asks(socket.SOCK_STREAM)`},
	{"UDP", `asks(socket.SOCK_DGRAM)`},
	{"DNS", `asks(socket.SOCK_DGRAM, query)`},
	{"an abstract socket", `unix("\0" + at["abstract"])`},
	{"a signal to the daemon", `os.kill(at["daemon"], 0)`},
	{"a trace of the daemon", `traces()`},
	{"a file outside", `writes(at["outside"] + "/made")`},
	{"a file outside by a link", `links()`},
	{"a git hook", `writes(at["outside"] + "/.git/hooks/post-commit")`},
	{"the mode of a file outside", `os.chmod(at["key"], 0o644)`},
	{"the control socket", `unix(at["socket"])`},
	{"what the validation split reads", `reads(at["denied"])`},
}

const helpers = `import ctypes, json, os, socket, struct, sys
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
def traces():  # by a process that ends: a daemon that is traced stops at its next signal
    child = os.fork()
    if child == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        os._exit(ctypes.get_errno() if libc.ptrace(0x4206, at["daemon"], None, None) else 0)  # PTRACE_SEIZE stops nobody
    error = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if error:
        raise OSError(error, "ptrace")
query = struct.pack(">6H", 1, 256, 1, 0, 0, 0) + b"\x07example\x03org\x00" + struct.pack(">2H", 1, 1)
results = {}
for name, attempt in attempts().items():
    try:
        attempt()
        results[name] = "reached"
    except Exception as e:
        results[name] = f"denied: {type(e).__name__} {e}"
`

// Script is Python that makes each attempt and sets results, which says by name
// whether it was "reached" or "denied: …". What stands before it sets at, the
// object that Surround returns.
func Script() string {
	var table strings.Builder
	table.WriteString("def attempts():\n    return {\n")
	for _, a := range attempts {
		fmt.Fprintf(&table, "        %q: lambda: %s,\n", a[0], a[1])
	}
	table.WriteString("    }\n")
	return table.String() + helpers
}

// Names are what Script tries to reach, in order.
func Names() (all []string) {
	for _, a := range attempts {
		all = append(all, a[0])
	}
	return all
}

// Surround makes what a program must not reach, around a daemon that is this
// process with its state folder, and returns where it is. close ends its sockets.
func (d *Told) Surround(state string) (at map[string]any, end func(), err error) {
	home, cache := filepath.Join(d.Root, "home"), filepath.Join(d.Root, "cache")
	at = map[string]any{"daemon": os.Getpid(), "other": d.Other, "abstract": fmt.Sprintf("autoresearchd-%d", os.Getpid()), "outside": filepath.Join(d.Root, "workspace"),
		"ssh": filepath.Join(home, ".ssh/id_ed25519"), "journal": filepath.Join(state, "journal.db"), "key": filepath.Join(state, "openai.key"),
		"socket": filepath.Join(state, "autoresearchd.sock"), "denied": filepath.Join(cache, "data/validation"), "data": filepath.Join(cache, "data/training")}
	for _, name := range []string{"ssh", "journal", "key", "denied", "data"} {
		path := at[name].(string)
		if _, there := os.Stat(path); there == nil {
			continue
		}
		if err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("secret"), 0o600)); err != nil {
			return nil, nil, err
		}
	}
	if err = os.MkdirAll(filepath.Join(d.Root, "workspace/.git/hooks"), 0o755); err != nil {
		return nil, nil, err
	}
	var open []interface{ Close() error }
	end = func() {
		for _, each := range open {
			each.Close()
		}
	}
	for _, on := range [][2]string{{"unix", "@" + at["abstract"].(string)}, {"unix", at["socket"].(string)}, {"tcp", "127.0.0.1:0"}} {
		l, err := net.Listen(on[0], on[1])
		if err != nil {
			end()
			return nil, nil, err
		}
		open = append(open, l)
		if a, ok := l.Addr().(*net.TCPAddr); ok {
			at["tcp"] = []any{"127.0.0.1", a.Port}
		}
	}
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		end()
		return nil, nil, err
	}
	open = append(open, udp)
	at["udp"] = []any{"127.0.0.1", udp.LocalAddr().(*net.UDPAddr).Port}
	os.Setenv("HOME", home)
	if d.Sandbox == sandbox.Require { // as the daemon, which a sandbox's processes begin as hidden as
		err = hide.Self()
	}
	return at, end, err
}

// Write writes at where a script reads it.
func Write(path string, at map[string]any) error {
	data, err := json.Marshal(at)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

// Traceable reports whether processes of one user may trace each other here.
func Traceable() bool {
	data, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope")
	return err != nil || strings.TrimSpace(string(data)) == "0"
}
