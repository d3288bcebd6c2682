package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/study"
	"autoresearchd/daemon/trainer"
)

func (g *globals) importCommand() *cobra.Command {
	var tag, file, score string
	c := &cobra.Command{
		Use: "import DIR", Short: "import an upstream autoresearch study: its branch, commits and results.tsv", Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
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
				return usageError{fmt.Errorf("study.workspace is %s, but the study to import is in %s: set study.workspace to that folder, where the study will continue", c.Study.Workspace, dir)}
			}
			path, err := recordIn(dir, file)
			if err != nil {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return fmt.Errorf("read what was tried: %w", err)
			}
			record, err := lineage.ReadForeign(data, score)
			if err != nil {
				return fmt.Errorf("read %s: %w", path, err)
			}
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			repo, err := lineage.Open(ctx, dir)
			if err != nil {
				return err
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
			asked := tag != "" || c.Study.Tag != ""
			if tag == "" {
				if tag, err = tagOf(ctx, c, repo, j); err != nil {
					return err
				}
			}
			done, err := study.TakeOver(ctx, study.TakeOverOptions{Config: c, Journal: j, Repo: repo, Inspect: p.Inspect, Tag: tag, Asked: asked, Record: record})
			out := command.OutOrStdout()
			if err == nil {
				trials := fmt.Sprintf("%d trials", done.Trials)
				if done.Trials == 1 {
					trials = "1 trial"
				}
				fmt.Fprintf(out, "imported %s of study %s; the champion is %s with val_bpb %.6f: %s\n",
					trials, done.Tag, cmp.Or(done.Champion.Commit, "the baseline"), done.Champion.ValBPB, lineage.Escape(done.Champion.Description))
			}
			for _, note := range done.Notes {
				fmt.Fprintln(out, "note:", lineage.Escape(note.String()))
			}
			for _, left := range done.Left {
				fmt.Fprintln(out, "left out:", lineage.Escape(left.String()))
			}
			if err != nil {
				return fmt.Errorf("import %s: %w", path, err)
			}
			g.next(out, "run")
			return nil
		}}
	c.Flags().StringVar(&tag, "tag", "", "the study's tag; its branch is autoresearch/`T` (default study.tag, else the only such branch, else the one checked out)")
	c.Flags().StringVar(&file, "results", "", "import the record in `FILE` (default DIR/results.tsv, else DIR/results.csv)")
	c.Flags().StringVar(&score, "score", "", "`COLUMN` that holds val_bpb (default: the one of that name)")
	return c
}

// recordIn is the record to read: the one that is named, else the workspace's.
func recordIn(dir, file string) (string, error) {
	if file != "" {
		return file, nil
	}
	for _, name := range []string{"results.tsv", "results.csv"} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("read what was tried: %s has no results.tsv: name the record with --results FILE", dir)
}

// tagOf chooses a tag that nobody named: the study's that is there already, the
// one branch autoresearch/… that there is, the branch that is checked out, today's.
func tagOf(ctx context.Context, c *config.Config, repo *lineage.Repo, j *journal.Journal) (string, error) {
	if c.Study.Tag != "" {
		return c.Study.Tag, nil
	}
	if study, ok, err := j.Study(); err != nil || ok {
		return study.Tag, err
	}
	tags, err := repo.Tags(ctx)
	if err != nil {
		return "", err
	}
	branch, err := repo.Branch(ctx)
	if err != nil {
		return "", err
	}
	tag := path.Base(branch)
	switch {
	case len(tags) == 1:
		return tags[0], nil
	case slices.Contains(tags, tag) && strings.HasPrefix(branch, "autoresearch/"):
		return tag, nil
	case len(tags) > 1:
		return "", usageError{fmt.Errorf("%s has the studies %s: choose one with --tag", repo.Workspace(), strings.Join(tags, ", "))}
	case branch == "" || tag == "main" || tag == "master" || lineage.CheckTag(tag) != nil:
		return c.Tag(time.Now()), nil
	}
	return tag, nil
}
