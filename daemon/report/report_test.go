package report

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/modelserver"
	"autoresearchd/search"
)

var out = flag.String("out", "", "folder that the pages are written into, to look at them")

var began = time.Date(2026, 11, 23, 21, 0, 0, 0, time.UTC)

// notes is a journal in memory.
type notes struct {
	study journal.Study
	all   []journal.Record
}

func (r *notes) Study() (journal.Study, bool, error) { return r.study, r.study.Tag != "", nil }

func (r *notes) Trials() ([]journal.Record, error) {
	all := append([]journal.Record(nil), r.all...)
	for i := range all {
		all[i].Trial.Source, all[i].Outcome.Curve = nil, nil
	}
	return all, nil
}

func (r *notes) Trial(id int64) (journal.Record, error) { return r.all[id-1], nil }

func (r *notes) Source(id int64) ([]byte, error) { return r.all[id-1].Trial.Source, nil }

func (r *notes) Champion() (journal.Record, bool, error) {
	for i := len(r.all) - 1; i >= 0; i-- {
		if r.all[i].Decision.Verdict == search.Keep {
			return r.all[i], true, nil
		}
	}
	return journal.Record{}, false, nil
}

// studyOf is a study of n trials, each with something of its own.
func studyOf(n int, description func(i int) string) *notes {
	r := &notes{study: journal.Study{Tag: "nov23", Workspace: "/srv/my work", StartedAt: began, Seed: 42, Budget: search.Budget{Seconds: 300}}}
	best, champion := 2.0, int64(0)
	for i := range n {
		lr := 0.02 + 0.002*float64(i%17)
		var rec journal.Record
		rec.Commit = fmt.Sprintf("%040x", i+1)
		rec.Trial = search.Trial{
			ID: int64(i + 1), Seed: 42, Device: "cuda:0", StartedAt: began.Add(time.Duration(i) * 6 * time.Minute), Changed: []string{"MATRIX_LR"},
			Constants: []search.Constant{{Name: "MATRIX_LR", Value: search.FloatValue(lr)}, {Name: "DEPTH", Value: search.IntValue(int64(4 + i%3))}},
			Proposal:  search.Proposal{Strategy: []string{"tpe", "evolution", "llm"}[i%3], Description: description(i), Parent: champion},
			Source:    fmt.Appendf(nil, "import torch\n\nMATRIX_LR = %g\nDEPTH = %d\n\tprint('<b>')\n", lr, 4+i%3),
		}
		rec.Outcome = search.Outcome{Status: search.Completed, ValBPB: 1 + (lr-0.04)*(lr-0.04)*40 + 0.001*float64(i*13%7), WallSeconds: 340, TrainingSeconds: 300, Steps: 890, Tokens: 467e6, PeakVRAM: 47 << 30}
		for step := range 60 {
			rec.Outcome.Curve = append(rec.Outcome.Curve, search.Point{Step: 10 * step, Seconds: 5 * float64(step), Loss: 2.5 + 6/float64(step+1)})
		}
		rec.Decision = search.Decision{Verdict: search.Discard, Reason: "val_bpb is above the champion's"}
		switch {
		case i%9 == 5:
			rec.Outcome.Status, rec.Outcome.ValBPB, rec.Outcome.Detail = search.OutOfMemory, 0, "torch.OutOfMemoryError: <script>alert(1)</script>"
			rec.Decision = search.Decision{Verdict: search.Crash, Reason: "out of memory: " + rec.Outcome.Detail}
		case i == 0 || rec.Outcome.ValBPB < best:
			rec.Decision = search.Decision{Verdict: search.Keep, Reason: "it is the lowest"}
			best, champion = rec.Outcome.ValBPB, rec.Trial.ID
		}
		if i == 0 {
			rec.Trial.Proposal.Strategy, rec.Trial.Changed = "baseline", nil
		}
		r.all = append(r.all, rec)
	}
	return r
}

func options(t *testing.T, r *notes) Options {
	dir := t.TempDir()
	return Options{
		Journal: r, Folder: func(id int64) string { return filepath.Join(dir, fmt.Sprint(id)) }, Command: "autoresearchd --config '/srv/a b.toml'", Version: "test", Now: began.Add(12 * time.Hour),
		Start: func(context.Context, journal.Study) ([]byte, error) {
			return []byte("import torch\n\nMATRIX_LR = 0.04\n"), nil
		},
		Claim: &search.Claim{Words: "val_bpb 1.000400 ± 0.000300, the mean of 3 runs"}, Spent: modelserver.Sums{Dollars: 1.25, Requests: 40, PromptTokens: 9000, ReplyTokens: 800},
	}
}

// written writes the page and reads it as a browser would: every element
// closed, nothing that runs, nothing that is fetched. It returns the text.
func written(t *testing.T, name string, o Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(t.Context(), &b, o); err != nil {
		t.Fatal(err)
	}
	if *out != "" {
		if err := os.WriteFile(filepath.Join(*out, name+".html"), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d := xml.NewDecoder(&b)
	d.Entity = xml.HTMLEntity
	var text strings.Builder
	targets, links := map[string]bool{}, []string{}
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			switch e.Name.Local {
			case "script", "iframe", "object", "embed", "link", "base", "form", "svg", "b", "i":
				t.Errorf("%s has an element %s", name, e.Name.Local)
			}
			for _, a := range e.Attr {
				switch {
				case strings.HasPrefix(a.Name.Local, "on"), a.Name.Local == "style":
					t.Errorf("%s: <%s %s=%q>", name, e.Name.Local, a.Name.Local, a.Value)
				case a.Name.Local == "href":
					links = append(links, a.Value)
				case a.Name.Local == "id":
					if targets[a.Value] {
						t.Errorf("%s: id %s twice", name, a.Value)
					}
					targets[a.Value] = true
				case a.Name.Local == "src", a.Name.Local == "srcset":
					data, ok := strings.CutPrefix(a.Value, "data:image/svg+xml;base64,")
					svg, err := base64.StdEncoding.DecodeString(data)
					if !ok || err != nil || !bytes.Contains(svg, []byte("<svg ")) {
						t.Errorf("%s: <%s %s=%.80q>: %v", name, e.Name.Local, a.Name.Local, a.Value, err)
					}
				}
			}
		case xml.CharData:
			text.Write(e)
		}
	}
	for _, link := range links {
		if !strings.HasPrefix(link, "#") || !targets[link[1:]] {
			t.Errorf("%s: a link leads to %q", name, link)
		}
	}
	return text.String()
}

func TestReport(t *testing.T) {
	r := studyOf(40, func(i int) string { return fmt.Sprintf("idea %d", i) })
	r.all[39].Outcome, r.all[39].Decision = search.Outcome{}, search.Decision{} // it runs
	o := options(t, r)
	if err := os.MkdirAll(o.Folder(11), 0o755); err != nil {
		t.Fatal(err)
	}
	champion, _, _ := r.Champion()
	folder := o.Folder(champion.Trial.ID)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "environment.json"), []byte(`{"kernel": "6.1", "cpus": 8, "packages": ["torch==2.11", "x<b>"], "budget": {"seconds": 300}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	text := written(t, "study", o)
	for _, want := range []string{
		"Study nov23", fmt.Sprintf("val_bpb %.6f", champion.Outcome.ValBPB), "the mean of 3 runs", "Gain per GPU hour", "out of memory", "$1.25", "9000 tokens in",
		"What the champion changed, in all", "+MATRIX_LR", "-MATRIX_LR = 0.04", "Which constants matter", "MATRIX_LR",
		fmt.Sprintf("autoresearchd --config '/srv/a b.toml' reproduce %d", champion.Trial.ID), "git -C '/srv/my work' worktree add '/srv/my work-champion' " + champion.Commit,
		"torch==2.11, x<b>", "6.1", "seed 42", "running", "idea 38", "    print('<b>')",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	v, err := gather(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := r.Trial(1)
	if got, want := v.Gain, first.Outcome.ValBPB-champion.Outcome.ValBPB; got != want {
		t.Errorf("gain %g, want %g", got, want)
	}
	total := 0.0
	for _, s := range v.Strategies {
		total += s.Gain
	}
	if diff := total - v.Gain; diff > 1e-12 || diff < -1e-12 {
		t.Errorf("the strategies gained %g, the study %g", total, v.Gain)
	}
	if want := 39 * 340.0; v.Seconds != want || v.Failed != 4 || len(v.Failures) != 1 || v.Failures[0].Count != 4 {
		t.Errorf("%g s, %d failed, %+v", v.Seconds, v.Failed, v.Failures)
	}
	if _, err := gather(t.Context(), Options{Journal: &notes{}}); !errors.Is(err, journal.ErrNoStudy) {
		t.Errorf("without a study: %v", err)
	}
}

func TestFewTrials(t *testing.T) {
	for _, n := range []int{0, 1, 2} {
		text := written(t, fmt.Sprint(n), options(t, studyOf(n, func(int) string { return "" })))
		if (n == 0) != strings.Contains(text, "No trial has a score yet") {
			t.Errorf("%d trials: %s", n, text)
		}
	}
	r := studyOf(1, func(int) string { return "" })
	r.all[0].Outcome, r.all[0].Decision = search.Outcome{Status: search.Crashed}, search.Decision{Verdict: search.Crash}
	written(t, "crash", options(t, r))
}

// TestConfirmedGain counts a gain for who proposed it, not for the second run
// by which it was adopted.
func TestConfirmedGain(t *testing.T) {
	r := studyOf(3, func(i int) string { return "" })
	r.all[1].Trial.Proposal.Strategy = "tpe"
	r.all[1].Decision.Verdict, r.all[1].Outcome.ValBPB = search.Discard, 0.9
	again := &r.all[2]
	again.Trial.Proposal = search.Proposal{Strategy: search.Confirm, Parent: 2}
	again.Trial.Source = r.all[1].Trial.Source
	again.Outcome.ValBPB, again.Decision.Verdict = 0.91, search.Keep
	v, err := gather(t.Context(), options(t, r))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range v.Strategies {
		if (s.Gain > 0) != (s.Name == "tpe") {
			t.Errorf("%+v", s)
		}
	}
	if kept := v.Kept[1]; !v.HasRerun || len(v.Diffs) != 1 || kept.Trial.ID != 2 || math.Abs(kept.Score-0.905) > 1e-12 || v.Level != kept.Score {
		t.Errorf("%d diffs; kept is trial %d with %g, the champion's level %g", len(v.Diffs), kept.Trial.ID, kept.Score, v.Level)
	}
}

var hostile = []string{
	`</td></table><script>alert(1)</script><img src=x onerror=alert(1)>`, "\x1b[31mred\x1b[0m\x00\r\nnew line\ttab", "\u202egnirts desrever\u202c \u200f\u2066x",
	strings.Repeat("ten kB ", 1500), "\xff\xfe\x80broken", `" onmouseover="alert(1)`, "{{.Study}}", "<!-- ", "]]>", "javascript:alert(1)",
}

func TestForeignTextIsInert(t *testing.T) {
	r := studyOf(30, func(i int) string { return hostile[i%len(hostile)] })
	for i := range r.all {
		h := hostile[(i+3)%len(hostile)]
		r.all[i].Decision.Reason = h
		r.all[i].Trial.Proposal.Strategy = h
		r.all[i].Trial.Constants = append(r.all[i].Trial.Constants, search.Constant{Name: "NOTE", Value: search.StringValue(h)})
		r.all[i].Trial.Source = append(r.all[i].Trial.Source, h...)
	}
	r.study.Tag, r.study.Workspace = "nov23"+hostile[0], hostile[1]+"'; rm -rf /"
	text := written(t, "hostile", options(t, r))
	if !strings.Contains(text, hostile[0]) || !strings.Contains(text, hostile[5]) {
		t.Error("a text is not shown as it is")
	}
	for _, c := range []string{"\x1b", "\x00", "\u202e", "\u2066", "\u200f", "\xff"} {
		if strings.Contains(text, c) {
			t.Errorf("the page holds %q", c)
		}
	}
	if strings.Contains(text, strings.Repeat("ten kB ", 100)) {
		t.Error("a text of 10 kB is not cut")
	}
}

func FuzzText(f *testing.F) {
	f.Add("a\u0301\x00\u202e\xff\x1b[1m", 5)
	f.Fuzz(func(t *testing.T, in string, limit int) {
		limit = 2 + limit&0xff
		if got := Text(in, limit); len([]rune(got)) > limit || strings.ContainsAny(got, "\x00\n\r\t\x1b\u202e\u2066\u200f") {
			t.Errorf("%q at %d: %q", in, limit, got)
		}
	})
}

// TestMany proves that a long study makes a page that can still be mailed.
func TestMany(t *testing.T) {
	var b bytes.Buffer
	if err := Write(t.Context(), &b, options(t, studyOf(1000, func(i int) string { return "an idea like any other" }))); err != nil {
		t.Fatal(err)
	}
	if b.Len() > 2<<20 {
		t.Errorf("%d bytes", b.Len())
	}
}

// TestPicture has no mark off the line that is kept, and none below it that is
// not: each is a candidate, where it was decided.
func TestPicture(t *testing.T) {
	r := studyOf(6, func(i int) string { return fmt.Sprint(i) })
	set := func(i int, bpb float64, verdict search.Verdict, again int64) {
		rec := &r.all[i]
		rec.Outcome.ValBPB, rec.Decision.Verdict = bpb, verdict
		rec.Outcome.Status = search.Completed
		if again > 0 {
			rec.Trial.Proposal = search.Proposal{Strategy: search.Confirm, Parent: again}
		}
	}
	set(0, 1.0, search.Keep, 0)
	set(1, 0.90, search.Discard, 0) // promising
	set(2, 0.98, search.Keep, 2)    // confirmed, at 0.94
	set(3, 0.93, search.Discard, 0) // promising
	set(4, 0.97, search.Discard, 4) // luck, at 0.95
	set(5, 0.92, search.Discard, 0) // promising, and to run again
	got := ""
	p := Picture(journal.Study{}, r.all)
	for _, m := range p.Trials {
		got += fmt.Sprintf("%d %.2f %s %.2f %v; ", m.ID, m.ValBPB, m.Verdict, m.Runs, m.Pending)
	}
	for _, s := range p.Steps {
		got += fmt.Sprintf("from %d %.2f; ", s.ID, s.ValBPB)
	}
	if want := "1 1.00 keep [1.00] false; 3 0.94 keep [0.90 0.98] false; 5 0.95 discard [0.93 0.97] false; 6 0.92  [0.92] true; from 1 1.00; from 3 0.94; "; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
