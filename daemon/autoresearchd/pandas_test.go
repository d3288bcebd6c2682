package main

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

// analysis reads results.tsv in the way of upstream's notebook: tabs, the
// status in capitals, crashes left out, the first row as the baseline.
const analysis = `
import json, sys
import pandas as pd
frame = pd.read_csv(sys.argv[1], sep="\t")
columns = list(frame.columns)
frame["val_bpb"] = pd.to_numeric(frame["val_bpb"], errors="coerce")
frame["memory_gb"] = pd.to_numeric(frame["memory_gb"], errors="coerce")
frame["status"] = frame["status"].str.strip().str.upper()
counts = frame["status"].value_counts().to_dict()
valid = frame[frame["status"] != "CRASH"].reset_index(drop=True)
kept = valid[valid["status"] == "KEEP"]
print(json.dumps({
    "columns": columns, "rows": len(frame), "counts": counts, "missing": int(frame.isna().sum().sum()),
    "baseline": valid.loc[0, "val_bpb"], "first": valid.loc[0, "description"],
    "best": kept["val_bpb"].min(), "falling": bool((kept["val_bpb"].diff().dropna() < 0).all()),
    "descriptions": list(frame["description"]), "commit": list(frame["commit"].str.len()),
}))
`

func TestPandas(t *testing.T) {
	t.Parallel()
	s := night(t)
	out, err := exec.Command("../../scripts/pandas.sh").Output()
	must(t, err)
	got, err := exec.Command(strings.TrimSpace(string(out)), "-c", analysis, s.path("state/results.tsv")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, got, s.read("state/results.tsv"))
	}
	var read struct {
		Columns      []string
		Rows         int
		Counts       map[string]int
		Missing      int
		Baseline     float64
		First        string
		Best         float64
		Falling      bool
		Descriptions []string
		Commit       []int
	}
	must(t, json.Unmarshal(got, &read))
	if strings.Join(read.Columns, " ") != "commit val_bpb memory_gb status description" || read.Rows != 4 || read.Missing != 0 {
		t.Errorf("read %+v", read)
	}
	// What was cancelled is not decided: it has no row.
	if read.Counts["KEEP"] != 2 || read.Counts["DISCARD"] != 1 || read.Counts["CRASH"] != 1 {
		t.Errorf("counted %v", read.Counts)
	}
	if read.Baseline != 2.03 || read.First != "baseline" || read.Best != 2.02 || !read.Falling {
		t.Errorf("read %+v", read)
	}
	for i, n := range read.Commit {
		if n != 7 {
			t.Errorf("row %d has a commit of %d characters", i, n)
		}
	}
	if read.Descriptions[2] != "suggested: DEPTH 4 -> 2" {
		t.Errorf("described %q", read.Descriptions)
	}
}
