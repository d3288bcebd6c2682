package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"autoresearchd/daemon/change"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/record"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/daemon/terminal"
	"autoresearchd/search"
)

// champion is what it changes against the baseline, in all.
type champion struct {
	ID          int64             `json:"id"`
	Commit      string            `json:"commit"`
	ValBPB      float64           `json:"val_bpb"` // the mean of its runs
	Runs        int               `json:"runs"`
	Description string            `json:"description"`
	Baseline    baseline          `json:"baseline"`
	Gain        float64           `json:"gain"`  // against the baseline
	Claim       string            `json:"claim"` // "confirmed", or "unconfirmed (1 of 3 paired seeds)"; "" of the baseline, or where the judge claims nothing
	Constants   []change.Constant `json:"constants"`
	Chain       []link            `json:"chain"` // from the baseline to it
	Diff        string            `json:"diff"`  // of train.py, unified
	Commands    []string          `json:"commands"`
	Applied     *applied          `json:"applied,omitempty"`
}

type baseline struct {
	ID     int64   `json:"id"`
	Commit string  `json:"commit"`
	ValBPB float64 `json:"val_bpb"`
	Runs   int     `json:"runs"`
}

// link is a kept candidate, compared with the one before it in the chain.
type link struct {
	ID       int64    `json:"id"`
	Commit   string   `json:"commit"`
	Change   string   `json:"change"`
	Gain     *float64 `json:"gain"`     // null: their scores do not compare
	Interval float64  `json:"interval"` // half of Gain's 95 % interval
	Claim    string   `json:"claim"`
}

func (g *globals) bestCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{Use: "best [--apply DIR]", Short: "show what the champion changes against the baseline, and how to get it", Args: cobra.NoArgs,
		DisableFlagsInUseLine: true,
		Long: `What the champion changes against the baseline, in all: constants, the kept
candidates that led to it with what each gained, the diff of train.py, and the
commands to have it.

--apply writes its train.py into a git work tree, an upstream clone or any other
tree of the same files, and nothing else. It never writes over uncommitted work.
A train.py that is neither the baseline's nor that of one of the champion's
ancestors gets the champion's change where that applies cleanly, and else stays
as it is.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, state, err := g.reader()
			if err != nil {
				return err
			}
			defer r.Close()
			changes, err := change.Read(r)
			if err != nil {
				return err
			}
			if changes.Champion == nil {
				return errors.New("there is no champion yet: `autoresearchd status` says what comes next")
			}
			about, _, err := r.Study()
			if err != nil {
				return err
			}
			best, err := g.best(r, about, state, changes)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("apply") {
				if best.Applied, err = g.apply(cmd.Context(), about, state, changes, dir); err != nil {
					return err
				}
			}
			w := cmd.OutOrStdout()
			switch {
			case g.json:
				return printJSON(w, best)
			case best.Applied != nil:
				best.Applied.print(w, best)
				return nil
			}
			return g.printBest(w, best)
		}}
	c.Flags().StringVar(&dir, "apply", "", "write its train.py into the git work tree `DIR`")
	_ = c.MarkFlagDirname("apply")
	return g.reads(c)
}

// best is the champion by the record alone.
func (g *globals) best(r *journal.Reader, about journal.Study, state string, changes *change.Study) (champion, error) {
	board, err := supervisor.Read(r)
	if err != nil {
		return champion{}, err
	}
	from, to := changes.Baseline, changes.Champion
	now := board.Now()
	out := champion{
		ID: to.ID, Commit: now.Champion.Commit, Description: to.Description, Claim: now.Champion.Claim,
		Baseline: baseline{ID: from.ID, Commit: changes.First(from.ID).Commit}, Constants: changes.Constants(from.ID, to.ID), Chain: []link{},
	}
	out.ValBPB, out.Runs = to.Score()
	out.Baseline.ValBPB, out.Baseline.Runs = from.Score()
	out.Gain = out.Baseline.ValBPB - out.ValBPB
	chain, err := changes.Chain(to.ID)
	if err != nil {
		return out, err
	}
	for _, step := range chain {
		v := search.Compare(changes.Done, step.ID, step.From)
		l := link{ID: step.ID, Commit: changes.First(step.ID).Commit, Change: step.Change, Interval: v.Interval, Claim: v.Claim}
		if !math.IsNaN(v.Gain) {
			l.Gain = &v.Gain
		}
		out.Chain = append(out.Chain, l)
	}
	before, err := changes.Program(from.ID)
	if err != nil {
		return out, err
	}
	after, err := changes.Program(to.ID)
	if err != nil {
		return out, err
	}
	out.Diff = record.Diff("baseline", fmt.Sprintf("candidate %d", to.ID), before.Source, after.Source)
	work, branch := lineage.Quote(about.Workspace), lineage.Quote("autoresearch/"+about.Tag)
	out.Commands = []string{
		g.line(state) + " best --apply DIR",
		fmt.Sprintf("git -C %s show %s:./train.py", work, branch),
		fmt.Sprintf("git -C %s branch NAME %s", work, branch),
	}
	return out, nil
}

func (g *globals) printBest(w io.Writer, b champion) error {
	line := labelled(w, 9)
	line("champion", "%.6f, %s of candidate %d (%.7s): %s", b.ValBPB, meanOf(b.Runs), b.ID, b.Commit, foreign(b.Description))
	if b.ID == b.Baseline.ID {
		line("baseline", "it is the champion: nothing has beaten it yet")
		return nil
	}
	line("baseline", "%.6f, %s of candidate %d (gain %s)", b.Baseline.ValBPB, meanOf(b.Baseline.Runs), b.Baseline.ID, strings.TrimSuffix(fmt.Sprintf("%.6f, %s", b.Gain, b.Claim), ", "))
	name := "constants"
	for _, c := range b.Constants {
		line(name, "%s", c.Change)
		name = ""
	}
	if len(b.Constants) == 0 {
		line(name, "none: the change is in the code")
	}
	name = "chain"
	for _, l := range b.Chain {
		gain := "scores on different kinds of devices do not compare"
		if l.Gain != nil {
			gain = "gain " + versusWords(search.Versus{Gain: *l.Gain, Interval: l.Interval, Claim: l.Claim})
		}
		line(name, "#%d %s: %s", l.ID, foreign(record.Label(l.Change)), gain)
		name = ""
	}
	fmt.Fprintln(w)
	if err := printDiff(terminal.Open(os.Stdout), w, b.Diff); err != nil {
		return err
	}
	fmt.Fprintln(w)
	name = "have it"
	for i, command := range b.Commands {
		line(name, "%s # %s", command, []string{"into a git work tree", "its train.py", "a branch that begins there"}[i])
		name = ""
	}
	g.next(w, "ablate")
	return nil
}
