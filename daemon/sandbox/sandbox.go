// Package sandbox keeps a program and all that it starts from what is not its
// own: from files, processes, sockets and system calls that it has no need of.
//
// What can be had differs from machine to machine, so [Find] tries each layer
// and [decide] says what they hold together. A program is then started through
// two processes of this binary. The first, [Lead], is born into the namespaces,
// makes the program's own root there, and stays as its parent. The second,
// [Enter], gives up rights for good and becomes the program: a thread can do
// that for itself alone, and what it execs has one thread.
package sandbox

import (
	"fmt"
	"strings"
)

// Policy is what a program needs. All paths are absolute.
type Policy struct {
	Read    []string `json:"read"`    // files and folders, with all below: to read and to execute
	List    []string `json:"list"`    // folders whose names may be read, and no more
	Write   []string `json:"write"`   // the same to do anything with
	Devices []string `json:"devices"` // device nodes to open, beside null, zero, full, random and urandom
	Deny    []string `json:"deny"`    // files of Read that must not be opened all the same
	Tmp     string   `json:"tmp"`     // folder of Write, without links, that is /tmp where the program has a root of its own
	Network bool     `json:"network"` // TCP, UDP and name look-ups
}

// Layer is one means of the kernel.
type Layer struct {
	Name   string `json:"name"`             // "Landlock", "pid namespace"
	Detail string `json:"detail,omitempty"` // "ABI 7"
	Why    string `json:"why,omitempty"`    // it is not in force; "": it is
	Remedy string `json:"remedy,omitempty"`
}

// machine is what a probe found. An empty reason says that the layer is there.
type machine struct {
	root     bool   // this process is root
	landlock int    // its ABI; 0: none
	noRules  string // why there is no Landlock
	filter   string // why there is no seccomp
	spaces   string // why there are no mount, ipc and network namespaces, with a root of its own
	pids     string // why there is no pid namespace with its own /proc
	nothing  string // why there is nothing at all
	user     string // why there is no user namespace, or, for root, no uid of its own
}

// Where the fields of a machine matter, in decide.
const (
	scopedABI  = 6 // abstract sockets and signals
	networkABI = 4
	truncate   = 3
)

// decide says what is in force, and what of a trial's promises nothing holds.
// Each must be held by one layer at least, whichever.
func decide(m machine) (layers []Layer, missing []string) {
	user := Layer{Name: "user namespace", Why: m.user, Remedy: "allow unprivileged user namespaces: sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, or an AppArmor profile for this binary (kernel.apparmor_restrict_unprivileged_userns)"}
	if m.root {
		user.Name, user.Remedy = "own uid", "start the daemon as a user of its own, as the unit does"
	}
	spaces := Layer{Name: "mount, ipc and network namespaces", Why: m.spaces, Remedy: user.Remedy}
	pids := Layer{Name: "pid namespace", Why: m.pids, Remedy: "let this process mount a /proc of its own: a container needs an unmasked /proc, a unit no ProtectKernelTunables= and no ProtectKernelLogs="}
	if m.root {
		spaces.Remedy = "give the daemon CAP_SYS_ADMIN, or start it as a user of its own on a machine with user namespaces"
	}
	rules := Layer{Name: "Landlock", Detail: fmt.Sprintf("ABI %d", m.landlock), Why: m.noRules, Remedy: "use Linux 6.12 or later with landlock in the kernel's list of security modules (lsm=)"}
	switch {
	case rules.Why != "":
		rules.Detail = ""
	case m.landlock < scopedABI:
		rules.Detail += ", which lacks scopes for signals and abstract sockets (Linux 6.12)"
	}
	filter := Layer{Name: "seccomp", Why: m.filter, Remedy: "use a kernel with CONFIG_SECCOMP_FILTER"}
	layers = []Layer{user, spaces, pids, rules, filter, {Name: "no new privileges, no capabilities, no core dumps", Why: m.nothing}}

	hold := func(promise string, by ...bool) {
		for _, held := range by {
			if held {
				return
			}
		}
		missing = append(missing, promise)
	}
	abi := func(n int) bool { return m.noRules == "" && m.landlock >= n }
	hold("files of others cannot be read or written", abi(truncate))
	hold("other processes cannot be looked into", abi(1))
	hold("other processes cannot be signalled", m.pids == "", abi(scopedABI), m.root && m.user == "")
	hold("other processes cannot be traced", m.filter == "" && abi(1))
	hold("TCP, UDP and name look-ups are closed", m.filter == "", m.spaces == "")
	hold("abstract sockets are closed", m.spaces == "", abi(scopedABI))
	hold("sockets of others in the file system are closed", m.spaces == "", m.filter == "")
	return layers, missing
}

// Box is how programs are confined on this machine; nil: they are not.
type Box struct {
	Layers  []Layer
	found   machine
	command string // behind this binary's name, that leads to Stage
	uid     int    // of programs; -1: this process's own
	idmap   int    // descriptor of a user namespace in which this user is uid; -1: none
	nested  bool   // root, and yet in a user namespace
	off     bool   // nothing is in force
}

// Summary says in one line what is in force and what is not.
func (b *Box) Summary() string {
	if b == nil {
		return "none"
	}
	return Words(b.Layers)
}

// Words says in one line which layers are in force and which are not.
func Words(layers []Layer) string {
	var in, out []string
	for _, l := range layers {
		name := l.Name
		if l.Detail != "" {
			name += " (" + l.Detail + ")"
		}
		if l.Why == "" {
			in = append(in, name)
		} else {
			out = append(out, fmt.Sprintf("%s (%s)", l.Name, l.Why))
		}
	}
	text := strings.Join(in, ", ")
	if text == "" {
		text = "none"
	}
	if len(out) > 0 {
		text += "; without " + strings.Join(out, ", ")
	}
	return text
}

// Workers reports whether a program's own children may use CUDA: the driver
// writes to the /proc of the process that opens it.
func (b *Box) Workers() bool { return !b.On() || b.found.pids == "" }

// Rooted reports whether programs have a root of their own, in which a folder
// keeps its name when it is renamed outside.
func (b *Box) Rooted() bool { return b.On() && b.found.spaces == "" }
