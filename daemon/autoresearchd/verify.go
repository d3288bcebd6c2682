package main

import (
	"context"
	"fmt"
	"io"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/study"
)

func (g *globals) verifyCommand() *cobra.Command {
	var workspace string
	c := &cobra.Command{Use: "verify", Short: "check that journal, git, results.tsv and bundles agree", Args: cobra.NoArgs,
		Long: "Checks that the parts of a record agree: the journal with itself, git's commits, refs and branch with the journal, results.tsv, and each trial's bundle. " +
			"It names all disagreements at once, each with what to do, and changes nothing. A daemon may run meanwhile. It ends with 0 where all agree and with 1 where not.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			state, err := g.stateDir()
			if err != nil {
				return err
			}
			p, err := study.Verify(ctx, state, g.repository(workspace))
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			if g.json {
				err = printJSON(w, p)
			} else {
				printProof(w, p)
			}
			if err == nil && len(p.Disagreements) > 0 {
				err = exitError(1)
			}
			return err
		}}
	c.Flags().StringVar(&workspace, "workspace", "", "the study's repository: `DIR` (default: the one in the journal, else [study] workspace)")
	return g.reads(c)
}

// repository finds a study's repository, whatever its work tree holds: the one
// that is named, else where the journal has it, else the configuration's.
func (g *globals) repository(named string) func(context.Context, journal.Study) (*lineage.Repo, error) {
	return func(ctx context.Context, st journal.Study) (*lineage.Repo, error) {
		if named != "" {
			return lineage.Look(ctx, named)
		}
		repo, err := lineage.Look(ctx, st.Workspace)
		if err == nil {
			return repo, nil
		}
		if c, e := g.load(nil); e == nil && c.Study.Workspace != st.Workspace {
			if moved, e := lineage.Look(ctx, c.Study.Workspace); e == nil {
				return moved, nil
			}
		}
		return nil, err
	}
}

func printProof(w io.Writer, p study.Proof) {
	line := labelled(w, 11)
	line("study", "%s (%s), journal in %s", p.Tag, p.Workspace, p.State)
	for _, c := range p.Checks {
		words := c.Looked
		if c.Faults > 0 {
			words = disagree(c.Faults)
		}
		line(c.Name, "%s", words)
	}
	for _, d := range p.Disagreements {
		fmt.Fprintln(w)
		line(d.Check, "%s: %s", d.Where, d.What)
		line("  to do", "%s", d.Do)
	}
	for _, note := range p.Notes {
		line("note", "%s", note)
	}
	if len(p.Disagreements) == 0 {
		line("verdict", "all agree")
		return
	}
	line("verdict", "%s", disagree(len(p.Disagreements)))
}

func disagree(n int) string {
	if n == 1 {
		return "1 disagreement"
	}
	return fmt.Sprintf("%d disagreements", n)
}
