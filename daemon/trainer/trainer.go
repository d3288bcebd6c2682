package trainer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"autoresearchd/daemon/compiled"
	"autoresearchd/daemon/device"
	"autoresearchd/daemon/sandbox"
	"autoresearchd/daemon/watchdog"
	"autoresearchd/search"
)

// Trainer runs trials in a CPython that the daemon can kill. A failed trial is
// an Outcome; an error means that the trainer itself is broken.
type Trainer interface {
	// Inspect reads train.py without running it.
	Inspect(ctx context.Context, source []byte) (Inspection, error)
	// Run runs the trial whose folder Options.Folder names. A cancelled ctx
	// ends it as Interrupted, or Pruned where its cause is a Prune. observe is called from one goroutine at a time.
	Run(ctx context.Context, o Order, observe func(Event)) (search.Outcome, error)
	// Warm says that a trial on this device will come, probably of a source
	// that imports what this one does: whoever can gets ready. It returns at once.
	Warm(device string, source []byte)
	// Close lets go of what the trainer holds.
	Close() error
}

// Order is a trial, and what it waits for.
type Order struct {
	search.Trial
	Gate   *Gate  // nil: nothing
	script string // in the working directory; "": train.py
}

// Prune is the cause of a context that is cancelled because nothing is to be
// hoped of its trial any more.
type Prune struct{ Why string }

func (p Prune) Error() string { return p.Why }

// Gate is where a trial waits before its first counted step: until the
// evaluation of the trial before it on the same device is over.
type Gate struct {
	After int64         // that trial
	Open  chan struct{} // closed when its evaluation is over
}

// Inspection is what can be said of a train.py without running it.
type Inspection struct {
	Error     string            `json:"error,omitempty"` // why it cannot run: "line 3: '(' was never closed"
	Constants []search.Constant `json:"constants"`
	Others    []Other           `json:"others"`  // what looks like a constant and is none
	Imports   []string          `json:"imports"` // names it takes from prepare
	Modules   []Module          `json:"modules"` // what it imports
	Evaluates bool              `json:"evaluates"`
	Claims    []Claim           `json:"claims"`    // what it decides itself
	Unscored  string            `json:"unscored"`  // why it cannot be a prepare.py that gives scores; "": it may
	Uncounted int               `json:"uncounted"` // of a prepare.py: its UNCOUNTED_STEPS; 0: it has none
	Unplaced  string            `json:"unplaced"`  // how a prepare.py says where its data lies, if a given cache does not reach it; "": it does
}

// Claim is something that a script does not take from prepare, although the
// study decides it: when training ends, or what the score is.
type Claim struct {
	Name   string `json:"name"` // prepare's: "evaluate_bpb", "TIME_BUDGET", "STEP_BUDGET"
	Line   int    `json:"line"`
	What   string `json:"what"`   // in words: "TIME_BUDGET comes from constants (line 3)"
	Module string `json:"module"` // where it is taken from instead; "": the script's own
}

// Stands reports whether a trial with a budget cannot have the claim.
func (c Claim) Stands(budget search.Budget) bool {
	return c.Name == "evaluate_bpb" || (c.Name == "STEP_BUDGET") == (budget.Steps > 0)
}

func (c Claim) String() string {
	if c.Name == "evaluate_bpb" {
		return c.What + ", but only prepare's evaluate_bpb gives a score: end with val_bpb = evaluate_bpb(model, tokenizer, batch_size) from prepare"
	}
	return fmt.Sprintf("%s, but trial.budget reaches a script through prepare alone: write `from prepare import %s` and let training end by that", c.What, c.Name)
}

// Other is a name that is set in train.py and cannot be searched: what is written
// there need not be what runs.
type Other struct {
	Name string `json:"name"`
	Line int    `json:"line"`
	Why  string `json:"why"`
}

// Space reads the search space out of the constants. Its error joins every fault
// of the overrides, as search.NewSpace's does.
func (i Inspection) Space(overrides map[string]search.Override) (search.Space, error) {
	var faults []error
	left := maps.Clone(overrides)
	for _, name := range slices.Sorted(maps.Keys(overrides)) {
		constant, _, _ := strings.Cut(name, "[")
		at := slices.IndexFunc(i.Others, func(o Other) bool { return o.Name == constant })
		if at >= 0 && !slices.ContainsFunc(i.Constants, func(c search.Constant) bool { return c.Name == constant }) {
			faults = append(faults, fmt.Errorf("search.space.%s: it cannot be searched as train.py stands: %s (%s in line %d): change train.py or remove the line", name, i.Others[at].Why, constant, i.Others[at].Line))
			delete(left, name)
		}
	}
	space, err := search.NewSpace(i.Constants, left)
	return space, errors.Join(append(faults, err)...)
}

// Module is a module that a script imports, or a name in one.
type Module struct {
	Name     string `json:"name"`     // dotted; a leading dot for each level of a relative import
	Optional bool   `json:"optional"` // the script goes on without it
}

// Fault returns why the source cannot be a trial with this budget, or "".
func (i Inspection) Fault(budget search.Budget) string {
	switch {
	case i.Error != "":
		return i.Error
	case !i.Evaluates:
		return "it never calls evaluate_bpb, so it has no score: end it with val_bpb = evaluate_bpb(model, tokenizer, batch_size) from prepare"
	}
	for _, c := range i.Claims {
		if c.Stands(budget) {
			return c.String()
		}
	}
	if budget.Steps > 0 && !slices.Contains(i.Imports, "STEP_BUDGET") && !slices.Contains(i.Imports, "*") {
		return `it does not take STEP_BUDGET from prepare, so a budget in steps cannot reach it: use a budget in seconds, such as "300s"`
	}
	return ""
}

// Event is something that happened while a trial ran. At most one field is
// set; an empty one says that the trainer is alive.
type Event struct {
	Phase    search.Phase // entered; Exit says that the evaluation is over, an audit included
	Step     *Step
	Progress *Progress // as the script printed it: display, never score
	Memory   int64     // bytes of GPU memory that its processes hold now
	Kill     *Kill
}

// Step counts optimizer steps by the host's clock.
type Step struct {
	Number  int
	Tokens  int64   // training tokens drawn so far
	Counted float64 // seconds since the steps that are not counted
}

// Kill says how a trial was ended by force.
type Kill struct {
	Phase    search.Phase
	Cause    string
	Seconds  float64 // from the first signal to an empty group
	GPU      float64 // seconds until its GPU memory was back; 0 without a GPU
	Leftover []int   // processes that could not be ended
}

// GPU is what the trainer asks of NVML. Absent figures are ok=false.
type GPU interface {
	MemoryUsed(device int) (bytes int64, ok bool)
	ProcessMemory(pids map[int]bool) (bytes int64, ok bool)
}

// Options say where and how trials run.
type Options struct {
	Python    string // the workspace's own interpreter: .venv/bin/python, absolute
	Cache     string // data and tokenizer; empty: whatever prepare.py says
	Folder    func(id int64) string
	Limits    watchdog.Limits
	Grace     time.Duration                 // TERM to KILL
	LogLimit  int64                         // bytes of run.log
	Quota     int64                         // bytes that a trial may write into its folder; 0: no limit
	Cores     map[string][]int              // that trials run on, by device; a device that is not in it: the daemon's own
	Processes int                           // process limit of a trial; 0: none
	Memory    int64                         // host memory limit of a trial in bytes; 0: none
	Room      int                           // this many trials leave the host room instead, or one that takes more than its part is ended: see HostMemory; 0: no limit
	Secrets   []string                      // names of environment variables that trials must not see
	Confine   bool                          // close Closed, and every other process of the user, to trials: see package hide
	Closed    []string                      // files and folders that trials must not read
	Sandbox   *sandbox.Box                  // around trials; nil: none
	Asked     sandbox.Asked                 // which sandbox a node of a cluster shall find for its trials
	Shared    []string                      // files and folders that trials may read in it, beside the interpreter and the system: data, tokenizer
	Deny      []string                      // files of those that they must not open
	Compiled  *compiled.Store               // what trials compile for each other; nil: the compilers keep theirs where they like
	Study     string                        // its tag, for allocations on a cluster
	Needs     []string                      // files and folders that trials read, for a node to look for
	Owner     string                        // identifies this daemon's seats in their environment
	GPU       GPU                           // nil: none
	Seat      func(id int64, handle string) // told before train.py starts, with what Sweep takes to find it after a SIGKILL, as JSON
	Overlap   bool                          // leave another trial room beside an evaluation on a GPU
	Notary    *Notary                       // proves the scores; nil: they are believed
	Log       *slog.Logger
}

// work is the trial's working directory: its own copies of train.py and of
// what the commit holds beside it.
func (o *Options) work(id int64) string { return filepath.Join(o.Folder(id), "work") }

// Allowance is how long counted training may last beyond a budget in seconds
// and still begin a step: what happens between the steps is not on every
// script's clock. Evaluations are left out of counted training.
func Allowance(b search.Budget) time.Duration {
	return time.Duration((0.01*b.Seconds + 2) * float64(time.Second))
}

// closing is how long a script may work between training for so many seconds
// and its evaluation: it averages weights, writes them to the disk.
func closing(seconds float64) time.Duration {
	return time.Duration((0.01*seconds + 5) * float64(time.Second))
}

// warmUp is how long the uncounted steps after the first, which compiles, may
// take before the last resort of a budget ends them.
const warmUp = 30 * time.Second

// limits adds the budget to the watchdog's limits: the last resort where no
// step that counts is seen.
func (o *Options) limits(b search.Budget) watchdog.Limits {
	l := o.Limits
	if b.Seconds > 0 {
		l.Train = time.Duration(b.Seconds*float64(time.Second)) + Allowance(b) + closing(b.Seconds) + warmUp
	}
	if l.Evaluate > 0 && l.Exit > 0 { // of the trial before it, which may be audited, in a fresh process too
		l.Gate = 2*(l.Evaluate+l.Exit+o.Grace) + l.Startup
	}
	return l
}

// Environment is what programs may see of the daemon's own environment: not
// its secrets, nor what systemd gave to the daemon alone.
func Environment(secrets []string) []string {
	hidden := map[string]bool{"NOTIFY_SOCKET": true, "WATCHDOG_USEC": true, "WATCHDOG_PID": true, "LISTEN_FDS": true, "LISTEN_PID": true,
		"LISTEN_FDNAMES": true, "INVOCATION_ID": true, "JOURNAL_STREAM": true, "CREDENTIALS_DIRECTORY": true, "PYTHONHOME": true,
		"PYTHONSTARTUP": true, "AUTORESEARCH_FAULTPOINT": true, "VIRTUAL_ENV": true, "SSH_AUTH_SOCK": true,
		"GIT_DIR": true, "GIT_WORK_TREE": true, "GIT_INDEX_FILE": true}
	for _, name := range SecretVariables(secrets) {
		hidden[name] = true
	}
	var env []string
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); !hidden[name] {
			env = append(env, entry)
		}
	}
	return env
}

// SecretVariables adds to names those of the daemon's environment that say of
// themselves that they are secret.
func SecretVariables(names []string) []string {
	names = slices.Clone(names)
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasSuffix(name, "_API_KEY") || strings.HasSuffix(name, "_TOKEN") || strings.HasSuffix(name, "_SECRET") || strings.HasSuffix(name, "PASSWORD") {
			names = append(names, name)
		}
	}
	return names
}

// environment is what a trial sees.
func (o *Options) environment(t search.Trial) []string {
	env := Environment(o.Secrets)
	if o.Cache != "" {
		env = append(env, "AUTORESEARCH_CACHE="+o.Cache)
	}
	if index, ok := device.CUDAIndex(t.Device); ok {
		env = append(env, "CUDA_DEVICE_ORDER=PCI_BUS_ID", "CUDA_VISIBLE_DEVICES="+strconv.Itoa(index))
	} else if device.IsCPU(t.Device) {
		env = append(env, "CUDA_VISIBLE_DEVICES=")
	}
	return env
}

const markerName = "AUTORESEARCH_SEAT"

// Marker is the entry of the environment of one program that an owner starts,
// and of all that it starts in turn. No other has it.
func Marker(owner string, id int64) string {
	return fmt.Sprintf("%s%d.%d.%d.", ownerMarker(owner), id, os.Getpid(), markers.Add(1))
}

var markers atomic.Int64 // made by this process

// ownerMarker is how the entries of an owner begin. An owner is named after a
// folder, and one folder may lie in another: a path holds no double slash.
func ownerMarker(owner string) string { return markerName + "=" + owner + "//" }
