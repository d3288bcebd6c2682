package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/daemon/trainer"
)

func (g *globals) importCommand() *cobra.Command {
	var tag string
	c := &cobra.Command{
		Use: "import DIR", Short: "take over a study that was run the upstream way: branch, commits and results.tsv", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.load(nil)
			if err != nil {
				return err
			}
			dir, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			if dir, err = filepath.EvalSymlinks(dir); err != nil {
				return err
			}
			if own, err := filepath.EvalSymlinks(c.Study.Workspace); err != nil || own != dir {
				return usageError{fmt.Errorf("study.workspace is %s, and the study to take over lies in %s: set study.workspace to it, since the loop goes on there", c.Study.Workspace, dir)}
			}
			file, err := os.Open(filepath.Join(dir, "results.tsv"))
			if err != nil {
				return fmt.Errorf("read what was tried: %w", err)
			}
			defer file.Close()
			rows, err := lineage.ParseResults(file)
			if err != nil {
				return fmt.Errorf("%s: %w", file.Name(), err)
			}
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			repo, err := lineage.Open(ctx, dir)
			if err != nil {
				return err
			}
			if tag == "" {
				if tag = c.Study.Tag; tag == "" {
					if tag, err = onlyTag(ctx, repo); err != nil {
						return err
					}
				}
			}
			python, err := basePython()
			if err != nil {
				return err
			}
			p, err := trainer.NewProcess(trainer.Options{Python: python, Owner: "autoresearchd:import"})
			if err != nil {
				return err
			}
			defer p.Close()
			j, err := journal.Open(c.Study.State)
			if err != nil {
				return err
			}
			defer j.Close()
			done, err := supervisor.TakeOver(ctx, supervisor.TakeOverOptions{Config: c, Journal: j, Repo: repo, Inspect: p.Inspect, Tag: tag, Rows: rows})
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "took over %d trials of study %s; the champion is %s with val_bpb %.6f: %s\n",
				done.Trials, tag, done.Champion.Commit, done.Champion.ValBPB, lineage.Escape(done.Champion.Description))
			for _, left := range done.Left {
				fmt.Fprintln(out, "left out:", lineage.Escape(left))
			}
			if path, err := g.configPath(); err == nil {
				fmt.Fprintf(out, "next: autoresearchd --config %s run\n", path)
			}
			return nil
		}}
	c.Flags().StringVar(&tag, "tag", "", "the study's branch is autoresearch/`T` (default study.tag, else the only such branch)")
	return c
}

// onlyTag is the tag of the one branch autoresearch/… that there is.
func onlyTag(ctx context.Context, repo *lineage.Repo) (string, error) {
	tags, err := repo.Tags(ctx)
	if err != nil {
		return "", err
	}
	switch len(tags) {
	case 0:
		return "", usageError{fmt.Errorf("%s has no branch autoresearch/…: name the study's with --tag", repo.Workspace())}
	case 1:
		return tags[0], nil
	}
	return "", usageError{fmt.Errorf("%s has the studies %s: choose one with --tag", repo.Workspace(), strings.Join(tags, ", "))}
}
