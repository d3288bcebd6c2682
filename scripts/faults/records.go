package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	recordFile = "docs/faults.jsonl"
	pageFile   = "docs/faults.md"
	module     = "autoresearchd/"
)

// record is how a way of trying a fault went the last time.
type record struct {
	Way     string `json:"way"`
	Result  string `json:"result"` // passed, failed, or why it could not be tried
	Note    string `json:"note,omitempty"`
	Machine string `json:"machine"`
	Date    string `json:"date"`
	Commit  string `json:"commit"`
}

const passed = "passed"

type records struct{ of map[string]record }

// read takes in the lines of a file; the last of a way counts, and what the table
// does not name is left out.
func (r *records) read(name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, f := range faults {
		for _, w := range f.ways {
			known[w] = true
		}
	}
	for line := range bytes.Lines(data) {
		var one record
		if err := json.Unmarshal(line, &one); err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		if one.Result == "" || one.Machine == "" || one.Date == "" {
			return fmt.Errorf("read %s: %s has no result, machine or date", name, one.Way)
		}
		if known[one.Way] {
			r.of[one.Way] = one
		}
	}
	return nil
}

// lines are the records in the table's order.
func (r *records) lines() []byte {
	var out bytes.Buffer
	done := map[string]bool{}
	for _, f := range faults {
		for _, w := range f.ways {
			if one, ok := r.of[w]; ok && !done[w] {
				done[w] = true
				line, _ := json.Marshal(one) // strings alone
				out.Write(append(line, '\n'))
			}
		}
	}
	return out.Bytes()
}

// split tells of a way that is a test its package, its function, and its name as
// `go test` prints it; ok is false for a drill.
func split(way string) (pkg, function, name string, ok bool) {
	pkg, test, found := strings.Cut(way, ".Test")
	if !found || strings.Contains(pkg, " ") {
		return "", "", "", false
	}
	function, _, _ = strings.Cut("Test"+test, "/")
	return pkg, function, "Test" + strings.ReplaceAll(test, " ", "_"), true
}

// packages prints "package regular-expression" for the tests of these faults, or of
// all.
func packages(w io.Writer, numbers []string) error {
	of := map[string][]string{}
	var order []string
	for _, f := range faults {
		if len(numbers) > 0 && !slices.Contains(numbers, strconv.Itoa(f.number)) {
			continue
		}
		for _, way := range f.ways {
			pkg, function, _, ok := split(way)
			if !ok || slices.Contains(of[pkg], function) {
				continue
			}
			if of[pkg] == nil {
				order = append(order, pkg)
			}
			of[pkg] = append(of[pkg], function)
		}
	}
	if len(order) == 0 {
		return fmt.Errorf("no test shows %v: see scripts/faults/table.go", numbers)
	}
	for _, pkg := range order {
		fmt.Fprintf(w, "./%s ^(%s)$\n", pkg, strings.Join(of[pkg], "|"))
	}
	return nil
}

// note is how a test says what it measured: t.Logf("shown: …").
var note = regexp.MustCompile(`\.go:\d+: shown: (.*)`)

// elsewhere is what tests say that a machine may not run.
var elsewhere = regexp.MustCompile(`mounting is not allowed here|--- SKIP`)

// tests takes in the events of `go test -json`. The environment says where it ran.
func (r *records) tests(in io.Reader) error {
	type key struct{ pkg, name string }
	results, said := map[key]string{}, map[key]string{}
	decoder := json.NewDecoder(in)
	for {
		var e struct{ Action, Package, Test, Output string }
		if err := decoder.Decode(&e); err == io.EOF {
			break
		} else if err != nil {
			return fmt.Errorf("read what go test said: %w", err)
		}
		at := key{strings.TrimPrefix(e.Package, module), e.Test}
		switch e.Action {
		case "output":
			said[at] += e.Output
		case "pass":
			results[at] = passed
		case "fail":
			results[at] = "failed"
		case "skip":
			results[at] = "not possible there"
		}
	}
	here := record{Machine: os.Getenv("FAULTS_MACHINE"), Date: os.Getenv("FAULTS_DATE"), Commit: os.Getenv("FAULTS_COMMIT")}
	if here.Machine == "" || here.Date == "" {
		return fmt.Errorf("FAULTS_MACHINE and FAULTS_DATE say nothing: start it by scripts/faults.sh")
	}
	for _, f := range faults {
		for _, way := range f.ways {
			pkg, function, name, ok := split(way)
			if !ok {
				continue
			}
			result := results[key{pkg, name}]
			if result == "" {
				if whole := results[key{pkg, function}]; whole != "" {
					return fmt.Errorf("%s ran, and %s was not among its parts: mend scripts/faults/table.go", function, way)
				}
				continue
			}
			one := here
			one.Way, one.Result = way, result
			words := said[key{pkg, name}]
			if elsewhere.MatchString(words) || elsewhere.MatchString(said[key{pkg, function}]) {
				one.Result = "not possible there"
			}
			if m := note.FindStringSubmatch(words); m != nil {
				one.Note = m[1]
			}
			r.of[way] = one
		}
	}
	return nil
}

// page is docs/faults.md.
func (r *records) page() string {
	var rows strings.Builder
	shown := 0
	for _, f := range faults {
		result, machines := r.result(f)
		if result == passed || strings.HasPrefix(result, passed+": ") {
			shown++
		}
		how := "nothing yet"
		if len(f.ways) > 0 {
			how = "`" + strings.Join(f.ways, "`<br>`") + "`"
		}
		fmt.Fprintf(&rows, "| %d | %s | %s | %s | %s |\n", f.number, f.what, strings.ReplaceAll(how, "|", `\|`), result, machines)
	}
	return fmt.Sprintf(head, shown, len(faults)) + rows.String()
}

const head = `# Faults, and how each is tried

%d of %d are shown by the last runs. ` + "`scripts/faults.sh [NUMBER…]`" + ` runs the tests and writes
this page; drills, which want a GPU or a booted system, leave a file that
` + "`scripts/faults.sh take FILE`" + ` adds. Which test shows which fault stands in
[scripts/faults/table.go](../scripts/faults/table.go), how each went in
[faults.jsonl](faults.jsonl). A row passes when all that it names passed.

| no. | fault → what must become of it | how tried | result | machine, date |
|---|---|---|---|---|
`

// result is the worst of a fault's ways, and where they ran.
func (r *records) result(f fault) (result, machines string) {
	if !slices.ContainsFunc(f.ways, func(way string) bool { return r.of[way].Result != "" }) {
		return "not yet", ""
	}
	var bad, notes, where []string
	for _, way := range f.ways {
		one, ok := r.of[way]
		if !ok {
			bad = append(bad, "not yet: `"+way+"`")
			continue
		}
		if one.Result != passed {
			bad = append(bad, one.Result+": `"+way+"`")
		}
		if one.Note != "" {
			notes = append(notes, one.Note)
		}
		if at := one.Machine + ", " + one.Date; !slices.Contains(where, at) {
			where = append(where, at)
		}
	}
	result = passed
	if len(bad) > 0 {
		result = strings.Join(bad, "<br>")
	} else if len(notes) > 0 {
		result += ": " + strings.Join(notes, "; ")
	}
	return strings.ReplaceAll(result, "|", `\|`), strings.Join(where, "<br>")
}
