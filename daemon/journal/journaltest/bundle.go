package journaltest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"autoresearchd/search"
)

// Hostile are texts that must be shown inert.
var Hostile = []string{
	`<script>alert(1)</script><img src=x onerror=alert(2)>`,
	"\x1b[2J\x1b[31mred\x1b]0;title\x07",
	"tabs\tand\nlines\r\nand a NUL\x00",
	"\u202egnp.exe\u202c \u2066isolated\u2069 \u200fright to left",
	`quotes " ' and \ and </title> and ${7*7} and {{7*7}}`,
	"not UTF-8: \xff\xfe\x80",
	strings.Repeat("long ", 2000),
}

// bundle writes a trial's folder: its log, and what a model was asked and said.
func (s *study) bundle(r search.Result) error {
	if s.o.Bare {
		return nil
	}
	dir := filepath.Join(s.dir, "trials", strconv.FormatInt(r.Trial.ID, 10))
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	constants, err := json.MarshalIndent(values(r.Trial.Constants), "", "  ")
	if err != nil {
		return err
	}
	files := map[string]string{"train.py": string(r.Trial.Source), "run.log": s.log(r), "constants.json": string(constants) + "\n"}
	if r.Trial.Proposal.Strategy == "llm" {
		files["llm-prompt-1.txt"] = "You improve train.py.\n\n" + string(s.champion.Trial.Source)
		files["llm-reply-1.txt"] = r.Trial.Proposal.Description + "\n"
	}
	var faults []error
	for name, text := range files {
		faults = append(faults, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o640))
	}
	return errors.Join(faults...)
}

func values(consts []search.Constant) map[string]search.Value {
	m := map[string]search.Value{}
	for _, c := range consts {
		m[c.Name] = c.Value
	}
	return m
}

func (s *study) log(r search.Result) string {
	var b strings.Builder
	if s.o.Hostile {
		b.WriteString(Hostile[r.Trial.ID%int64(len(Hostile))] + "\n")
	}
	for _, p := range r.Outcome.Curve {
		fmt.Fprintf(&b, "step %05d (%.1f%%) | loss: %.6f | lrm: 1.00 | dt: 316ms | tok/sec: 1,659,000 | mfu: 39.8%%\r", p.Step, 100*p.Seconds/budget.Seconds, p.Loss)
	}
	b.WriteString("\n" + r.Outcome.Detail + "\n")
	if v, ok := r.Score(); ok {
		fmt.Fprintf(&b, "---\nval_bpb:          %.6f\n", v)
	}
	return b.String()
}
