package export

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/record"
	"autoresearchd/search"
)

var began = time.Date(2026, 11, 23, 21, 0, 0, 0, time.UTC)

var study = journal.Study{Tag: "nov23", Workspace: "/srv/work", StartedAt: began, Budget: search.Budget{Seconds: 300}}

// records are a baseline, a crash, a kept trial and one that still runs, which is
// its second run.
func records() []journal.Record {
	var all []journal.Record
	for i, status := range []search.Status{search.Completed, search.OutOfMemory, search.Completed, ""} {
		r := journal.Record{Commit: strings.Repeat("ab", 20), Decided: int64(i + 1)}
		r.Trial = search.Trial{
			ID: int64(i + 1), Candidate: int64(min(i+1, 3)), Seed: 42, Device: "cuda:0", StartedAt: began.Add(time.Duration(i) * 6 * time.Minute), Source: []byte("MATRIX_LR = 0.04\n"),
			Constants: []search.Constant{{Name: "MATRIX_LR", Value: search.FloatValue(0.04 + 0.01*float64(i))}, {Name: "PATTERN", Value: search.StringValue("=SSSL")}},
			Proposal:  search.Proposal{Strategy: "tpe", Description: "idea", Parent: int64(min(i, 1))},
		}
		r.Outcome = search.Outcome{Status: status, WallSeconds: 330, TrainingSeconds: 300, Steps: 890, Tokens: 467e6, PeakVRAM: 48 << 30, Phases: map[search.Phase]float64{search.Train: 300}}
		r.Decision = search.Decision{Verdict: search.Keep, Reason: "it is lower"}
		switch status {
		case search.Completed:
			r.Outcome.ValBPB = 0.9979 - 0.01*float64(i)
			for step := range 5 {
				r.Outcome.Curve = append(r.Outcome.Curve, search.Point{Step: 10 * step, Seconds: float64(step), Loss: 5 - float64(step)})
			}
		case search.OutOfMemory:
			r.Decision.Verdict = search.Crash
		case "":
			r.Outcome, r.Decision, r.Decided = search.Outcome{}, search.Decision{}, 0
		}
		all = append(all, r)
	}
	all[2].Trial.Constants = append(all[2].Trial.Constants, search.Constant{Name: "NEW", Value: search.TupleValue(search.IntValue(1), search.FloatValue(0.5))})
	return all
}

func replay(all []journal.Record) Replay {
	return func(each func(journal.Record) error) error {
		for _, r := range all {
			if err := each(r); err != nil {
				return err
			}
		}
		return nil
	}
}

func table(t testing.TB, all []journal.Record) []map[string]string {
	t.Helper()
	var b bytes.Buffer
	if err := CSV(&b, all); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string]string
	for _, row := range rows[1:] {
		m := map[string]string{}
		for i, name := range rows[0] {
			m[name] = row[i]
		}
		out = append(out, m)
	}
	return out
}

func TestCSV(t *testing.T) {
	all := records()
	rows := table(t, all)
	if len(rows) != 3 {
		t.Fatalf("%d rows", len(rows))
	}
	for key, want := range map[string]string{
		"id": "3", "val_bpb": "0.9779", "decision": "keep", "constant_MATRIX_LR": "0.06", "constant_NEW": "(1, 0.5)", "constant_PATTERN": "'=SSSL", "train_seconds": "300",
		"compile_seconds": "", "peak_vram_bytes": "51539607552", "started_at": "2026-11-23T21:12:00Z", "seed": "42", "status": "completed",
		"candidate": "3", "verdict": "kept", "candidate_val_bpb": "0.9779", "candidate_runs": "1",
	} {
		if got := rows[2][key]; got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	if rows[1]["val_bpb"] != "" || rows[0]["constant_NEW"] != "" || rows[1]["status"] != "out of memory" || rows[1]["verdict"] != "crashed" || rows[1]["candidate_val_bpb"] != "" {
		t.Errorf("rows %v", rows[:2])
	}
}

func TestCellsAreInert(t *testing.T) {
	for in, want := range map[string]string{
		`=HYPERLINK("http://x")`: `'=HYPERLINK("http://x")`, "+1": "'+1", "@SUM(A1)": "'@SUM(A1)", " \t-2": "'-2",
		"\x1b[31mred\nline\t\u202e": `\x1b[31mred\nline\t\u202e`, "plain, \"quoted\"": "plain, \"quoted\"", "": "",
	} {
		all := records()[:1]
		all[0].Trial.Proposal.Description = in
		if got := table(t, all)[0]["description"]; got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func FuzzCSV(f *testing.F) {
	f.Add("=1+1\r\n\"\x00\u2028", "reason,\xff")
	f.Fuzz(func(t *testing.T, description, reason string) {
		all := records()
		all[0].Trial.Proposal.Description, all[0].Decision.Reason = description, reason
		rows := table(t, all)
		if len(rows) != 3 {
			t.Fatalf("%d rows", len(rows))
		}
		for _, text := range []string{rows[0]["description"], rows[0]["reason"]} {
			if strings.ContainsAny(text, "\n\r\t\x00\x1b\u202e\u2028") || text != "" && strings.ContainsRune("=+-@", rune(text[0])) {
				t.Errorf("%q is not inert", text)
			}
		}
	})
}

// readEvents reads a TensorBoard file: scalars by tag, as step and value.
func readEvents(t *testing.T, path string) map[string][][2]float64 {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][][2]float64{}
	for n := 0; len(data) > 0; n++ {
		length := binary.LittleEndian.Uint64(data)
		if got := binary.LittleEndian.Uint32(data[8:]); got != masked(data[:8]) {
			t.Fatalf("record %d: the length's checksum is %x", n, got)
		}
		message := data[12 : 12+length]
		if got := binary.LittleEndian.Uint32(data[12+length:]); got != masked(message) {
			t.Fatalf("record %d: the checksum is %x", n, got)
		}
		data = data[16+length:]
		event := fields(t, message)
		if n == 0 {
			if string(event[eventFileVersion]) != "brain.Event:2" {
				t.Errorf("the file begins with %v", event)
			}
			continue
		}
		value := fields(t, fields(t, event[eventSummary])[summaryValue])
		step, _ := protowire.ConsumeVarint(event[eventStep])
		bits, _ := protowire.ConsumeFixed32(value[valueSimple])
		tag := string(value[valueTag])
		out[tag] = append(out[tag], [2]float64{float64(step), float64(math.Float32frombits(bits))})
	}
	return out
}

func fields(t *testing.T, b []byte) map[protowire.Number][]byte {
	t.Helper()
	out := map[protowire.Number][]byte{}
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		b = b[n:]
		n = protowire.ConsumeFieldValue(number, kind, b)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		out[number] = b[:n]
		if kind == protowire.BytesType {
			out[number], _ = protowire.ConsumeBytes(b)
		}
		b = b[n:]
	}
	return out
}

// TestChecksum holds the checksum to a known one: CRC-32C of "123456789" is
// e3069283.
func TestChecksum(t *testing.T) {
	if got, c := masked([]byte("123456789")), uint32(0xe3069283); got != (c>>15|c<<17)+0xa282ead8 {
		t.Errorf("%x", got)
	}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			path, err = filepath.Rel(dir, path)
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTensorBoard(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tb")
	for range 2 { // a second time replaces the first
		if err := TensorBoard(dir, study, record.Candidates(records()), replay(records())); err != nil {
			t.Fatal(err)
		}
	}
	names := files(t, dir)
	if len(names) != 3 || !strings.HasPrefix(names[2], "study/events.out.tfevents.") || !strings.HasPrefix(names[1], "candidate-0003/trial-0003/") {
		t.Fatalf("files %q", names)
	}
	whole := readEvents(t, filepath.Join(dir, names[2]))
	near := func(got [][2]float64, want ...[2]float64) bool {
		return slices.EqualFunc(got, want, func(a, b [2]float64) bool { return a[0] == b[0] && math.Abs(a[1]-b[1]) < 1e-6*math.Max(1, b[1]) })
	}
	if !near(whole["val_bpb"], [2]float64{1, 0.9979}, [2]float64{3, 0.9779}) || !near(whole["best_val_bpb"], [2]float64{1, 0.9979}, [2]float64{2, 0.9979}, [2]float64{3, 0.9779}) || len(whole["wall_seconds"]) != 3 {
		t.Errorf("scalars %v", whole)
	}
	if !near(whole["candidate"], [2]float64{1, 1}, [2]float64{2, 2}, [2]float64{3, 3}) || !near(whole["candidates/kept"], [2]float64{1, 0.9979}, [2]float64{3, 0.9779}) {
		t.Errorf("candidates %v", whole)
	}
	one := readEvents(t, filepath.Join(dir, names[1]))
	if !near(one["train_loss"], [2]float64{0, 5}, [2]float64{10, 4}, [2]float64{20, 3}, [2]float64{30, 2}, [2]float64{40, 1}) {
		t.Errorf("curve %v", one)
	}
}

func TestMLflow(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ml runs")
	all := records()
	all[2].Trial.Proposal.Description = "two\nlines \x1b[31m"
	all[2].Trial.Constants = append(all[2].Trial.Constants, search.Constant{Name: "../../../escape", Value: search.IntValue(1)})
	var first []string
	for range 2 {
		if err := MLflow(dir, study, record.Candidates(all), replay(all)); err != nil {
			t.Fatal(err)
		}
		names := files(t, dir)
		if first != nil && !slices.Equal(names, first) {
			t.Errorf("a second export left %q", names)
		}
		first = names
	}
	read := func(suffix string) (found []string) {
		for _, name := range first {
			if strings.HasSuffix(name, suffix) {
				data, err := os.ReadFile(filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				found = append(found, string(data))
			}
		}
		slices.Sort(found)
		return found
	}
	if got := read("metrics/val_bpb"); len(got) != 2 || got[0] != "1795467930000 0.9979 0\n" || got[1] != "1795468650000 0.9779 0\n" {
		t.Errorf("scores %q", got)
	}
	if got := append(read("tags/verdict"), read("tags/candidate")...); strings.Join(got, " ") != "crashed kept kept 1 2 3" {
		t.Errorf("verdicts and candidates %q", got)
	}
	if got := read("metrics/candidate_val_bpb"); len(got) != 2 || !strings.Contains(got[1], " 0.9779 ") {
		t.Errorf("means %q", got)
	}
	if got := read("metrics/train_loss"); len(got) != 2 || strings.Count(got[0], "\n") != 5 {
		t.Errorf("curves %q", got)
	}
	if got := read("tags/mlflow.note.content"); len(got) != 3 || got[2] != `two\nlines \x1b[31m` {
		t.Errorf("notes %q", got)
	}
	if got := read("params/NEW"); len(got) != 1 || got[0] != "(1, 0.5)" {
		t.Errorf("params %q", got)
	}
	if got := read("artifacts/train.py"); len(got) != 3 || got[0] != "MATRIX_LR = 0.04\n" {
		t.Errorf("sources %q", got)
	}
	if meta := read("meta.yaml"); len(meta) != 4 || !strings.Contains(strings.Join(meta, ""), `status: 4`) || !strings.Contains(meta[0], "/ml%20runs/") {
		t.Errorf("meta %q", meta)
	}
	if slices.ContainsFunc(first, func(name string) bool { return strings.Contains(name, "escape") }) {
		t.Error("a name led out of the folder")
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := File(path, func(w io.Writer) error { _, err := io.WriteString(w, "old"); return err }); err != nil {
		t.Fatal(err)
	}
	err := File(path, func(w io.Writer) error { _, _ = io.WriteString(w, "half"); return errors.New("disk full") })
	data, _ := os.ReadFile(path)
	if err == nil || !strings.Contains(err.Error(), "f: disk full") || string(data) != "old" || len(files(t, filepath.Dir(path))) != 1 {
		t.Errorf("%v left %q", err, data)
	}
	if err := File(filepath.Join(path, "none"), nil); err == nil {
		t.Error("a file was written below a file")
	}
}
