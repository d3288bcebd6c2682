package search

import (
	"context"
	"time"
)

// Status says how a trial ended. The zero value means that it has not.
type Status string

// The statuses of an Outcome.
const (
	Completed   Status = "completed"
	Crashed     Status = "crashed"
	OutOfMemory Status = "out of memory"
	Diverged    Status = "diverged"
	TimedOut    Status = "timed out"
	Pruned      Status = "pruned"
	Tampered    Status = "tampered"
	Interrupted Status = "interrupted"
)

// Statuses lists every status.
var Statuses = []Status{Completed, Crashed, OutOfMemory, Diverged, TimedOut, Pruned, Tampered, Interrupted}

// Phase is a part of a trial's life; each has its own deadline.
type Phase string

// The phases, in the order in which a trial passes them.
const (
	Startup  Phase = "startup"
	Compile  Phase = "compile"
	Gate     Phase = "gate" // it waits for the evaluation of its neighbour
	Train    Phase = "train"
	Evaluate Phase = "evaluate"
	Exit     Phase = "exit"
)

// Phases lists every phase in order.
var Phases = []Phase{Startup, Compile, Gate, Train, Evaluate, Exit}

// Verdict is one of the three words of results.tsv.
type Verdict string

// The verdicts.
const (
	Keep    Verdict = "keep"
	Discard Verdict = "discard"
	Crash   Verdict = "crash"
)

// Budget is what a trial may spend on training: counted seconds, or optimizer
// steps where Steps is not zero.
type Budget struct {
	Seconds float64 `json:"seconds,omitempty"` // counted training seconds
	Steps   int     `json:"steps,omitempty"`   // optimizer steps

	Uncounted int `json:"uncounted,omitempty"` // see First
}

// First returns the number of optimizer steps before counted training begins,
// which hold compilation and warm-up: Uncounted, or upstream's steps 0 to 10.
func (b Budget) First() int {
	if b.Uncounted > 0 {
		return b.Uncounted
	}
	return 11
}

// Share returns the part of the budget that is spent at a point of a curve, 0
// to 1.
func (b Budget) Share(p Point) float64 {
	switch {
	case b.Steps > 0:
		return min(1, float64(max(0, p.Step-b.First()))/float64(b.Steps))
	case b.Seconds > 0:
		return min(1, p.Seconds/b.Seconds)
	}
	return 0
}

// Proposal says what to change and why.
type Proposal struct {
	Strategy    string           `json:"strategy"`          // who proposed it
	Description string           `json:"description"`       // one line, for people
	Parent      int64            `json:"parent"`            // id of the trial whose source it starts from; 0: the study's own start
	Values      map[string]Value `json:"values,omitempty"`  // constants to set, by name (a tuple is set whole)
	Source      []byte           `json:"source,omitempty"`  // a whole new train.py; nil when only constants change
	Seed        uint64           `json:"seed,omitempty"`    // 0: the study's seed
	Why         string           `json:"why,omitempty"`     // of a re-run: what it is to tell
	Memo        []byte           `json:"memo,omitempty"`    // the strategy's own note on this proposal (JSON), told back in Result
	Instead     string           `json:"instead,omitempty"` // of a fallback: who had nothing to propose, and why: "exec: it ended: exit status 1"

	Attachments []Attachment `json:"-"`               // kept in the trial's folder
	Ideas       []int64      `json:"ideas,omitempty"` // the suggestions in words that it takes up
}

// Imported is the strategy's name of trials that were run before, the upstream way.
const Imported = "imported"

// Trial is a proposal admitted to run.
type Trial struct {
	ID        int64      `json:"id"` // 1, 2, 3, …
	Candidate int64      `json:"-"`  // whose run it is: the id of that one's first run; 0: not known
	Proposal  Proposal   `json:"proposal"`
	Source    []byte     `json:"-"`              // the full train.py that runs
	Constants []Constant `json:"constants"`      // every constant of Source, resolved
	Code      uint64     `json:"code,omitempty"` // identifies Source but for its constants' values, comments and layout; 0: not known
	Changed   []string   `json:"changed"`        // names of the constants that differ from the parent's
	Seed      uint64     `json:"seed"`           // the seed that is imposed
	Budget    Budget     `json:"budget"`
	Audit     bool       `json:"audit,omitempty"`      // it is also scored on what the search never sees
	Fresh     *ToAudit   `json:"fresh,omitempty"`      // nil: it is not scored again in a fresh process
	Device    string     `json:"device"`               // "cpu", "cuda:0", …
	Kind      string     `json:"kind,omitempty"`       // of that device, the hardware class within which scores compare: a GPU's name, or "AMD EPYC 7B13, 2 CPU cores"; "": not known
	ConfirmOn string     `json:"confirm_on,omitempty"` // the kind of devices on which what it promises is confirmed; "": its own
	AskedAt   time.Time  `json:"asked_at,omitzero"`    // when its proposal began to be made, which StartedAt ends; zero: not known
	StartedAt time.Time  `json:"started_at"`
}

// Point is one place on a training curve.
type Point struct {
	Step    int     `json:"step"`    // optimizer steps done
	Seconds float64 `json:"seconds"` // counted training seconds at that step
	Tokens  int64   `json:"tokens"`  // training tokens consumed
	Loss    float64 `json:"loss"`    // as the script printed it: display, never score
}

// Outcome is what happened to a trial.
type Outcome struct {
	Status          Status            `json:"status"`
	ValBPB          float64           `json:"val_bpb"`             // bits per byte, taken at the boundary of evaluate_bpb; 0 unless Completed
	AuditBPB        float64           `json:"audit_bpb,omitempty"` // bits per byte on what the search never sees; 0: none, and in a History always
	Fresh           *Audited          `json:"fresh,omitempty"`     // its score once more, in a fresh process; nil: there is none
	Curve           []Point           `json:"curve,omitempty"`
	PeakVRAM        int64             `json:"peak_vram_bytes"`        // by NVML; 0 without a GPU
	ScriptPeakVRAM  int64             `json:"script_peak_vram_bytes"` // by the script's own allocator; 0 if unknown
	Tokens          int64             `json:"tokens"`                 // training tokens consumed
	Steps           int               `json:"num_steps"`              // optimizer steps done
	TrainingSeconds float64           `json:"training_seconds"`       // counted, by the host's clock
	WallSeconds     float64           `json:"wall_seconds"`
	Phases          map[Phase]float64 `json:"phases,omitempty"` // seconds spent in each
	Gate            *GateRecord       `json:"gate,omitempty"`   // nil: it waited for nobody
	Proof           *Proof            `json:"proof,omitempty"`  // of its score; nil: there is none, as its workspace's scores cannot be proven
	ExitCode        int               `json:"exit_code"`
	Detail          string            `json:"detail,omitempty"`    // why it did not complete: the traceback's last lines, the deadline that fired
	Void            string            `json:"void,omitempty"`      // why it was interrupted through no fault of its program, which runs once more; "": it was not
	Condemned       *Condemned        `json:"condemned,omitempty"` // the pruning rule held it to be hopeless; it may have run on all the same
	Sandbox         string            `json:"sandbox,omitempty"`   // what confined it, in words; "": it was not recorded
	Flags           []string          `json:"flags,omitempty"`     // oddities that do not change the status
	Summary         map[string]string `json:"summary,omitempty"`   // the script's own closing block, as printed
}

// Memory is the largest GPU memory that the trial held, in bytes: NVML's word, else
// the script's own; 0 if unknown.
func (o Outcome) Memory() int64 {
	if o.PeakVRAM == 0 {
		return o.ScriptPeakVRAM
	}
	return o.PeakVRAM
}

// GateRecord proves that no counted step of a trial overlapped the evaluation
// of the one before it on its device. All times are the host's.
type GateRecord struct {
	After  int64     `json:"after"`           // that trial
	Scored time.Time `json:"scored,omitzero"` // when its evaluation was over; zero: it ended without a score
	Opened time.Time `json:"opened"`          // when the gate was opened
	Waited float64   `json:"waited"`          // seconds that the trial stood at it; 0: it was open
}

// ProofVerdict is what a notary concluded of a score.
type ProofVerdict string

// The verdicts of a Proof.
const (
	Proven        ProofVerdict = "proven"
	ProofTampered ProofVerdict = "tampered" // there is evidence that it is a lie
	Unproven      ProofVerdict = "unproven" // the trial gave no proof
)

// Proof is what a notary, which ran no line of a trial's program, found out of
// its score: from the loss of every validation token, to which the trial
// committed itself, and from the logits that it then gave for some. A gap is the
// loss of the logits less the committed one, in nats; an error is a standard error.
type Proof struct {
	Verdict      ProofVerdict      `json:"verdict"`
	Evidence     string            `json:"evidence,omitempty"`  // of a lie, or why there is no proof, in words
	ValBPB       float64           `json:"val_bpb,omitempty"`   // of the committed losses
	Tokens       int               `json:"tokens,omitempty"`    // that were scored
	Positions    int               `json:"positions,omitempty"` // at which logits were compared
	Gap          float64           `json:"gap_mean,omitempty"`
	GapError     float64           `json:"gap_error,omitempty"`
	GapLargest   float64           `json:"gap_largest,omitempty"`   // either way
	GapQuantiles []float64         `json:"gap_quantiles,omitempty"` // of its size: 50, 90, 99 and 99.9 %
	Fresh        float64           `json:"fresh,omitempty"`         // nats a token by which it is better on the official text than on fresh text, against the reference
	FreshError   float64           `json:"fresh_error,omitempty"`
	Unseen       float64           `json:"unseen,omitempty"` // the same, on fresh text of whose losses it was not asked
	UnseenError  float64           `json:"unseen_error,omitempty"`
	Blind        float64           `json:"blind,omitempty"` // the same, where the next token cannot be seen
	BlindError   float64           `json:"blind_error,omitempty"`
	Weights      int               `json:"weights,omitempty"`   // parameters that stayed as they were from its first batch to its logits, as the trial says itself; 0: it does not say
	Reference    string            `json:"reference,omitempty"` // sha256 of its losses, if it became what later trials are held against
	Hashes       map[string]string `json:"hashes,omitempty"`    // sha256 of what decides a score
	Seconds      float64           `json:"seconds,omitempty"`   // from the wait for the rows to the verdict, the evaluation included
}

// Condemned says that nothing was to be hoped of a trial any more.
type Condemned struct {
	At       float64 `json:"at"`                 // share of its budget, 0 to 1
	Foreseen float64 `json:"foreseen,omitempty"` // val_bpb in bits per byte that its curve pointed to; 0: it did not say
	Why      string  `json:"why"`
}

// Decision is what was concluded from an Outcome.
type Decision struct {
	Verdict Verdict `json:"verdict"`
	Reason  string  `json:"reason"`          // in words, with the numbers
	Answer  *Answer `json:"check,omitempty"` // of the check that was asked before; nil: none was
}

// Result is a trial with all that is known about it; what strategies are told.
type Result struct {
	Trial    Trial    `json:"trial"`
	Outcome  Outcome  `json:"outcome"`
	Decision Decision `json:"decision"`
}

// History is what a strategy may know when it is asked.
type History struct {
	Champion  Trial     // where proposals usually start from; its Constants span Space
	Space     Space     // the champion's search space
	Done      []Result  // finished trials in the order of their decisions, the baseline first
	Pending   []Trial   // begun and not decided, in the order of ids
	Vetoed    int       // of Pending, the last: proposals for this very trial that will not run
	Earlier   []Earlier // studies that [search] warm_start names
	Trials    int       // that the study is to have in all; 0: no end in sight
	Kind      string    // of the device that is asked for; "": not known
	ConfirmOn string    // see Trial: of the trial that is asked for
}

// Earlier is a study that was run before this one, elsewhere. Its scores do not
// compare with this one's.
type Earlier struct {
	Name string
	Done []Result
}

// Strategy proposes changes and learns from results. It is deterministic for
// a given seed and history, and must accept trials that it never proposed.
// Every finished trial is told exactly once, in the order of History.Done;
// after a restart the whole journal is told again.
type Strategy interface {
	Ask(ctx context.Context, h History) (Proposal, error)
	Tell(r Result)
}

// Factory builds a Strategy. What it refuses in a table it names in full, as
// every command that builds one shows the error as it is.
type Factory func(env Environment) (Strategy, error)
