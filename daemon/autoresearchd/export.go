package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"autoresearchd/daemon/export"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/modelserver"
	"autoresearchd/daemon/plot"
	"autoresearchd/daemon/record"
	"autoresearchd/daemon/report"
	"autoresearchd/daemon/study"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/daemon/timeline"
	"autoresearchd/search"
)

// standardOut is the name of a file that stands for standard output.
const standardOut = "-"

// save writes a file, or standard output, and names the file.
func save(cmd *cobra.Command, path string, write func(io.Writer) error) error {
	if path == standardOut {
		return write(cmd.OutOrStdout())
	}
	if err := export.File(path, write); err != nil {
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout(), path)
	return nil
}

func (g *globals) plotCommand() *cobra.Command {
	var out, by string
	c := &cobra.Command{Use: "plot", Short: "draw the staircase of best scores as PNG or SVG", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			axis := plot.Axis(by)
			if axis != plot.Trials && axis != plot.Hours {
				return usageError{fmt.Errorf("--by %q: write trials or hours", by)}
			}
			r, state, err := g.reader()
			if err != nil {
				return err
			}
			defer r.Close()
			if out == "" {
				out = filepath.Join(state, "progress.png")
			}
			as := plot.Style{Format: plot.PNG, By: axis}
			if out != standardOut {
				if as.Format, err = plot.FormatOf(out); err != nil {
					return usageError{err}
				}
			}
			study, _, err := r.Study()
			if err != nil {
				return err
			}
			all, err := r.Trials()
			if err != nil {
				return err
			}
			return save(cmd, out, func(w io.Writer) error { return plot.Staircase(w, report.Picture(study, all), as) })
		}}
	c.Flags().StringVarP(&out, "output", "o", "", "`FILE`.png or FILE.svg (default STATE/progress.png); - for a PNG on standard output")
	c.Flags().StringVar(&by, "by", string(plot.Trials), "x axis: `trials|hours`")
	completes(c, "by", string(plot.Trials), string(plot.Hours))
	return c
}

func (g *globals) reportCommand() *cobra.Command {
	var out string
	c := &cobra.Command{Use: "report", Short: "write a self-contained HTML report", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, state, err := g.reader()
			if err != nil {
				return err
			}
			defer r.Close()
			past, err := supervisor.Past(r)
			if err != nil {
				return err
			}
			spent, err := modelserver.Read(state)
			if err != nil {
				return err
			}
			if out == "" {
				out = filepath.Join(state, "report.html")
			}
			o := report.Options{
				Journal: r, Folder: func(id int64) string { return study.Folder(state, id) },
				Start: func(ctx context.Context, study journal.Study) ([]byte, error) {
					return g.sourceAt(ctx, study, study.BaseCommit)
				},
				Claim: past.Claim, Card: past.Card.Words, Rate: past.Rate, Spent: spent, Command: g.line(state), Version: version, Now: time.Now(),
			}
			return save(cmd, out, func(w io.Writer) error { return report.Write(cmd.Context(), w, o) })
		}}
	c.Flags().StringVarP(&out, "output", "o", "", "`FILE` (default STATE/report.html); - for standard output")
	return c
}

// line is how this program is called for the same study.
func (g *globals) line(state string) string {
	if path, err := g.configPath(); err == nil {
		if path, err = filepath.Abs(path); err == nil && path != systemConfig {
			return "autoresearchd --config " + lineage.Quote(path)
		}
		return "autoresearchd"
	}
	return "autoresearchd --state " + lineage.Quote(state)
}

// workspace is a study's repository: where the journal says, or, where that is
// gone, where the configuration does, since a study may have moved.
func (g *globals) workspace(ctx context.Context, study journal.Study) (*lineage.Repo, error) {
	repo, err := lineage.Open(ctx, study.Workspace)
	if err == nil {
		return repo, nil
	}
	if c, e := g.load(nil); e == nil && c.Study.Workspace != study.Workspace {
		if moved, e := lineage.Open(ctx, c.Study.Workspace); e == nil {
			return moved, nil
		}
	}
	return nil, err
}

// sourceAt is the train.py of a commit of the study's workspace.
func (g *globals) sourceAt(ctx context.Context, study journal.Study, commit string) ([]byte, error) {
	repo, err := g.workspace(ctx, study)
	if err != nil {
		return nil, err
	}
	return repo.ReadFile(ctx, commit, "train.py")
}

func (g *globals) exportCommand() *cobra.Command {
	var out, format string
	formats := []string{"csv", "jsonl", "mlflow", "tensorboard", "chrome-trace"}
	c := &cobra.Command{Use: "export", Short: "export every run as CSV, JSON Lines, MLflow, TensorBoard or a trace", Args: cobra.NoArgs,
		Long: `Export every run for other tools:

  csv           a row for each run, with its candidate's verdict and mean, and
                every constant in a column of its own
  jsonl         an object a line, as in "trials --runs --json", with all
                constants, the training curve, and the candidate as "of"
  mlflow        an MLflow file store (a folder): each run with its parameters,
                metrics, train.py, and its candidate's verdict and mean. MLflow
                3.17 opens it with MLFLOW_ALLOW_FILE_STORE=true
  tensorboard   event files (a folder): scores of runs and candidates, and the
                training loss of what was kept
  chrome-trace  what each seat did when, and which run waited for which, for
                chrome://tracing or Perfetto`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, state, err := g.reader()
			if err != nil {
				return err
			}
			defer r.Close()
			study, _, err := r.Study()
			if err != nil {
				return err
			}
			all, err := r.Trials()
			if err != nil {
				return err
			}
			candidates := record.Candidates(all)
			folder := map[string]func(string, journal.Study, []record.Candidate, export.Replay) error{"mlflow": export.MLflow, "tensorboard": export.TensorBoard}[format]
			switch {
			case format == "csv":
				return save(cmd, or(out, standardOut), func(w io.Writer) error { return export.CSV(w, all) })
			case format == "jsonl":
				of := map[int64]record.Candidate{}
				for _, c := range candidates {
					of[c.ID] = c
				}
				return save(cmd, or(out, standardOut), func(w io.Writer) error {
					e := json.NewEncoder(w)
					return r.Replay(func(rec journal.Record) error {
						if rec.Outcome.Status == "" {
							return nil
						}
						return e.Encode(exportedJSON(rec, of[rec.Trial.Candidate]))
					})
				})
			case format == "chrome-trace":
				all, err := r.Trials()
				if err != nil {
					return err
				}
				return save(cmd, or(out, standardOut), func(w io.Writer) error { return timeline.Chrome(w, timeline.OfRecords(all)) })
			case folder == nil:
				return usageError{fmt.Errorf("--format %q: write one of %s", format, strings.Join(formats, ", "))}
			case out == standardOut:
				return usageError{fmt.Errorf("--format %s writes a folder: name it with -o", format)}
			}
			out = or(out, filepath.Join(state, map[string]string{"mlflow": "mlruns", "tensorboard": "tensorboard"}[format]))
			if err := folder(out, study, candidates, r.Replay); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), out)
			return nil
		}}
	c.Flags().StringVar(&format, "format", "csv", "`"+strings.Join(formats, "|")+"`")
	completes(c, "format", formats...)
	c.Flags().StringVarP(&out, "output", "o", "", "`PATH` (default standard output; STATE/mlruns or STATE/tensorboard for those)")
	return c
}

// completes gives the shell's completion the words that a flag can have.
func completes(c *cobra.Command, flag string, words ...string) {
	_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)) // fails for a flag that is not there
}

func or(s, otherwise string) string {
	if s != "" {
		return s
	}
	return otherwise
}

// exported is a line of `export --format jsonl`.
type exported struct {
	shown
	All   map[string]search.Value `json:"all_constants"`
	Curve []search.Point          `json:"curve,omitempty"`
}

func exportedJSON(r journal.Record, of record.Candidate) exported {
	e := exported{shown: shown{record.New(r), of}, All: map[string]search.Value{}}
	for _, p := range r.Outcome.Curve {
		if !math.IsNaN(p.Loss) && !math.IsInf(p.Loss, 0) { // JSON has no word for these
			e.Curve = append(e.Curve, p)
		}
	}
	for _, c := range r.Trial.Constants {
		e.All[c.Name] = c.Value
	}
	return e
}
