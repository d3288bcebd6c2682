package trainer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"autoresearchd/search"
)

const (
	weightsFile = "audit.pt"     // in a trial's working directory
	freshScript = "_fresh.py"    // in that of an audit: fresh.py
	auditFolder = "audit"        // of an audit, in the trial's
	agreement   = 0.002          // bits per byte by which a model that is not compiled may score otherwise
	auditBudget = 24 * time.Hour // of training, which there is none of
)

var (
	builds  = regexp.MustCompile(`(?m)^def build_model\(`)
	guarded = regexp.MustCompile(`(?m)^if __name__ == ["']__main__["']`)
)

// audited scores a trial's weights once more in a fresh process, if the trial is
// to be audited, and returns its outcome with what came of that. fresh is where
// such a process can be started; nil: nowhere.
func (o *Options) audited(ctx context.Context, fresh place, given Order, out search.Outcome, err error, observe func(Event)) (search.Outcome, error) {
	t := given.Trial
	weights := filepath.Join(o.work(t.ID), weightsFile)
	defer os.Remove(weights)
	if err != nil || t.Fresh == nil || out.Status != search.Completed || out.ValBPB > t.Fresh.Bar {
		return out, err
	}
	if fresh == nil {
		out.Flags = append(out.Flags, "not scored in a fresh process: there is none on a cluster's node")
		return out, nil
	}
	audit := &fresher{options: *o, place: fresh, given: given, weights: weights}
	audit.options.Folder = func(id int64) string { return filepath.Join(o.Folder(id), auditFolder) }
	begin := time.Now()
	found, why := audit.run(ctx, out, func(Event) {
		if observe != nil {
			observe(Event{})
		}
	})
	no := func(status search.Status, detail string) {
		out.Status, out.ValBPB, out.Detail = status, 0, detail
	}
	switch {
	case errors.As(why, &unfitting{}) && t.Fresh.Must:
		no(search.Crashed, "it cannot be scored in a fresh process, as others of this study were: "+why.Error())
	case errors.As(why, &unfitting{}):
		out.Flags = append(out.Flags, "not scored in a fresh process: "+why.Error())
	case why != nil:
		no(search.Interrupted, "it was not scored in a fresh process: "+why.Error())
		out.Void = out.Detail
	case found.Status == search.Tampered:
		no(search.Tampered, "in a fresh process that has only its weights and its code: "+found.Detail)
		out.Proof = found.Proof
	case math.Abs(found.ValBPB-out.ValBPB) > agreement:
		no(search.Tampered, fmt.Sprintf("in a fresh process that has only its weights and its code it scores %.6f, and it had scored %.6f", found.ValBPB, out.ValBPB))
	default:
		out.Fresh = &search.Audited{ValBPB: found.ValBPB, Proof: found.Proof, Seconds: time.Since(begin).Seconds()}
	}
	return out, nil
}

// unfitting is why a trial cannot be audited, whoever tries.
type unfitting struct{ error }

func unfit(format string, args ...any) error { return unfitting{fmt.Errorf(format, args...)} }

// fresher is one audit.
type fresher struct {
	options Options // with folders of its own
	place   place
	given   Order
	weights string
}

func (f *fresher) run(ctx context.Context, out search.Outcome, observe func(Event)) (search.Outcome, error) {
	o, t := &f.options, f.given.Trial
	switch {
	case o.Notary == nil || out.Proof == nil || out.Proof.Verdict != search.Proven:
		return out, unfit("its score is not proven")
	case !builds.Match(t.Source) || !guarded.Match(t.Source):
		return out, unfit(`train.py must have a function build_model(tokenizer), which returns the model as evaluate_bpb gets it, with any weights, and train only where __name__ == "__main__"`)
	}
	defer os.RemoveAll(o.work(t.ID))
	if err := f.lay(); err != nil {
		return out, err
	}
	t.Audit, t.Fresh, t.Budget = false, nil, search.Budget{Seconds: auditBudget.Seconds()}
	one, err := f.place.start(job{name: fmt.Sprintf("audit-%d", t.ID), id: t.ID, device: t.Device, dir: o.work(t.ID), env: f.place.environment(t)})
	if err != nil {
		return out, err
	}
	found, err := conduct(ctx, o, &stays{}, one, false, Order{Trial: t, script: freshScript}, observe)
	switch {
	case err != nil:
		return out, err
	case found.Status == search.Completed && found.Proof == nil:
		return out, errors.New("its score there is not proven")
	case found.Status == search.Completed, found.Status == search.Tampered:
		return found, nil
	case found.Status == search.Interrupted:
		return out, errors.New(found.Detail)
	}
	return out, unfit("%s: %s", found.Status, found.Detail)
}

// lay makes the audit's folder: what the workspace has committed, the trial's
// train.py as the daemon knows it, and the weights. Nothing else that the trial
// has written is in its reach.
func (f *fresher) lay() error {
	o, id := &f.options, f.given.Trial.ID
	work := o.work(id)
	info, err := os.Lstat(f.weights)
	switch {
	case err != nil:
		return unfit("it has saved no weights: see its log")
	case !info.Mode().IsRegular() || info.Sys().(*syscall.Stat_t).Nlink != 1:
		return unfit("what it has saved is no file of weights")
	}
	err = errors.Join(os.RemoveAll(o.Folder(id)), os.MkdirAll(filepath.Dir(work), 0o750))
	if err == nil {
		err = os.CopyFS(work, os.DirFS(o.Notary.work))
	}
	if err == nil {
		err = errors.Join(os.Rename(f.weights, filepath.Join(work, "weights.pt")),
			os.WriteFile(filepath.Join(work, "train.py"), f.given.Trial.Source, 0o640), os.WriteFile(filepath.Join(work, freshScript), []byte(freshSource), 0o640))
	}
	if err != nil {
		return fmt.Errorf("lay out an audit: %w", err)
	}
	return nil
}
