// Package record is what is shown of a trial, the same wherever it is shown.
package record

import (
	"math"
	"time"

	"autoresearchd/daemon/journal"
	"autoresearchd/search"
)

// Trial is one element of `trials --json --runs`: a trial without its source and curve.
// Sizes are bytes, durations seconds.
type Trial struct {
	ID              int64                    `json:"id"`
	Candidate       int64                    `json:"candidate"`
	Commit          string                   `json:"commit"`
	Parent          int64                    `json:"parent"`
	Strategy        string                   `json:"strategy"`
	Description     string                   `json:"description"`
	Constants       map[string]search.Value  `json:"constants"`
	Seed            uint64                   `json:"seed"`
	Device          string                   `json:"device"`
	Class           string                   `json:"class"` // of that hardware, within which scores compare; "": not known
	Status          search.Status            `json:"status"`
	Decision        search.Verdict           `json:"decision"`
	Reason          string                   `json:"reason"`
	ValBPB          *float64                 `json:"val_bpb"`
	AuditBPB        float64                  `json:"audit_bpb,omitempty"`
	Fresh           *search.Audited          `json:"fresh,omitempty"`
	PeakVRAM        int64                    `json:"peak_vram_bytes"`
	ScriptPeakVRAM  int64                    `json:"script_peak_vram_bytes"`
	Tokens          int64                    `json:"tokens"`
	Steps           int                      `json:"num_steps"`
	TrainingSeconds float64                  `json:"training_seconds"`
	WallSeconds     float64                  `json:"wall_seconds"`
	Phases          map[search.Phase]float64 `json:"phases"`
	Gate            *search.GateRecord       `json:"gate,omitempty"`
	Proof           *search.Proof            `json:"proof,omitempty"`
	StartedAt       time.Time                `json:"started_at"`
	Stage           search.Stage             `json:"stage"`
	Detail          string                   `json:"detail,omitempty"`
	Flags           []string                 `json:"flags,omitempty"`
	Summary         map[string]string        `json:"summary,omitempty"`
	ExitCode        int                      `json:"exit_code"`
}

// New is a record as it is shown.
func New(r journal.Record) Trial {
	t, o := r.Trial, r.Outcome
	j := Trial{
		ID: t.ID, Candidate: t.Candidate, Commit: r.Commit, Parent: t.Proposal.Parent, Strategy: t.Proposal.Strategy, Description: t.Proposal.Description,
		Constants: changed(t), Seed: t.Seed, Device: t.Device, Class: t.Kind, Status: o.Status, Decision: r.Decision.Verdict, Reason: r.Decision.Reason, AuditBPB: o.AuditBPB, Fresh: o.Fresh,
		PeakVRAM: o.PeakVRAM, ScriptPeakVRAM: o.ScriptPeakVRAM, Tokens: o.Tokens, Steps: o.Steps, TrainingSeconds: o.TrainingSeconds,
		WallSeconds: o.WallSeconds, Phases: o.Phases, Gate: o.Gate, Proof: o.Proof, StartedAt: t.StartedAt, Stage: r.Stage, Detail: o.Detail, Flags: o.Flags, Summary: o.Summary, ExitCode: o.ExitCode,
	}
	if o.Status == search.Completed && !math.IsNaN(o.ValBPB) && !math.IsInf(o.ValBPB, 0) {
		j.ValBPB = &o.ValBPB
	}
	return j
}
