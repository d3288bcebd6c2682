package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/study"
	"autoresearchd/daemon/trainer"
	"autoresearchd/daemon/writable"
)

// bundleRoom is what a trial writes beside its log: sources, the journal's
// pages, git's objects.
const bundleRoom = 16 << 20

// proveState shows by trying that the state directory, which is there, can keep
// trials, and that the disks have room for one.
func proveState(c *config.Config, repo *lineage.Repo) error {
	state := c.Study.State
	for _, dir := range []string{state, filepath.Join(state, "trials"), filepath.Join(state, "programs")} {
		if _, err := os.Stat(dir); err != nil && dir != state {
			continue // to be made
		}
		if err := writable.Dir(dir); err != nil {
			return err
		}
	}
	if err := writable.Files(state); err != nil {
		return err
	}
	return room(c, repo)
}

// room looks at each disk that a trial writes to. repo may be nil.
func room(c *config.Config, repo *lineage.Repo) error {
	needs := map[string]int64{c.Study.State: int64(c.Trial.LogLimit) + bundleRoom}
	if repo != nil {
		needs[repo.GitDir()] = bundleRoom
	}
	if cache, err := c.CacheDir(); err == nil && cache != "" {
		needs[cache] = bundleRoom
	}
	for path, need := range needs {
		if err := writable.Room(writable.Existing(path), need); err != nil {
			return err
		}
	}
	return nil
}

// foresee is what the start of run will find in the workspace's repository; it
// writes nothing that stays. It reads the journal beside a running daemon.
func foresee(ctx context.Context, c *config.Config, repo *lineage.Repo, prove bool) (study.Plan, error) {
	var past study.Known
	r, err := journal.OpenReader(c.Study.State)
	switch {
	case err == nil:
		defer r.Close()
		past = r
	case !errors.Is(err, journal.ErrNoStudy):
		return study.Plan{}, err
	}
	plan, err := study.Foresee(ctx, c, repo, past, time.Now())
	if err == nil && prove {
		err = plan.Prove(ctx, repo)
	}
	return plan, err
}

// beside compares what trials get with what stands in the work tree.
func beside(ctx context.Context, c *config.Config, repo *lineage.Repo, plan study.Plan) ([]string, error) {
	python, err := basePython()
	if err != nil {
		return nil, err
	}
	p, err := trainer.NewProcess(trainer.Options{Python: python, Owner: "autoresearchd:doctor"})
	if err != nil {
		return nil, err
	}
	defer p.Close()
	cache, err := c.GivenCache()
	if err != nil {
		return nil, err
	}
	return study.Beside(ctx, repo, p.Inspect, plan.Study.BaseCommit, cache)
}
