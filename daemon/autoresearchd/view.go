package main

import (
	"context"

	"autoresearchd/daemon/httpd/api"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/modelserver"
	"autoresearchd/daemon/study"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/metrics/gpu"
)

// newAPI makes what shows the study over HTTP. r is a reader of its own, beside
// the loop's journal, so that no request holds up a write.
func newAPI(state string, s *supervisor.Supervisor, r *journal.Reader, repo *lineage.Repo, gpus gpu.GPUs) (*api.API, error) {
	about, _, err := r.Study()
	if err != nil {
		return nil, err
	}
	return api.New(api.Options{
		Loop: s, Journal: r, GPUs: gpus, Version: version,
		Folder: func(id int64) string { return study.Folder(state, id) },
		Start:  func(ctx context.Context) ([]byte, error) { return repo.ReadFile(ctx, about.BaseCommit, "train.py") },
		Spent:  func() (modelserver.Sums, error) { return modelserver.Read(state) },
	}), nil
}
