package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"image/png"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// readers opens an export with the tools that it is made for.
const readers = `
import json, sys
from mlflow.store.tracking.file_store import FileStore
from mlflow.entities import ViewType
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
store = FileStore(sys.argv[1])
(experiment,) = [e for e in store.search_experiments(view_type=ViewType.ALL) if e.name.startswith("autoresearch/")]
runs = store.search_runs([experiment.experiment_id], "", ViewType.ALL)
best = min((r for r in runs if "val_bpb" in r.data.metrics), key=lambda r: r.data.metrics["val_bpb"])
events = EventMultiplexer().AddRunsFromDirectory(sys.argv[2])
events.Reload()
print(json.dumps({
    "experiment": experiment.name, "states": sorted(r.info.status for r in runs), "best": best.info.run_name, "score": best.data.metrics["val_bpb"],
    "params": best.data.params, "description": best.data.tags["mlflow.note.content"],
    "loss": [m.value for m in store.get_metric_history(best.info.run_id, "train_loss")],
    "runs": sorted(events.Runs()), "scores": [[e.step, round(e.value, 5)] for e in events.Scalars("study", "val_bpb")],
    "steps": [e.step for e in events.Scalars("candidate-0003/trial-0003", "train_loss")],
    "of": [best.data.tags["candidate"], best.data.tags["verdict"], best.data.metrics["candidate_val_bpb"]],
    "kept": [[e.step, round(e.value, 5)] for e in events.Scalars("study", "candidates/kept")],
    "level": [round(e.value, 5) for e in events.Scalars("study", "best_val_bpb")],
}))
`

func TestExport(t *testing.T) {
	t.Parallel()
	s := night(t)
	rows, err := csv.NewReader(strings.NewReader(s.ok("export"))).ReadAll()
	must(t, err)
	if len(rows) != 6 || rows[0][0] != "id" || rows[3][len(rows[3])-1] != "0.05" || rows[0][len(rows[0])-1] != "constant_MATRIX_LR" {
		t.Errorf("rows %q", rows)
	}
	if path := s.path("night.csv"); s.ok("export", "--format", "csv", "-o", path) != path+"\n" || s.read("night.csv") != s.ok("export") {
		t.Error("a file has other rows than standard output")
	}
	lines := strings.Split(strings.TrimSpace(s.ok("export", "--format", "jsonl")), "\n")
	var third struct {
		ID     int64
		ValBPB float64 `json:"val_bpb"`
		Of     struct {
			Verdict string
			ValBPB  float64 `json:"val_bpb"`
			Runs    []int64
		}
		All   map[string]any `json:"all_constants"`
		Curve []struct{ Loss float64 }
	}
	must(t, json.Unmarshal([]byte(lines[2]), &third))
	if len(lines) != 5 || third.ID != 3 || third.ValBPB != 2.02 || third.Of.Verdict != "kept" || third.Of.ValBPB != 2.02 || len(third.Of.Runs) != 1 || third.All["MATRIX_LR"] != 0.05 || third.All["DEPTH"] != 4.0 || len(third.Curve) == 0 || third.Curve[0].Loss != 2.5 {
		t.Errorf("lines %q", lines)
	}

	s.ok("export", "--format", "mlflow")
	s.ok("export", "--format", "tensorboard", "-o", s.path("tb"))
	var trace struct{ TraceEvents []struct{ Name, Cat string } }
	must(t, json.Unmarshal([]byte(s.ok("export", "--format", "chrome-trace")), &trace))
	spans := map[string]int{}
	for _, e := range trace.TraceEvents {
		spans[e.Cat+" "+e.Name]++
	}
	if spans["trial trial 3"] != 1 || spans["phase ask"] == 0 || spans["phase train"] == 0 {
		t.Errorf("the trace has %v", spans)
	}
	out, err := exec.Command("../../scripts/readers.sh").Output()
	must(t, err)
	cmd := exec.Command(strings.TrimSpace(string(out)), "-c", readers, s.path("state/mlruns"), s.path("tb"))
	cmd.Env = append(os.Environ(), "MLFLOW_ALLOW_FILE_STORE=true", "TF_CPP_MIN_LOG_LEVEL=3")
	var said, fault bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &fault
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, fault.String())
	}
	var read struct {
		Experiment, Best, Description string
		States, Runs                  []string
		Score                         float64
		Params                        map[string]string
		Loss                          []float64
		Scores                        [][2]float64
		Steps                         []int
		Of                            []any
		Kept                          [][2]float64
		Level                         []float64
	}
	must(t, json.Unmarshal(said.Bytes(), &read))
	if read.Experiment != "autoresearch/test" || strings.Join(read.States, " ") != "FAILED FINISHED FINISHED FINISHED KILLED" || read.Best != "trial 3" || read.Score != 2.02 ||
		read.Params["MATRIX_LR"] != "0.05" || read.Description != "suggested: MATRIX_LR 0.04 -> 0.05" || len(read.Loss) != len(third.Curve) {
		t.Errorf("MLflow reads %s", said.String())
	}
	if strings.Join(read.Runs, " ") != "candidate-0001/trial-0001 candidate-0003/trial-0003 study" || len(read.Scores) != 3 || read.Scores[1] != [2]float64{3, 2.02} || len(read.Steps) != len(third.Curve) {
		t.Errorf("TensorBoard reads %s", said.String())
	}
	if fmt.Sprint(read.Of, read.Kept, read.Level) != "[3 kept 2.02] [[1 2.03] [3 2.02]] [2.03 2.03 2.02 2.02 2.02]" {
		t.Errorf("of candidates they read %v", said.String())
	}

	for want, args := range map[string][]string{
		`--format "xlsx": write one of csv, jsonl, mlflow, tensorboard, chrome-trace`: {"export", "--format", "xlsx"},
		"writes a folder: name it with -o":                                            {"export", "--format", "mlflow", "-o", "-"},
		`--by "weeks": write trials or hours`:                                         {"plot", "--by", "weeks"},
		"pictures are PNG or SVG":                                                     {"plot", "-o", "p.gif"},
	} {
		if _, fault, code := s.cli(args...); code != 2 || !strings.Contains(fault, want) {
			t.Errorf("%q ended with %d: %s", args, code, fault)
		}
	}

	s.ok("plot", "--by", "hours", "-o", s.path("p.svg"))
	d := xml.NewDecoder(strings.NewReader(s.read("p.svg")))
	for err = nil; err == nil; {
		_, err = d.Token()
	}
	if err != io.EOF || !strings.Contains(s.read("p.svg"), "since the study began") {
		t.Errorf("the picture: %v", err)
	}
	if _, err := png.Decode(strings.NewReader(s.ok("plot", "-o", "-"))); err != nil {
		t.Error(err)
	}

	if got := s.ok("report"); got != s.path("state/report.html")+"\n" {
		t.Errorf("report says %q", got)
	}
	page := s.read("state/report.html")
	for _, want := range []string{"Study test", "val_bpb 2.020000", "reproduce 3", "suggested: MATRIX_LR 0.04", "layers &#34;fall&#34; # apart", "<td class=\"words word\">0.05</td>"} {
		if !strings.Contains(page, want) {
			t.Errorf("the report does not say %q", want)
		}
	}
}
