package api_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"autoresearchd/daemon/httpd/api"
	"autoresearchd/daemon/httpd/api/apitest"
	"autoresearchd/daemon/journal/journaltest"
	"autoresearchd/daemon/record"
	"autoresearchd/search"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, o journaltest.Options) (*apitest.Study, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	s, err := apitest.Open(dir, o)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s, dir
}

func ask(t testing.TB, h http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("GET", api.Prefix+path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func get[T any](t testing.TB, h http.Handler, path string) T {
	t.Helper()
	w := ask(t, h, path)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", path, w.Code, w.Body)
	}
	var v T
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return v
}

type list struct {
	Trials []record.Trial
	Next   *string
	Total  int
}

// stairs is the staircase as it is answered.
type stairs struct {
	Baseline   float64
	Candidates []struct {
		ID                                            int64
		Runs                                          []int64
		Hours                                         float64
		ValBPB                                        *float64 `json:"val_bpb"`
		Against                                       *float64
		Scores                                        []float64
		Below                                         bool
		Verdict, Strategy, Label, Description, Reason string
	}
	Steps []struct {
		At, Candidate int64
		ValBPB        float64 `json:"val_bpb"`
	}
}

func TestETag(t *testing.T) {
	s, _ := open(t, journaltest.Options{Trials: 12})
	for _, path := range []string{"status", "candidates?limit=3", "search?q=base", "trials?limit=3", "trials/5", "trials/4/files/llm-reply-1.txt", "staircase", "lineage", "constants", "strategies", "openapi.json"} {
		w := ask(t, s.API, path)
		tag := w.Header().Get("ETag")
		if w.Code != http.StatusOK || tag == "" {
			t.Fatalf("%s: %d, ETag %q, %s", path, w.Code, tag, w.Body)
		}
		for _, have := range []string{tag, `"other", W/` + tag, "*"} {
			if w := ask(t, s.API, path, "If-None-Match", have); w.Code != http.StatusNotModified || w.Body.Len() > 0 || w.Header().Get("ETag") != tag {
				t.Errorf("%s with %s: %d, %d bytes", path, have, w.Code, w.Body.Len())
			}
		}
		if w := ask(t, s.API, path, "If-None-Match", `"other"`); w.Code != http.StatusOK {
			t.Errorf("%s with another: %d", path, w.Code)
		}
	}
	// Another trial makes another staircase.
	s.Loop.Show(11)
	before := ask(t, open2(t, s, 11), "staircase").Header().Get("ETag")
	s.Loop.Show(12)
	if now := ask(t, s.API, "staircase").Header().Get("ETag"); now == before {
		t.Error("the staircase keeps its ETag with another trial")
	}
}

// open2 serves the same study anew, with nothing kept.
func open2(t *testing.T, s *apitest.Study, trials int) http.Handler {
	s.Loop.Show(trials)
	a := api.New(api.Options{Loop: s.Loop, Journal: s.Reader, Folder: func(int64) string { return "" }})
	t.Cleanup(a.Close)
	return a
}

func TestPages(t *testing.T) {
	const trials = 10_000
	dir, remove, err := journaltest.TempDir()
	must(t, err)
	defer remove()
	s, err := apitest.Open(dir, journaltest.Options{Trials: trials, Bare: true})
	must(t, err)
	defer s.Close()
	for _, c := range []struct {
		query string
		lets  func(search.Result) bool
	}{
		{"limit=1000&order=asc", func(search.Result) bool { return true }},
		{"limit=999", func(search.Result) bool { return true }},
		{"limit=500&decision=crash,keep", func(r search.Result) bool { return r.Decision.Verdict != search.Discard }},
		{"limit=700&strategy=llm&q=SOFT_cap", func(r search.Result) bool {
			return r.Trial.Proposal.Strategy == "llm" && strings.Contains(r.Trial.Proposal.Description, "soft_cap")
		}},
	} {
		var want []int64
		for _, r := range s.Loop.History().Done {
			if c.lets(r) {
				want = append(want, r.Trial.ID)
			}
		}
		if !strings.Contains(c.query, "asc") {
			slices.Reverse(want)
		}
		var got []int64
		for cursor := ""; ; {
			p := get[list](t, s.API, "trials?"+c.query+cursor)
			if p.Total != len(want) {
				t.Fatalf("%s: total %d, want %d", c.query, p.Total, len(want))
			}
			for _, r := range p.Trials {
				got = append(got, r.ID)
			}
			if p.Next == nil {
				break
			}
			cursor = "&cursor=" + *p.Next
		}
		if len(want) == 0 || !slices.Equal(got, want) {
			t.Errorf("%s: %d trials, want %d", c.query, len(got), len(want))
		}
	}
	every := search.Candidates(search.History{Done: s.Loop.History().Done})
	if rows := get[stairs](t, s.API, "staircase").Candidates; len(rows) != len(every) {
		t.Errorf("the staircase has %d candidates of %d", len(rows), len(every))
	}
	var want, got []int64
	for _, c := range slices.Backward(every) {
		if c.Standing == search.StandingKept || c.Standing == search.StandingTampered {
			want = append(want, c.ID)
		}
	}
	for cursor := ""; ; {
		p := get[struct {
			Candidates []record.Candidate
			Next       *string
			Total      int
		}](t, s.API, "candidates?verdict=kept,tampered&limit=7"+cursor)
		for _, c := range p.Candidates {
			got = append(got, c.ID)
		}
		if p.Next == nil || p.Total != len(want) {
			break
		}
		cursor = "&cursor=" + *p.Next
	}
	if len(want) < 8 || !slices.Equal(got, want) {
		t.Errorf("candidates %v, want %v", got, want)
	}
	// A page that begins while trials are added neither repeats nor leaves out.
	s.Loop.Show(50)
	first := get[list](t, s.API, "trials?limit=30")
	s.Loop.Show(70)
	second := get[list](t, s.API, "trials?limit=30&cursor="+*first.Next)
	if first.Trials[29].ID != 21 || second.Trials[0].ID != 20 || len(second.Trials) != 20 || second.Next != nil {
		t.Errorf("%d, then %d and %d more", first.Trials[29].ID, second.Trials[0].ID, len(second.Trials))
	}
}

func TestRefused(t *testing.T) {
	s, dir := open(t, journaltest.Options{Trials: 10})
	bundle := filepath.Join(dir, "trials", "4")
	must(t, os.WriteFile(filepath.Join(dir, "secret"), []byte("secret"), 0o600))
	must(t, os.Symlink(filepath.Join(dir, "secret"), filepath.Join(bundle, "llm-reply-2.txt")))
	must(t, unix.Mkfifo(filepath.Join(bundle, "llm-reply-3.txt"), 0o600))
	must(t, os.Mkdir(filepath.Join(bundle, "llm-reply-4.txt"), 0o700))
	for _, c := range []struct {
		path string
		code int
		want string
	}{
		{"trials/11", 404, "there is no trial 11: /api/v1/trials lists those that there are"},
		{"trials/0", 404, `there is no trial "0": trials are numbered from 1, /api/v1/trials lists them`},
		{"trials/best", 404, `there is no trial "best": trials are numbered from 1, /api/v1/trials lists them`},
		{"trials/99999999999999999999", 404, `there is no trial "99999999999999999999": trials are numbered from 1, /api/v1/trials lists them`},
		{"trials/4/files/llm-reply-9.txt", 404, `trial 4 has no attachment "llm-reply-9.txt": its "attachments" lists what it has`},
		{"trials/4/files/llm-reply-2.txt", 404, `trial 4 has no attachment "llm-reply-2.txt": its "attachments" lists what it has`},
		{"trials/4/files/llm-reply-3.txt", 404, `trial 4 has no attachment "llm-reply-3.txt": its "attachments" lists what it has`},
		{"trials/4/files/llm-reply-4.txt", 404, `trial 4 has no attachment "llm-reply-4.txt": its "attachments" lists what it has`},
		{"trials/4/files/train.py", 404, `trial 4 has no attachment "train.py": its "attachments" lists what it has`},
		{"trials/4/files/..%2f..%2fsecret", 404, `trial 4 has no attachment "../../secret": its "attachments" lists what it has`},
		{"trials?limit=0", 400, `limit="0": write a number from 1 to 1000`},
		{"trials?cursor=x", 400, `cursor="x": it must be the "next" of an earlier page`},
		{"trials?order=up", 400, `order="up": write asc or desc`},
		{"trials?decision=keep,maybe", 400, `decision="maybe": write keep, discard, crash, or several with commas between`},
		{"candidates?verdict=keep", 400, `verdict="keep": write pending, kept, discarded, refuted, crashed, tampered, interrupted, or several with commas between`},
		{"candidates?failure=oom", 400, `failure="oom": write completed, crashed, out of memory, diverged, timed out, pruned, tampered, interrupted, or several with commas between`},
		{"candidates?decision=keep", 400, `unknown parameter "decision": known are limit, cursor, order, verdict, failure, strategy, q`},
		{"trials?sort=id", 400, `unknown parameter "sort": known are limit, cursor, order, decision, strategy, q`},
		{"lineage?all=yes", 400, `all="yes": write all=1 for every candidate, or leave it out`},
		{"nothing", 404, "there is no /api/v1/nothing: /api/v1/openapi.json lists what there is"},
	} {
		w := ask(t, s.API, c.path)
		var e struct{ Error string }
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code != c.code || e.Error != c.want {
			t.Errorf("%s: %d %s, want %s", c.path, w.Code, w.Body, c.want)
		}
	}
	if d := get[struct{ Attachments []string }](t, s.API, "trials/4"); !slices.Equal(d.Attachments, []string{"llm-prompt-1.txt", "llm-reply-1.txt"}) {
		t.Errorf("attachments %q", d.Attachments)
	}
	if w := ask(t, s.API, "trials/4/files/llm-reply-1.txt"); w.Header().Get("Content-Type") != "text/plain; charset=utf-8" || !strings.HasPrefix(w.Body.String(), "try ") {
		t.Errorf("%v %s", w.Header(), w.Body)
	}
}

// TestHostile wants whatever a model or a script says inside of JSON's strings.
func TestHostile(t *testing.T) {
	s, _ := open(t, journaltest.Options{Trials: 20, Hostile: true})
	p := get[list](t, s.API, "trials?order=asc")
	for i, r := range p.Trials[1:] {
		want := strings.ToValidUTF8(journaltest.Hostile[(i+2)%len(journaltest.Hostile)], "\ufffd")
		if got := strings.ReplaceAll(r.Description, "\ufffd\ufffd\ufffd", "\ufffd"); !strings.HasPrefix(got, want+" ") {
			t.Errorf("trial %d: %.60q, want %.60q", r.ID, got, want)
		}
	}
	for id := 1; id <= 20; id++ {
		d := get[map[string]any](t, s.API, fmt.Sprintf("trials/%d", id))
		for _, c := range d["log_tail"].(string) {
			if c < ' ' && c != '\n' || c == 0x202e {
				t.Errorf("trial %d: the log's tail holds %q", id, c)
			}
		}
	}
	for _, c := range get[stairs](t, s.API, "staircase").Candidates {
		for _, text := range []string{c.Label, c.Description, c.Reason} {
			if n := utf8.RuneCountInString(text); n > 100 {
				t.Errorf("candidate %d: %d characters", c.ID, n)
			}
		}
	}
}

// TestFigures compares with what the journal says.
func TestFigures(t *testing.T) {
	s, _ := open(t, journaltest.Options{Trials: 200})
	done := s.Loop.History().Done
	levels := search.Levels(done)
	st := get[stairs](t, s.API, "staircase")
	if st.Baseline != done[0].Outcome.ValBPB {
		t.Errorf("baseline %g", st.Baseline)
	}
	all, reigns := search.Course(done)
	kept, champion := 0, reigns[len(reigns)-1].Champion
	for i, row := range st.Candidates {
		c := all[i]
		bpb, n := c.Score()
		if row.ID != c.ID || row.Verdict != string(c.Standing) || row.Strategy != c.Strategy || !slices.Equal(row.Runs, c.Runs) || (row.ValBPB == nil) != (n == 0) || n > 0 && *row.ValBPB != bpb || n > 1 && !slices.Equal(row.Scores, c.Scores()) {
			t.Errorf("row %+v of %+v", row, c)
		}
		if c.Standing == search.StandingKept {
			kept++
		}
	}
	for i, x := range st.Steps {
		if bpb, _ := reigns[i].Champion.Score(); x.At != reigns[i].From || x.Candidate != reigns[i].Champion.ID || x.ValBPB != bpb {
			t.Errorf("step %+v of %+v", x, reigns[i])
		}
	}
	if h := st.Candidates[0].Hours; math.Abs(h-336.0/3600) > 1e-4 {
		t.Errorf("the first trial ended after %g hours", h)
	}

	gain := 0.0
	tried, proposed := 0, 0
	strategies := get[struct {
		Strategies []struct {
			Name                 string
			Candidates, Kept     int
			Gain, Seconds, Share float64
			Weight               *float64
		}
		Models []map[string]any
	}](t, s.API, "strategies")
	for _, r := range strategies.Strategies {
		gain, tried, proposed = gain+r.Gain, tried+r.Candidates, proposed+r.Kept
		if (r.Name == "tpe") != (r.Weight != nil && *r.Weight == 0.3) {
			t.Errorf("%+v", r)
		}
	}
	want := st.Steps[0].ValBPB - st.Steps[len(st.Steps)-1].ValBPB
	if math.Abs(gain-want) > 1e-9 || gain < 0.01 || tried != len(all) || proposed != kept {
		t.Errorf("gains %g of %g, %d of %d candidates, %d of %d kept", gain, want, tried, len(all), proposed, kept)
	}
	if len(strategies.Models) != 2 || strategies.Models[1]["model"] != journaltest.Model || strategies.Models[1]["requests"] != 60.0 {
		t.Errorf("models %v", strategies.Models)
	}

	c := get[struct {
		Champion   int64
		Importance []struct {
			Name  string
			Share float64
		}
		Slices map[string]struct {
			Log    bool
			Points [][]any
		}
	}](t, s.API, "constants")
	sum := 0.0
	for _, i := range c.Importance {
		sum += i.Share
	}
	if math.Abs(sum-1) > 1e-9 || tried == 200 || len(c.Slices["MATRIX_LR"].Points) != tried || c.Champion != s.Loop.Now().Champion.ID || !c.Slices["MATRIX_LR"].Log || c.Slices["WINDOW_PATTERN"].Points[0][0] != "SSSL" || c.Slices["ADAM_BETAS[1]"].Points[0][0] != 0.95 {
		t.Errorf("importance sums to %g, slices %v", sum, c.Slices["ADAM_BETAS[1]"].Points[0])
	}

	parents := map[float64]bool{0: true}
	shown := 0
	for _, n := range get[struct{ Nodes []map[string]any }](t, s.API, "lineage").Nodes {
		if !parents[n["parent"].(float64)] {
			t.Errorf("node %v comes before its parent", n)
		}
		parents[n["id"].(float64)] = true
		if n["verdict"] == "kept" {
			shown++
		}
	}
	if nodes := get[struct{ Nodes []any }](t, s.API, "lineage?all=1").Nodes; len(nodes) != len(all) || shown != kept {
		t.Errorf("%d nodes in all, %d kept", len(nodes), shown)
	}

	type detail struct {
		Diff, Why    string
		Parent       int64
		ParentTrial  struct{ ID int64 } `json:"parent_trial"`
		ComparedWith struct {
			ID     int64
			ValBPB float64 `json:"val_bpb"`
		} `json:"compared_with"`
		Children []int64
		Curve    [][]*float64
	}
	d := get[detail](t, s.API, fmt.Sprintf("trials/%d", champion.ID))
	if d.ParentTrial.ID != d.Parent || d.ComparedWith.ID != d.Parent || d.ComparedWith.ValBPB != levels[champion.ID-2] || !strings.Contains(d.Diff, "\n+") || len(d.Curve) < 20 || len(d.Children) == 0 {
		t.Errorf("the champion's detail: %+v", d)
	}
	if d := get[detail](t, s.API, "trials/9"); !strings.Contains(d.Why, "\n\nExpected: about 0.002 lower val_bpb") {
		t.Errorf("why %q", d.Why)
	}
}

func TestGPUs(t *testing.T) {
	s, _ := open(t, journaltest.Options{Trials: 1})
	got, err := json.Marshal(get[struct{ GPUs any }](t, s.API, "status").GPUs)
	must(t, err)
	want := `[{"index":0,"memory_total":151397597184,"memory_used":51539607552,"name":"NVIDIA H200","power_watts":612,"temperature_celsius":58,"utilization":0.98},` +
		`{"index":1,"memory_total":151397597184,"memory_used":1073741824,"name":"NVIDIA H200","power_watts":null,"temperature_celsius":null,"utilization":null}]`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
