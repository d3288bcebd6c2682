package export

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/record"
	"autoresearchd/search"
)

// Replay calls each with every trial in the order of decisions, with source and
// curve. journal.Reader has one.
type Replay func(each func(journal.Record) error) error

// MLflow writes the study as an experiment of an MLflow file store, the folder
// that is called mlruns by default, and each finished trial as a run of it, with
// its candidate's verdict and mean.
// Other experiments there stay; the same study written again replaces itself.
//
// The layout is that of MLflow 1 to 3. MLflow 3.17 opens it with
// MLFLOW_ALLOW_FILE_STORE=true, and `mlflow migrate-filestore` takes it into a
// database.
func MLflow(dir string, study journal.Study, candidates []record.Candidate, replay Replay) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %s %d", study.Tag, study.Workspace, study.StartedAt.UnixNano())
	m := &mlflow{study: study, of: byRun(candidates), experiment: strconv.FormatUint(h.Sum64()>>4, 10)}
	m.dir = filepath.Join(dir, m.experiment)
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		return fmt.Errorf("write for MLflow: %w", err)
	}
	began := study.StartedAt.UnixMilli()
	err = m.yaml(filepath.Join(m.dir, "meta.yaml"), [][2]any{
		{"artifact_location", fileURL(m.dir)}, {"creation_time", began}, {"experiment_id", m.experiment},
		{"last_update_time", began}, {"lifecycle_stage", "active"}, {"name", "autoresearch/" + study.Tag},
	})
	if err == nil {
		err = replay(m.run)
	}
	if err != nil {
		return fmt.Errorf("write for MLflow: %w", err)
	}
	return nil
}

type mlflow struct {
	study      journal.Study
	of         func(journal.Record) record.Candidate
	dir        string // of the experiment, absolute
	experiment string
}

// MLflow's numbers of the states of a run.
const (
	mlflowFinished = 3
	mlflowFailed   = 4
	mlflowKilled   = 5
)

func (m *mlflow) run(r journal.Record) error {
	t, o := r.Trial, r.Outcome
	if o.Status == "" {
		return nil
	}
	sum := sha256.Sum256([]byte(m.experiment + "/" + strconv.FormatInt(t.ID, 10)))
	id := fmt.Sprintf("%x", sum[:16])
	dir := filepath.Join(m.dir, id)
	for _, part := range []string{"params", "metrics", "tags", "artifacts"} {
		if err := os.MkdirAll(filepath.Join(dir, part), 0o755); err != nil {
			return err
		}
	}
	status := mlflowFinished
	switch o.Status {
	case search.Completed:
	case search.Interrupted, search.Pruned:
		status = mlflowKilled
	default:
		status = mlflowFailed
	}
	name := fmt.Sprintf("trial %d", t.ID)
	end := ended(r).UnixMilli()
	err := m.yaml(filepath.Join(dir, "meta.yaml"), [][2]any{
		{"artifact_uri", fileURL(filepath.Join(dir, "artifacts"))}, {"end_time", end}, {"entry_point_name", ""},
		{"experiment_id", m.experiment}, {"lifecycle_stage", "active"}, {"run_id", id}, {"run_name", name}, {"run_uuid", id},
		{"source_name", "train.py"}, {"source_type", 4}, {"source_version", r.Commit}, {"start_time", t.StartedAt.UnixMilli()},
		{"status", status}, {"tags", []string{}}, {"user_id", "autoresearchd"},
	})
	if err != nil {
		return err
	}
	put := func(part, name, text string) {
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, part, name), []byte(text), 0o644)
		}
	}
	for _, c := range t.Constants {
		if safe(c.Name) {
			put("params", c.Name, clip(c.Value.Literal(), 6000))
		}
	}
	put("params", "seed", strconv.FormatUint(t.Seed, 10))
	c := m.of(r)
	for name, text := range map[string]string{
		"mlflow.runName": name, "mlflow.note.content": t.Proposal.Description, "mlflow.source.git.commit": r.Commit, "mlflow.source.name": "train.py", "mlflow.source.type": "LOCAL",
		"candidate": strconv.FormatInt(t.Candidate, 10), "verdict": string(c.Verdict), "strategy": t.Proposal.Strategy, "parent": strconv.FormatInt(t.Proposal.Parent, 10), "device": t.Device, "class": t.Kind,
		"status": string(o.Status), "decision": string(r.Decision.Verdict), "reason": r.Decision.Reason,
	} {
		put("tags", name, clip(lineage.Escape(text), 5000))
	}
	metric := func(name string, value float64) { put("metrics", name, fmt.Sprintf("%d %s 0\n", end, number(value))) }
	if bpb, ok := r.Score(); ok {
		metric("val_bpb", bpb)
	}
	if c.ValBPB != nil {
		metric("candidate_val_bpb", *c.ValBPB)
		metric("candidate_interval", c.Interval)
	}
	metric("training_seconds", o.TrainingSeconds)
	metric("wall_seconds", o.WallSeconds)
	metric("num_steps", float64(o.Steps))
	metric("tokens", float64(o.Tokens))
	if o.PeakVRAM > 0 {
		metric("peak_vram_bytes", float64(o.PeakVRAM))
	}
	if len(o.Curve) > 0 {
		var lines strings.Builder
		for _, p := range o.Curve {
			fmt.Fprintf(&lines, "%d %s %d\n", t.StartedAt.UnixMilli()+int64(p.Seconds*1000), number(p.Loss), p.Step)
		}
		put("metrics", "train_loss", lines.String())
	}
	put("artifacts", "train.py", string(t.Source))
	return err
}

// yaml writes a mapping; JSON's scalars are YAML's.
func (m *mlflow) yaml(path string, pairs [][2]any) error {
	return File(path, func(w io.Writer) error {
		for _, p := range pairs {
			value, err := json.Marshal(p[1])
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(w, "%s: %s\n", p[0], value); err != nil {
				return err
			}
		}
		return nil
	})
}

// safe reports whether a constant's name can be a file's. Python's identifiers
// can; what is not one came from a damaged record.
func safe(name string) bool {
	return name != "" && len(name) < 200 && strings.IndexFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_')
	}) < 0
}

func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit-3], "") + "…"
}

func fileURL(path string) string { return (&url.URL{Scheme: "file", Path: path}).String() }
