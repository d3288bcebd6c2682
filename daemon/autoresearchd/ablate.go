package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"autoresearchd/daemon/change"
	"autoresearchd/daemon/httpd"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/record"
	"autoresearchd/daemon/terminal"
	"autoresearchd/search"
)

// takenBack is a kept change of a candidate, and what became of the candidate
// without it.
type takenBack struct {
	Without    int64    `json:"without"`
	Change     string   `json:"change"`
	Candidate  int64    `json:"candidate"`  // that has all but this change; 0: none was begun
	Suggestion int64    `json:"suggestion"` // that waits for a trial; 0: none
	ValBPB     *float64 `json:"val_bpb"`
	Effect     *float64 `json:"effect"`   // on val_bpb of taking it back; above 0: the change helps
	Interval   float64  `json:"interval"` // half of Effect's 95 % interval
	Result     string   `json:"result"`   // "helps", "within luck", "better without"; or what keeps it from having an effect
	Note       string   `json:"note,omitempty"`
}

func (g *globals) ablateCommand() *cobra.Command {
	var list bool
	c := &cobra.Command{Use: "ablate [ID] [--list]", ValidArgsFunction: g.trialIDs, Short: "find out which kept changes matter: try the champion without each", Args: cobra.MaximumNArgs(1),
		DisableFlagsInUseLine: true,
		Long: `Which kept changes of the champion matter: each is taken back once, as a
candidate that runs and is judged as any other, before what the strategy
proposes next. The table says what each did to val_bpb. A change that others
build on cannot be taken back alone, and one whose absence was tried already is
not tried again. --list asks for nothing. ID is another candidate to take apart.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, state, err := g.reader()
			if err != nil {
				return err
			}
			defer r.Close()
			of, err := ablated(r, args)
			if err != nil {
				return err
			}
			ctx, w := cmd.Context(), cmd.OutOrStdout()
			about, _, err := r.Study()
			if err != nil {
				return err
			}
			repo, err := g.workspace(ctx, about)
			if err != nil {
				repo = nil // a record may be all that is left; who begins the trial looks again
			}
			inspect, end, err := g.inspect(ctx, repo, about)
			if err != nil {
				return err
			}
			defer end()
			var queued []string
			if !list {
				if queued, err = queueAblations(ctx, state, of, inspect); err != nil {
					return err
				}
			}
			changes, err := change.Read(r) // with what was queued
			if err != nil {
				return err
			}
			all, err := changes.Ablations(ctx, inspect, of)
			if err != nil {
				return err
			}
			table := []takenBack{}
			for _, a := range all {
				table = append(table, newTakenBack(changes, a, of))
			}
			if g.json {
				return printJSON(w, table)
			}
			for _, words := range queued {
				fmt.Fprintln(w, fold(w, "queued: "+foreign(words), "  "))
			}
			g.printAblations(w, changes, table, of)
			return g.afterAblations(w, r, table, state)
		}}
	c.Flags().BoolVar(&list, "list", false, "only show the table, ask for no trials")
	return g.reads(c)
}

// ablated is the candidate to take apart.
func ablated(r *journal.Reader, args []string) (int64, error) {
	changes, err := change.Read(r)
	if err != nil {
		return 0, err
	}
	if changes.Champion == nil {
		return 0, errors.New("there is no champion yet: `autoresearchd status` says what comes next")
	}
	of := changes.Champion.ID
	if len(args) > 0 && args[0] != "best" {
		rec, err := find(r, args[0])
		if err != nil {
			return 0, err
		}
		of = rec.Trial.Candidate
	}
	c := changes.Candidate(of)
	if c == nil { // it began after they were read
		return 0, fmt.Errorf("candidate %d has no score yet", of)
	}
	if _, runs := c.Score(); runs == 0 {
		return 0, fmt.Errorf("candidate %d has no score to compare others with: it is %s", of, c.Standing)
	}
	if of == changes.Baseline.ID {
		return 0, fmt.Errorf("candidate %d is the baseline: it has no change to take back", of)
	}
	return of, nil
}

// queueAblations asks the daemon, or leaves it to the next one.
func queueAblations(ctx context.Context, state string, of int64, inspect change.Inspect) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	client, dialErr := httpd.Dial(state)
	if dialErr == nil {
		words, err := client.Ablate(ctx, of)
		return strings.FieldsFunc(words, func(r rune) bool { return r == '\n' }), err
	}
	j, err := journal.Open(state)
	if err != nil {
		return nil, errors.Join(dialErr, err)
	}
	defer j.Close()
	changes, err := change.Read(j)
	if err != nil {
		return nil, err
	}
	return changes.Queue(ctx, inspect, of, func(s journal.Suggestion) error {
		_, err := j.Suggest(s)
		return err
	})
}

const untried = "not tried"

func newTakenBack(changes *change.Study, a change.Ablation, of int64) takenBack {
	out := takenBack{Without: a.Without.ID, Change: a.Without.Change, Suggestion: a.Suggestion}
	switch {
	case a.Conflict != "":
		out.Result, out.Note = "impossible", a.Conflict
		return out
	case a.Candidate == nil && a.Suggestion != 0:
		out.Result, out.Note = "waits", fmt.Sprintf("waits for a trial as suggestion %d", a.Suggestion)
		return out
	case a.Candidate == nil:
		out.Result = untried
		return out
	}
	c := a.Candidate
	out.Candidate = c.ID
	bpb, runs := c.Score()
	v := search.Compare(changes.Done, c.ID, of)
	switch {
	case runs == 0 && c.Standing == search.StandingPending:
		out.Result = "runs"
		return out
	case runs == 0:
		out.Result = "failed"
		out.Note = fmt.Sprintf("candidate %d: %s", c.ID, verdictOf(record.Candidate{Verdict: c.Standing, Failure: c.Failure}))
		return out
	}
	out.ValBPB = &bpb
	if math.IsNaN(v.Gain) {
		out.Result, out.Note = "--", fmt.Sprintf("candidate %d ran on another kind of devices, so the scores do not compare", c.ID)
		return out
	}
	effect := -v.Gain
	out.Effect, out.Interval = &effect, v.Interval
	switch {
	case effect > v.Interval:
		out.Result = "helps"
	case effect < -v.Interval:
		out.Result = "better without"
	default:
		out.Result = "within luck"
	}
	return out
}

func (g *globals) printAblations(w io.Writer, changes *change.Study, table []takenBack, of int64) {
	bpb, runs := changes.Candidate(of).Score()
	fmt.Fprintln(w, fold(w, fmt.Sprintf("candidate %d has val_bpb %.6f, %s; without one of its changes:", of, bpb, meanOf(runs)), "  "))
	columns := []terminal.Column{
		{Title: "ID", Right: true}, {Title: "EFFECT"}, {Title: "RESULT"}, {Title: "VAL_BPB", Right: true, Drop: 1}, {Title: "CANDIDATE", Right: true, Drop: 2}, {Title: "CHANGE TAKEN BACK"},
	}
	var rows []terminal.Line
	for _, t := range table {
		score, effect, candidate := "--", "--", "--"
		if t.ValBPB != nil {
			score = fmt.Sprintf("%.6f", *t.ValBPB)
		}
		if t.Effect != nil {
			effect = fmt.Sprintf("%+.6f ± %.6f", *t.Effect, t.Interval)
		}
		if t.Candidate != 0 {
			candidate = strconv.FormatInt(t.Candidate, 10)
		}
		rows = append(rows, terminal.Line{
			{Text: strconv.FormatInt(t.Without, 10)}, {Text: effect}, {Text: t.Result}, {Text: score}, {Text: candidate}, {Text: terminal.Cut(foreign(record.Label(t.Change)), 100)},
		})
	}
	for _, line := range terminal.Table(columns, rows, window(w), 24) {
		fmt.Fprintln(w, strings.TrimRight(terminal.Open(os.Stdout).Render(line), " "))
	}
	for _, t := range table {
		if t.Note != "" {
			fmt.Fprintln(w, fold(w, fmt.Sprintf("#%d: %s", t.Without, foreign(t.Note)), "  "))
		}
	}
	if c := changes.Champion; c.ID == of && c.Strategy == change.Kind {
		fmt.Fprintln(w, fold(w, fmt.Sprintf("candidate %d is itself candidate %d without a change: `autoresearchd ablate --list %d` shows the others of that", of, c.Parent, c.Parent), "  "))
	}
}

// afterAblations says what comes next.
func (g *globals) afterAblations(w io.Writer, r *journal.Reader, table []takenBack, state string) error {
	paused, err := r.Flag(journal.Paused)
	if err != nil {
		return err
	}
	ended, err := r.Flag(journal.Ended)
	if err != nil {
		return err
	}
	_, dialErr := httpd.Dial(state)
	switch {
	case !slices.ContainsFunc(table, func(t takenBack) bool { return t.Suggestion != 0 }):
		then := "finalize"
		if slices.ContainsFunc(table, func(t takenBack) bool { return t.Result == untried }) {
			then = "ablate"
		}
		g.next(w, then)
	case paused || ended:
		g.next(w, "resume")
	case dialErr != nil:
		g.next(w, "run")
	default:
		g.next(w, "ablate --list")
	}
	return nil
}
