package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"autoresearchd/daemon/change"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/search"
)

// made is a branch that finalize has made, or would have.
type made struct {
	ID     int64  `json:"id"`
	Branch string `json:"branch"`
	Commit string `json:"commit"` // at which it stands; "": there is none
	On     string `json:"on"`     // the branch that it is stacked on, or a commit
	Stack  int64  `json:"stack"`  // the candidate that it is stacked on; 0: it stands on the baseline
	Change string `json:"change"`
	State  string `json:"state"` // "made", "there", "left" or "empty"
	Why    string `json:"why,omitempty"`
}

// finalized is all of them.
type finalized struct {
	Workspace string `json:"workspace"`
	Baseline  string `json:"baseline"` // commit
	Branches  []made `json:"branches"`
}

func (g *globals) finalizeCommand() *cobra.Command {
	return g.reads(&cobra.Command{Use: "finalize", Short: "put each kept change on its own git branch, for review", Args: cobra.NoArgs,
		Long: `Put each kept candidate's own change as one commit on the baseline, on a branch
final/TAG/ID-CHANGE of the workspace, so that it can be reviewed and taken by
itself. A change that only applies on top of another is stacked on that one's
branch, and says so. The study's branch, its refs and the work tree stay as they
are; a branch that is there already is left.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, _, err := g.reader()
			if err != nil {
				return err
			}
			defer r.Close()
			out, err := g.finalize(cmd.Context(), r)
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			if g.json {
				return printJSON(w, out)
			}
			g.printFinalized(w, out)
			return nil
		}})
}

func (g *globals) finalize(ctx context.Context, r *journal.Reader) (finalized, error) {
	about, _, err := r.Study()
	if err != nil {
		return finalized{}, err
	}
	changes, err := change.Read(r)
	if err != nil {
		return finalized{}, err
	}
	if changes.Champion == nil {
		return finalized{}, errors.New("there is no champion yet: `autoresearchd status` says what comes next")
	}
	repo, err := g.workspace(ctx, about)
	if err != nil {
		return finalized{}, err
	}
	inspect, end, err := g.inspect(ctx, nil, about)
	if err != nil {
		return finalized{}, err
	}
	defer end()
	branches, err := changes.Branches(ctx, inspect, about.Tag)
	if err != nil {
		return finalized{}, err
	}
	have, err := repo.Branches(ctx, "final/"+about.Tag+"/")
	if err != nil {
		return finalized{}, err
	}
	start := changes.First(changes.Baseline.ID).Commit
	out := finalized{Workspace: repo.Workspace(), Baseline: start, Branches: []made{}}
	tips, names := map[int64]string{}, map[int64]string{} // of what others are stacked on
	for _, b := range branches {
		m := made{ID: b.ID, Branch: b.Name, On: start, Change: b.Change, Stack: b.On}
		switch {
		case b.Empty:
			m.State, m.Branch, m.Why = "empty", "", "it changes nothing of the baseline"
			out.Branches = append(out.Branches, m)
			continue
		case b.Whole:
			m.On = changes.First(b.On).Commit
			m.Why = fmt.Sprintf("applies only on top of #%d and all before it, so it stands on their commit", b.On)
		case b.On != 0:
			m.On = names[b.On]
			m.Why = fmt.Sprintf("applies only on top of #%d, so it is stacked on that branch", b.On)
		}
		parent := m.On
		if tip, ok := tips[b.On]; ok && !b.Whole {
			parent = tip
		}
		commit, err := repo.CommitTrial(ctx, parent, parent, b.Program.Source, finalMessage(changes, b, about), changes.First(b.ID).Trial.StartedAt)
		if err != nil {
			return out, err
		}
		m.State, m.Commit = "made", commit
		if tip, ok := have[b.Name]; ok {
			m.State, m.Commit = "there", tip
			same, err := repo.SameFile(ctx, tip, commit, "train.py")
			if err != nil {
				return out, err
			}
			if before, err := repo.Parent(ctx, tip); err != nil {
				return out, err
			} else if before != parent || !same {
				m.State = "left"
			}
		} else if err := repo.CreateBranch(ctx, b.Name, commit); err != nil {
			return out, err
		}
		tips[b.ID], names[b.ID] = m.Commit, b.Name
		if m.State == "left" {
			tips[b.ID] = commit
		}
		out.Branches = append(out.Branches, m)
	}
	return out, nil
}

// finalMessage is the message of a branch's commit.
func finalMessage(changes *change.Study, b change.Branch, about journal.Study) string {
	var body strings.Builder
	bpb, runs := b.Score()
	fmt.Fprintf(&body, "val_bpb %.6f, %s", bpb, meanOf(runs))
	if v := search.Compare(changes.Done, b.ID, b.From); !math.IsNaN(v.Gain) {
		fmt.Fprintf(&body, "; gain over candidate %d: %s", b.From, versusWords(v))
	}
	fmt.Fprintf(&body, "\nkeep: %s\n\nCandidate %d of study %s, by strategy %s; its commit there is %.12s.\n", b.Reason, b.ID, about.Tag, b.Strategy, changes.First(b.ID).Commit)
	switch {
	case b.Whole:
		fmt.Fprintf(&body, "It does not apply without candidate %d and all before that, so it stands on them.", b.On)
	case b.On != 0:
		fmt.Fprintf(&body, "It does not apply without candidate %d, so it is stacked on that. ", b.On)
	}
	if b.From != b.On && b.From != changes.Baseline.ID {
		fmt.Fprintf(&body, "It was measured on top of candidate %d; by itself it has not been run.", b.From)
	}
	return lineage.Message(b.Change, body.String())
}

// versusWords are a gain with its interval, and whether it is confirmed.
func versusWords(v search.Versus) string {
	return strings.TrimSuffix(fmt.Sprintf("%.6f ± %.6f, %s", v.Gain, v.Interval, v.Claim), ", ")
}

func (g *globals) printFinalized(w io.Writer, f finalized) {
	if len(f.Branches) == 0 {
		fmt.Fprintln(w, "no change was kept: the baseline is the champion")
		return
	}
	line := labelled(w, 5)
	fresh := false
	for _, m := range f.Branches {
		if m.State == "empty" {
			line(fmt.Sprintf("#%d", m.ID), "no branch: %s (%s)", m.Why, foreign(m.Change))
			continue
		}
		words := m.Branch
		switch m.State {
		case "there":
			words += ", which was there"
		case "left":
			words += fmt.Sprintf(", which somebody has changed and stays as it is: `git -C %s branch -m %s NAME` and finalize again make it anew", lineage.Quote(f.Workspace), m.Branch)
		default:
			fresh = true
		}
		line(fmt.Sprintf("#%d", m.ID), "%s", words)
		if m.Why != "" {
			line("", "%s", m.Why)
		}
	}
	if !fresh {
		fmt.Fprintln(w, "nothing is new")
	}
	tag := strings.SplitN(f.Branches[len(f.Branches)-1].Branch, "/", 3)
	if len(tag) == 3 {
		fmt.Fprintf(w, "next: git -C %s log --stat --reverse --branches=%s --not %.12s\n", lineage.Quote(f.Workspace), lineage.Quote("final/"+tag[1]+"/*"), f.Baseline)
	}
}
