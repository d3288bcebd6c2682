package trainer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"autoresearchd/search"
)

// proof is the conversation about one trial's score. A trial whose score can be
// proven says nothing about it itself: what the notary computes is its score.
type proof struct {
	notary *Notary // nil: scores are not proven
	of     search.Trial
	trial  string // its folder
	folder string // it, or below it, what the trial can reach
	name   string // how the names of the folders of proofs begin
	audit  bool
	device string // "cpu" or "cuda"

	asked     chan said // the notary's answer to what the trial said last
	busy      bool
	id        string
	dir       string // what both can reach; "": nothing yet
	begun     time.Time
	on        bool          // this workspace's scores can be proven
	evaluates bool          // it has its rows
	record    *search.Proof // of the last evaluation; nil: it is not concluded
	failed    error         // why the notary could not say
	told      string        // a score that came without a proof
}

// said is an answer for a trial.
type said struct {
	tell   json.RawMessage
	record *search.Proof
	on     bool
	err    error
}

func newProof(o *Options, t search.Trial, in trainee) *proof {
	p := &proof{notary: o.Notary, of: t, trial: o.Folder(t.ID), folder: o.Folder(t.ID), name: "proof-", audit: t.Audit, device: "cpu", asked: make(chan said, 1)}
	if alone, _ := in.confined(); alone {
		p.folder, p.name = o.work(t.ID), ".proof-" // all that it may reach, where it is not looked for
	}
	if in.cuda() {
		p.device = "cuda"
	}
	return p
}

// waits bounds what a trial waits for the notary. It does not end with the
// trial: a notary is not to be ended in the middle of an answer.
func waits() (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(context.Background(), proofPatience, fmt.Errorf("the notary did not answer within %v", proofPatience))
}

// hear takes in what the trial says, and has the notary answer.
func (p *proof) hear(words json.RawMessage) {
	if p.notary == nil || p.busy {
		return
	}
	var head struct {
		Op string `json:"op"`
	}
	_ = json.Unmarshal(words, &head) // what has no op is no proof
	p.busy = true
	if head.Op == "rows" {
		p.leave()
		if p.record == nil || p.record.Verdict != search.ProofTampered { // which stands, whatever comes after
			p.record, p.failed, p.begun = nil, nil, time.Now()
		}
		p.evaluates = false
		p.id = strconv.Itoa(p.notary.next())
		go func() { p.asked <- p.open() }()
		return
	}
	id := p.id
	go func() { p.asked <- p.say(id, words) }()
}

// open waits until the notary knows what there is to prove, and has it give the
// trial its rows.
func (p *proof) open() said {
	none := json.RawMessage("{}")
	ctx, cancel := waits()
	defer cancel()
	p.notary.hurry()
	select {
	case <-p.notary.learned:
	case <-ctx.Done():
		return said{tell: none, on: true, err: context.Cause(ctx)}
	}
	found, _ := p.notary.Found()
	if found.Why != "" {
		return said{tell: none}
	}
	if err := p.notary.learn(ctx); err != nil { // it may have ended since, and its reference be gone
		return said{tell: none, on: true, err: err}
	}
	keep, err := p.notary.keeps(p.of)
	if err != nil {
		return said{tell: none, on: true, err: err}
	}
	dir, err := os.MkdirTemp(p.folder, p.name)
	if err != nil {
		return said{tell: none, on: true, err: fmt.Errorf("make a folder for the proof: %w", err)}
	}
	p.dir = dir
	var reply struct {
		Tell   map[string]any `json:"tell"`
		Why    string         `json:"why"`
		Mended bool           `json:"mended"`
	}
	err = p.notary.ask(ctx, map[string]any{"op": "rows", "proof": p.id, "folder": dir, "audit": p.audit, "keep": keep, "device": p.device}, &reply)
	if err == nil && reply.Why != "" {
		err = errors.New(reply.Why)
	}
	if err != nil {
		return said{tell: none, on: true, err: err}
	}
	if reply.Mended {
		p.notary.options.Log.Warn("the losses that trials are held against were gone, or were others, and are written again", "file", p.notary.keep)
	}
	if reply.Tell["folder"], err = filepath.Rel(p.trial, dir); err != nil {
		return said{tell: none, on: true, err: err}
	}
	tell, err := json.Marshal(reply.Tell)
	return said{tell: tell, on: true, err: err}
}

// say has the notary answer one message of the trial.
func (p *proof) say(id string, words json.RawMessage) said {
	ctx, cancel := waits()
	defer cancel()
	var reply struct {
		Tell   json.RawMessage `json:"tell"`
		Record *search.Proof   `json:"record"`
	}
	err := p.notary.ask(ctx, map[string]any{"op": "say", "proof": id, "said": words}, &reply)
	if err != nil {
		return said{tell: json.RawMessage("{}"), on: true, err: err}
	}
	return said{tell: reply.Tell, record: reply.Record, on: true}
}

// take takes in the notary's answer, and reports whether the trial's evaluation
// begins only now.
func (p *proof) take(s said) (begins bool) {
	begins = p.record == nil && p.failed == nil && s.record == nil && !p.evaluates
	p.evaluates = true
	p.busy, p.on = false, s.on
	if s.err != nil && p.failed == nil {
		p.failed = s.err
	}
	if s.record != nil && (p.record == nil || p.record.Verdict != search.ProofTampered) {
		p.record = s.record
		p.record.Seconds = time.Since(p.begun).Seconds()
		p.notary.refer(s.record, p.of.ID)
	}
	if s.record != nil || s.err != nil {
		p.leave()
	}
	return begins
}

// score replaces a score that the trial tells by the one that is proven.
func (p *proof) score(e *event) {
	if p.notary == nil {
		return
	}
	if found, known := p.notary.Found(); known && found.Why != "" {
		return
	}
	switch {
	case p.record != nil && p.record.ValBPB > 0:
		e.ValBPB = strconv.FormatFloat(p.record.ValBPB, 'g', -1, 64)
	case p.record != nil && p.record.Verdict == search.Proven:
		e.ValBPB = "nan" // which is what its losses were
	case p.record == nil && p.failed == nil:
		p.told, p.on = e.ValBPB, true
	}
}

// conclude says in an outcome what became of its score.
func (p *proof) conclude(o *search.Outcome) {
	if p.notary == nil || !p.on {
		return
	}
	o.Proof = p.record
	lied := p.record != nil && p.record.Verdict == search.ProofTampered
	if o.Status != search.Completed && !(lied && o.Status == search.Diverged) { // a score that is none may be a lie too
		return
	}
	not := func(status search.Status, detail string) {
		o.Status, o.ValBPB, o.Detail = status, 0, detail
	}
	switch r := p.record; {
	case r == nil && p.failed != nil:
		not(search.Interrupted, "its score could not be proven: "+p.failed.Error())
		o.Void = o.Detail
	case r == nil:
		not(search.Tampered, fmt.Sprintf("it told the score %s, which it had not proven", Inert(p.told)))
	case r.Verdict == search.ProofTampered:
		not(search.Tampered, Inert(r.Evidence))
	case r.Verdict == search.Unproven && p.notary.strict():
		not(search.Crashed, "its score is not proven, as those of this study are: "+Inert(r.Evidence))
	case r.Verdict == search.Unproven:
		o.Flags = append(o.Flags, "its score is not proven: "+Inert(r.Evidence))
	}
}

// room is what the files of a proof may take, in bytes.
func (p *proof) room() int64 {
	if !p.evaluates {
		return 0
	}
	f, _ := p.notary.Found()
	return 2*4*int64(2*f.Rows+f.Pool)*int64(f.Length+1) + answerSize
}

// answerSize bounds the logits of a challenge in bytes: twice notary.py's ANSWER,
// since a model may have more logits than tokens.
const answerSize = 2 * 192 << 20

// leave forgets the last evaluation.
func (p *proof) leave() {
	if p.dir == "" {
		return
	}
	_ = os.RemoveAll(p.dir)
	p.dir = ""
	id := p.id
	go func() {
		ctx, cancel := waits()
		defer cancel()
		_ = p.notary.ask(ctx, map[string]any{"op": "leave", "proof": id}, &struct{}{})
	}()
}

// close ends the conversation, with the trial.
func (p *proof) close() {
	if !p.busy {
		p.leave()
		return
	}
	go func() {
		<-p.asked
		p.leave()
	}()
}
