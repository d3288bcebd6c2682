package lineage

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"autoresearchd/daemon/durable"
	"autoresearchd/daemon/faultpoint"
	"autoresearchd/search"
)

// ResultsHeader is the first line of results.tsv, upstream's five columns.
const ResultsHeader = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"

var (
	appendBefore   = faultpoint.New("lineage.results.before")
	appendTorn     = faultpoint.New("lineage.results.torn")
	appendAfter    = faultpoint.New("lineage.results.after")
	rebuildKept    = faultpoint.New("lineage.rebuild.kept")
	rebuildWritten = faultpoint.New("lineage.rebuild.written")
	rebuildAfter   = faultpoint.New("lineage.rebuild.after")
)

// Row is one line of results.tsv.
type Row struct {
	Commit      string         // 7 characters
	ValBPB      float64        // bits per byte; 0 for a crash
	MemoryGB    float64        // peak GPU memory in GiB; 0 for a crash
	Status      search.Verdict // keep, discard or crash
	Description string         // one line
}

// NewRow derives the row of a candidate that is decided: the mean of its runs,
// and their largest memory. One without a score is a crash here whatever its
// verdict was, since 0.000000 beside another word would read as a perfect score.
func NewRow(commit string, c *search.Candidate) Row {
	row := Row{
		Commit:      fmt.Sprintf("%.7s", commit+"0000000"),
		Status:      search.Crash,
		Description: describe(c.Description),
	}
	if bpb, runs := c.Score(); runs > 0 {
		row.Status = c.Standing.Decision()
		row.ValBPB = bpb
		row.MemoryGB = float64(c.Peak) / (1 << 30)
	}
	return row
}

func describe(s string) string {
	s = strings.TrimSpace(Escape(s))
	if s == "" {
		return "no description"
	}
	if s[0] == '"' { // pandas takes a leading quote for the start of a quoted field
		return `\` + s
	}
	return s
}

// String returns the row's line, newline included.
func (r Row) String() string {
	return fmt.Sprintf("%s\t%.6f\t%.1f\t%s\t%s\n", r.Commit, r.ValBPB, r.MemoryGB, r.Status, r.Description)
}

// Results is an open results.tsv. It is derived: the journal is the truth, and
// what somebody changes here is put back, the changed file being kept beside
// it. Not safe for concurrent use.
type Results struct {
	path string
	want []byte // the file's proper content
}

// OpenResults makes the file at path hold exactly rows. The second result says
// in words what had to be repaired, and is empty when nothing had to be. A file
// with content of its own is kept as <path>.orig-1, .orig-2, …. A full disk
// gives an error that wraps syscall.ENOSPC.
func OpenResults(path string, rows []Row) (*Results, string, error) {
	r := &Results{path: path, want: Table(rows)}
	repaired, err := r.rebuild()
	if err != nil {
		return nil, "", err
	}
	return r, repaired, nil
}

// Table is what results.tsv holds of rows.
func Table(rows []Row) []byte {
	all := []byte(ResultsHeader)
	for _, row := range rows {
		all = append(all, row.String()...)
	}
	return all
}

// Differs says in words how the file at path differs from what rows make of it;
// "": it does not. It writes nothing.
func Differs(path string, rows []Row) (string, error) {
	want := Table(rows)
	have, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "it is missing", nil
	case err != nil:
		return "", err
	case bytes.Equal(have, want):
		return "", nil
	case bytes.HasPrefix(want, have):
		return "it lacks its end: " + counted(bytes.Count(want[len(have):], []byte("\n"))) + " of it", nil
	}
	lines := bytes.SplitAfter(want, []byte("\n"))
	for n, line := range bytes.SplitAfter(have, []byte("\n")) {
		switch {
		case n == len(lines)-1:
			return fmt.Sprintf("%s more than the journal has, from line %d on: %.200q", counted(len(bytes.SplitAfter(have, []byte("\n")))-len(lines)), n+1, line), nil
		case !bytes.Equal(line, lines[n]):
			return fmt.Sprintf("line %d is %.200q, and by the journal %.200q", n+1, line, lines[n]), nil
		}
	}
	return "it differs", nil
}

func counted(rows int) string {
	if rows == 1 {
		return "1 line"
	}
	return fmt.Sprintf("%d lines", rows)
}

// Set makes the file hold exactly rows and returns when they are on the disk.
// New ones at its end are appended. After an error the file is as it was.
func (r *Results) Set(rows []Row) error {
	want := Table(rows)
	if bytes.Equal(want, r.want) {
		return nil
	}
	appendBefore.Hit()
	err := error(nil)
	if more, ok := bytes.CutPrefix(want, r.want); ok {
		err = r.append(string(more))
	} else {
		err = r.replace(want)
	}
	if err != nil {
		return fmt.Errorf("write to %s: %w", r.path, err)
	}
	appendAfter.Hit()
	return nil
}

// replace is for a row that has changed, as another run of its candidate does.
func (r *Results) replace(want []byte) error {
	have, err := os.ReadFile(r.path)
	if err == nil && bytes.Equal(have, r.want) {
		err = writeFile(r.path, want)
	} else {
		before := r.want
		r.want = want
		if _, err = r.rebuild(); err != nil {
			r.want = before
		}
	}
	if err == nil {
		r.want = want
	}
	return err
}

func (r *Results) append(line string) error {
	info, err := os.Lstat(r.path)
	if err != nil || info.Size() != int64(len(r.want)) || !info.Mode().IsRegular() {
		before := r.want
		r.want = append(bytes.Clone(r.want), line...)
		if _, err := r.rebuild(); err != nil {
			r.want = before
			return err
		}
		return nil
	}
	f, err := os.OpenFile(r.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	half := len(line) / 2
	_, err = f.WriteString(line[:half])
	if err == nil {
		appendTorn.Hit()
		_, err = f.WriteString(line[half:])
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return errors.Join(err, f.Truncate(int64(len(r.want))))
	}
	r.want = append(r.want, line...)
	return nil
}

func (r *Results) rebuild() (string, error) {
	fail := func(err error) (string, error) { return "", fmt.Errorf("rebuild %s: %w", r.path, err) }
	repaired := ""
	info, err := os.Lstat(r.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if len(r.want) > len(ResultsHeader) {
			repaired = "results.tsv was missing: written again from the journal"
		}
	case err != nil:
		return fail(err)
	case info.IsDir():
		return fail(errors.New("it is a directory: move it away"))
	case !info.Mode().IsRegular():
		repaired = "results.tsv was not a regular file: written again from the journal"
	default:
		have, err := os.ReadFile(r.path)
		if err != nil {
			return fail(err)
		}
		if bytes.Equal(have, r.want) {
			return "", nil
		}
		if bytes.HasPrefix(r.want, have) {
			repaired = "results.tsv lacked its end: written again from the journal"
			break
		}
		kept, err := r.keep(have)
		if err != nil {
			return fail(err)
		}
		repaired = fmt.Sprintf("results.tsv differed from the journal: written again, the other one is kept as %s", filepath.Base(kept))
	}
	rebuildKept.Hit()
	if err := writeFile(r.path, r.want); err != nil {
		return fail(err)
	}
	return repaired, nil
}

// keep gives the present file a second name, unless the newest kept one has the
// same content already.
func (r *Results) keep(have []byte) (string, error) {
	for n := 1; ; n++ {
		name := fmt.Sprintf("%s.orig-%d", r.path, n)
		if old, err := os.ReadFile(name); err == nil && bytes.Equal(old, have) {
			return name, nil
		}
		err := os.Link(r.path, name)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		return name, err
	}
}

func writeFile(path string, data []byte) error {
	if err := durable.Replace(path, data, 0o644, rebuildWritten); err != nil {
		return err
	}
	rebuildAfter.Hit()
	return nil
}
