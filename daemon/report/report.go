// Package report writes a study as one page that can be mailed: no script, no
// address that is fetched, readable in the dark, by day and on paper. All that
// comes from outside (descriptions, reasons, sources, tracebacks) is shown as
// text.
package report

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/modelserver"
	"autoresearchd/daemon/plot"
	"autoresearchd/daemon/record"
	"autoresearchd/search"
)

// Journal is what a report reads of a journal. *journal.Reader is one.
type Journal interface {
	Study() (journal.Study, bool, error)
	Trials() ([]journal.Record, error)
	Trial(id int64) (journal.Record, error)
	Source(id int64) ([]byte, error)
	Champion() (journal.Record, bool, error)
}

// Options are what a report is made from.
type Options struct {
	Journal Journal
	Folder  func(id int64) string                                          // of a trial's bundle
	Start   func(ctx context.Context, study journal.Study) ([]byte, error) // train.py as the study found it
	Claim   *search.Claim                                                  // what the judge says of the champion; nil: nothing
	Card    string                                                         // the study in a sentence
	Rate    float64                                                        // runs an hour, while trials were to run; 0: not known
	Spent   modelserver.Sums
	Command string // by which a reader would call autoresearchd, with its flags
	Version string
	Now     time.Time
}

//go:embed report.html
var page string

var pageTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"score":   func(x float64) string { return fmt.Sprintf("%.6f", x) },
	"signed":  func(x float64) string { return strings.Replace(fmt.Sprintf("%+.6f", x), "-", "\u2212", 1) },
	"hours":   func(s float64) string { return fmt.Sprintf("%.2f", s/3600) },
	"percent": func(x float64) string { return fmt.Sprintf("%.1f", 100*x) },
	"clock":   func(t time.Time) string { return t.Format("2 Jan 15:04") },
	"date":    func(t time.Time) string { return t.Format("Monday, 2 January 2006, 15:04 MST") },
	"span":    span,
	"text":    func(s string) string { return Text(s, 300) },
	"line":    func(s string) string { return visible(s, 4000) },
	"brief":   func(s string) string { return Text(s, 120) },
}).Parse(page))

// Text makes foreign text one visible line of at most so many characters.
func Text(s string, limit int) string { return visible(strings.TrimSpace(s), limit) }

func visible(s string, limit int) string {
	if len(s) > 8*limit { // of 10 kB only the beginning is worth the work
		s = strings.ToValidUTF8(s[:8*limit], "")
	}
	r := []rune(lineage.Escape(s))
	if len(r) <= limit {
		return string(r)
	}
	return string(r[:limit-1]) + "…"
}

// span says how long something took.
func span(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
}

// view is what the page shows.
type view struct {
	Options
	Study             journal.Study
	Budget            string
	Device            string // where its trials ran
	Hardware          string // "GPU" or "CPU"
	Candidates        []candidate
	Kept              []row
	Best              *row // nil: nothing has a score
	Baseline, Gain    float64
	Level             float64 // what is known of the champion: the mean of its runs
	Seconds, Counted  float64 // of all trials
	Begun, Ended      time.Time
	Failures          []failure
	Finished, Failed  int
	Strategies        []strategy
	Importance        []search.Influence
	Staircase, Losses figure
	Whole             *diff // what the champion changed, in all
	Diffs             []*diff
	Constants         []constant
	Environment       []environment
	Packages          []string
	Reproduce         []step
	LeftOut           int // diffs
	HasRerun, HasVRAM bool
	GainHour, Duty    float64
}

type row struct {
	journal.Record
	Scored  bool
	Score   float64
	Delta   float64 // from the champion before it
	HasDiff bool
}

// candidate is one of the table of all of them.
type candidate struct {
	record.Candidate
	Began   time.Time
	Against *float64 // the mean of the champion that it had to beat; nil: there was none
	Seconds float64  // of all its runs
}

// Class names the row's colour.
func (c candidate) Class() string {
	if c.Verdict == search.StandingPending {
		return "running"
	}
	return string(c.Verdict.Decision())
}

// Delta is its mean less that of the champion which it had to beat; 0: none had to be.
func (c candidate) Delta() float64 {
	if c.ValBPB == nil || c.Against == nil {
		return 0
	}
	return *c.ValBPB - *c.Against
}

// VRAM is the peak in GiB; 0: unknown.
func (c candidate) VRAM() float64 { return float64(c.PeakVRAM) / (1 << 30) }

// Share is the gain as a part of what the study began with.
func (v *view) Share() float64 {
	if v.Baseline == 0 {
		return 0
	}
	return v.Gain / v.Baseline
}

type failure struct {
	Status  search.Status
	Count   int
	Seconds float64
	Last    int64 // the candidate that failed last
	Detail  string
}

type strategy struct {
	Name                  string
	Trials, Kept, Failed  int
	Seconds, Gain, Hourly float64
}

// figure is a picture twice, since a page that is printed from the dark is
// light, and only a style sheet hears of that.
type figure struct{ Light, Dark template.URL }

type diff struct {
	ID    int64
	From  string
	Lines []line
	More  int
}

type line struct{ Class, Text string }

type constant struct {
	Name, Value, Start string
	Changed            bool
}

type environment struct{ Name, Value string }

type step struct{ About, Command string }

const (
	mostDiffs = 100
	mostLines = 400
)

// Write writes the page.
func Write(ctx context.Context, w io.Writer, o Options) error {
	v, err := gather(ctx, o)
	if err != nil {
		return err
	}
	if err := pageTemplate.Execute(w, v); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

func gather(ctx context.Context, o Options) (*view, error) {
	study, ok, err := o.Journal.Study()
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, journal.ErrNoStudy
	}
	all, err := o.Journal.Trials()
	if err != nil {
		return nil, err
	}
	v := &view{Options: o, Study: study, Budget: budget(study.Budget), Hardware: "CPU"}
	v.count(all)
	v.list(all)
	champion, ok, err := o.Journal.Champion()
	if err != nil {
		return nil, err
	}
	if ok {
		if err := v.about(ctx, champion, all); err != nil {
			return nil, err
		}
	}
	picture := Picture(study, all)
	if v.Staircase, err = draw(func(w io.Writer, as plot.Style) error { return plot.Staircase(w, picture, as) }); err != nil {
		return nil, err
	}
	return v, nil
}

func budget(b search.Budget) string {
	if b.Steps > 0 {
		return fmt.Sprintf("%d steps", b.Steps)
	}
	return fmt.Sprintf("%g s", b.Seconds)
}

// list takes the candidates of all trials.
func (v *view) list(all []journal.Record) {
	against, first := map[int64]*float64{}, map[int64]journal.Record{}
	var done []search.Result
	for _, r := range all {
		if r.Outcome.Status != "" {
			done = append(done, r.Result)
		}
	}
	for _, m := range record.NewStaircase(done).Marks {
		against[m.ID] = m.Against
	}
	candidates := record.Candidates(all)
	for _, r := range record.Rows(all, candidates) {
		first[r.Trial.ID] = r
	}
	for _, c := range candidates {
		r := first[c.ID]
		v.Candidates = append(v.Candidates, candidate{Candidate: c, Began: r.Trial.StartedAt, Against: against[c.ID], Seconds: r.Outcome.WallSeconds})
	}
}

// count goes once over all trials.
func (v *view) count(all []journal.Record) {
	failures := map[search.Status]*failure{}
	strategies := map[string]*strategy{}
	by := func(name string) *strategy {
		if strategies[name] == nil {
			strategies[name] = &strategy{Name: name}
		}
		return strategies[name]
	}
	proposer := map[int64]string{}     // whose idea a trial's program was
	levels, before := levels(all), 0.0 // of the champion, after and before a trial
	devices := map[string]bool{}
	scores, first := map[int64]float64{}, map[int64]journal.Record{} // of candidates
	var done []search.Result
	for _, r := range all {
		if r.Outcome.Status != "" {
			done = append(done, r.Result)
		}
	}
	of := search.CandidatesOf(search.History{Done: done})
	for _, r := range slices.Backward(all) {
		first[of[r.Trial.ID]] = r
	}
	for _, c := range search.Candidates(search.History{Done: done}) {
		scores[c.ID], _ = c.Score()
	}
	if baseline, _ := search.Ends(done); baseline != nil {
		v.Baseline, _ = baseline.Score()
	}
	for i, r := range all {
		o, name := r.Outcome, r.Trial.Proposal.Strategy
		_, scored := r.Score()
		proposer[r.Trial.ID] = name
		if search.IsRerun(r.Trial) {
			proposer[r.Trial.ID] = proposer[r.Trial.Proposal.Parent]
			v.HasRerun = true
		}
		if o.Status == "" {
			continue
		}
		if v.Begun.IsZero() {
			v.Begun = r.Trial.StartedAt
		}
		v.Finished++
		v.Ended = ended(r)
		v.Seconds += o.WallSeconds
		v.Counted += o.TrainingSeconds
		v.HasVRAM = v.HasVRAM || o.PeakVRAM > 0
		if o.WallSeconds > 0 {
			devices[r.Trial.Device] = true
			if strings.HasPrefix(r.Trial.Device, "cuda") {
				v.Hardware = "GPU"
			}
		}
		s := by(name)
		s.Trials++
		s.Seconds += o.WallSeconds
		if o.Status != search.Completed && o.Status != search.Pruned && o.Status != search.Interrupted {
			v.Failed++
			s.Failed++
			f := failures[o.Status]
			if f == nil {
				f = &failure{Status: o.Status}
				failures[o.Status] = f
			}
			f.Count++
			f.Seconds += o.WallSeconds
			f.Last, f.Detail = of[r.Trial.ID], r.Decision.Reason
		}
		if r.Decision.Verdict == search.Keep && scored {
			whose := by(proposer[r.Trial.ID])
			whose.Kept++
			c := of[r.Trial.ID]
			kept := row{Record: first[c], Score: scores[c], Scored: true}
			kept.Decision = r.Decision
			if before != 0 {
				kept.Delta = levels[i] - before
				whose.Gain += before - levels[i]
			}
			v.Kept = append(v.Kept, kept)
		}
		before = levels[i]
	}
	v.Level = before
	v.Device = strings.Join(slices.Sorted(maps.Keys(devices)), ", ")
	for _, f := range failures {
		v.Failures = append(v.Failures, *f)
	}
	slices.SortFunc(v.Failures, func(a, b failure) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Status, b.Status))
	})
	for _, s := range strategies {
		if s.Seconds > 0 {
			s.Hourly = s.Gain / (s.Seconds / 3600)
		}
		v.Strategies = append(v.Strategies, *s)
	}
	slices.SortFunc(v.Strategies, func(a, b strategy) int {
		return cmp.Or(cmp.Compare(b.Gain, a.Gain), cmp.Compare(b.Trials, a.Trials), cmp.Compare(a.Name, b.Name))
	})
	if v.Seconds > 0 {
		v.Duty = v.Counted / v.Seconds
	}
}

// about adds what concerns the champion: what it changed, how it trained, and
// how to have it again.
func (v *view) about(ctx context.Context, champion journal.Record, all []journal.Record) error {
	v.Best = &row{Record: champion}
	v.Best.Score, v.Best.Scored = v.Level, true
	v.Gain = v.Baseline - v.Level
	if v.Seconds > 0 {
		v.GainHour = v.Gain / (v.Seconds / 3600)
	}
	first, err := v.Journal.Trial(all[0].Trial.ID)
	if err != nil {
		return err
	}
	lines := []plot.Line{trained(champion, fmt.Sprintf("champion, trial %d", champion.Trial.ID))}
	if first.Trial.ID != champion.Trial.ID {
		lines = append(lines, trained(first, fmt.Sprintf("trial %d, where the study began", first.Trial.ID)))
	}
	if len(lines[0].Loss) > 1 {
		if v.Losses, err = draw(func(w io.Writer, as plot.Style) error { return plot.Losses(w, lines, as) }); err != nil {
			return err
		}
	}
	start, err := v.Start(ctx, v.Study)
	if err != nil { // the workspace may be elsewhere: the first trial is next to it
		start = first.Trial.Source
	}
	if d := compare(champion.Trial.ID, "the study's start", start, champion.Trial.Source); len(d.Lines) > 0 {
		v.Whole = d
	}
	for i := range v.Kept {
		r := &v.Kept[i]
		p := r.Trial.Proposal
		if r.Trial.ID == first.Trial.ID {
			continue
		}
		if len(v.Diffs) == mostDiffs {
			v.LeftOut++
			continue
		}
		to, err := v.Journal.Source(r.Trial.ID)
		if err != nil {
			return err
		}
		from, name := start, "the study's start"
		if p.Parent != 0 {
			name = fmt.Sprintf("candidate %d", p.Parent)
			if from, err = v.Journal.Source(p.Parent); err != nil {
				return err
			}
		}
		if d := compare(r.Trial.ID, name, from, to); len(d.Lines) > 0 {
			r.HasDiff = true
			v.Diffs = append(v.Diffs, d)
		}
	}
	before := map[string]string{}
	for _, c := range first.Trial.Constants {
		before[c.Name] = c.Value.Literal()
	}
	for _, c := range champion.Trial.Constants {
		value := c.Value.Literal()
		v.Constants = append(v.Constants, constant{c.Name, value, before[c.Name], before[c.Name] != value})
	}
	if space, err := search.NewSpace(champion.Trial.Constants, nil); err == nil {
		h := search.History{Champion: champion.Trial, Space: space}
		for _, r := range all {
			if r.Outcome.Status != "" {
				h.Done = append(h.Done, r.Result)
			}
		}
		v.Importance = search.Importance(h)
	}
	v.reproduce(champion)
	return v.environment(champion)
}

// compare makes a diff that is short enough for a page.
func compare(id int64, name string, from, to []byte) *diff {
	d := &diff{ID: id, From: name}
	text := record.Diff(name, fmt.Sprintf("candidate %d", id), from, to)
	if text == "" {
		return d
	}
	all := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(all) > mostLines {
		d.More = len(all) - mostLines
		all = all[:mostLines]
	}
	for i, s := range all {
		class := ""
		switch {
		case i < 2, strings.HasPrefix(s, "@@"):
			class = "at"
		case strings.HasPrefix(s, "+"):
			class = "add"
		case strings.HasPrefix(s, "-"):
			class = "del"
		}
		d.Lines = append(d.Lines, line{class, visible(strings.ReplaceAll(strings.TrimSuffix(s, "\r"), "\t", "    "), 400)})
	}
	return d
}

// reproduce gives the commands that bring the champion back.
func (v *view) reproduce(r journal.Record) {
	commit := r.Commit
	if commit == "" {
		return // it is being recorded
	}
	work := lineage.Quote(v.Study.Workspace)
	v.Reproduce = []step{
		{"Run it again as the daemon did, with its seed and budget, and compare:", fmt.Sprintf("%s reproduce %d", v.Command, r.Trial.ID)},
		{"Look at its train.py:", fmt.Sprintf("git -C %s show %s:train.py", work, commit)},
		{"Go on from it by hand, in a folder of its own:", fmt.Sprintf("git -C %s worktree add %s %s", work, lineage.Quote(v.Study.Workspace+"-champion"), commit)},
		{"All that is needed is in its bundle:", "ls " + lineage.Quote(v.Folder(r.Trial.ID))},
	}
}

// environment reads what the champion's bundle says of the machine.
func (v *view) environment(r journal.Record) error {
	data, err := os.ReadFile(filepath.Join(v.Folder(r.Trial.ID), "environment.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // imported, or the folder was cleared
	}
	if err != nil {
		return fmt.Errorf("read the champion's environment: %w", err)
	}
	var all map[string]any
	if err := json.Unmarshal(data, &all); err != nil {
		return nil // a file that anybody may have edited
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		switch value := all[name].(type) {
		case []any:
			if name == "packages" {
				for _, p := range value {
					v.Packages = append(v.Packages, Text(fmt.Sprint(p), 80))
				}
			}
		case string, float64, bool:
			v.Environment = append(v.Environment, environment{Text(strings.ReplaceAll(name, "_", " "), 40), Text(fmt.Sprint(value), 200)})
		}
	}
	return nil
}

// draw makes a picture for light and one for dark pages. An SVG that is an
// image runs nothing and fetches nothing.
func draw(picture func(io.Writer, plot.Style) error) (figure, error) {
	var f figure
	for _, dark := range []bool{false, true} {
		var b bytes.Buffer
		if err := picture(&b, plot.Style{Format: plot.SVG, Dark: dark}); err != nil {
			return f, err
		}
		data := "data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString(b.Bytes())
		if dark {
			f.Dark = template.URL(data)
		} else {
			f.Light = template.URL(data)
		}
	}
	return f, nil
}
