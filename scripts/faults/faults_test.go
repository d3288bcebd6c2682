package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../.."

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// sources are a package's tests.
type sources struct {
	functions map[string]bool
	text      string // of all of them
}

func read(t *testing.T, pkg string) *sources {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(root, pkg, "*_test.go"))
	must(t, err)
	s := &sources{functions: map[string]bool{}}
	for _, name := range names {
		data, err := os.ReadFile(name)
		must(t, err)
		s.text += string(data)
		file, err := parser.ParseFile(token.NewFileSet(), name, data, parser.SkipObjectResolution)
		must(t, err)
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				s.functions[f.Name.Name] = true
			}
		}
	}
	return s
}

// TestTable has every number once, in order, and nothing that is not there: a
// test that was renamed or removed, or a drill's part, is missed here.
func TestTable(t *testing.T) {
	if len(faults) != 76 {
		t.Fatalf("%d faults, want 76", len(faults))
	}
	packages := map[string]*sources{}
	for i, f := range faults {
		if f.number != i+1 || f.what == "" || strings.Contains(f.what, "|") {
			t.Errorf("row %d is fault %d, %q", i+1, f.number, f.what)
		}
		for _, way := range f.ways {
			pkg, function, _, ok := split(way)
			if !ok {
				script, part, _ := strings.Cut(way, " ")
				text, err := os.ReadFile(filepath.Join(root, script))
				must(t, err)
				if part == "" || !bytes.Contains(text, []byte("step \""+part+"\"")) && !bytes.Contains(text, []byte("\npart_"+part+"() {")) && !bytes.Contains(text, []byte("\ndef "+part+"(t):")) {
					t.Errorf("fault %d: %s has no part %q", f.number, script, part)
				}
				continue
			}
			if packages[pkg] == nil {
				packages[pkg] = read(t, pkg)
			}
			if s := packages[pkg]; !s.functions[function] {
				t.Errorf("fault %d: there is no %s", f.number, way)
			} else if _, part, ok := strings.Cut(way, "/Test"); ok {
				t.Error(part)
			} else if _, part, ok := strings.Cut(strings.TrimPrefix(way, pkg), "/"); ok && !strings.Contains(s.text, `"`+part+`"`) {
				if _, err := os.Stat(filepath.Join(root, pkg, "testdata", part+".txt")); err != nil {
					t.Errorf("fault %d: %s has no part %q", f.number, function, part)
				}
			}
		}
	}
}

// TestPage has docs/faults.md be what the table and the records come to.
func TestPage(t *testing.T) {
	r := &records{of: map[string]record{}}
	must(t, r.read(filepath.Join(root, recordFile)))
	page, err := os.ReadFile(filepath.Join(root, pageFile))
	must(t, err)
	if string(page) != r.page() {
		t.Error("docs/faults.md is not what scripts/faults/table.go and docs/faults.jsonl come to: run scripts/faults.sh write")
	}
	lines, err := os.ReadFile(filepath.Join(root, recordFile))
	must(t, err)
	if !bytes.Equal(lines, r.lines()) {
		t.Error("docs/faults.jsonl has lines twice, out of order or of no fault: run scripts/faults.sh write")
	}
}

// TestResults reads what go test says, and what no machine can run is not passed.
func TestResults(t *testing.T) {
	t.Setenv("FAULTS_MACHINE", "2 cores")
	t.Setenv("FAULTS_DATE", "2026-11-30")
	said := `{"Action":"output","Package":"autoresearchd/daemon/trainer","Test":"TestHangsAreKilled/01_endless_loop","Output":"    a_test.go:7: shown: in 0.4 s\n"}
{"Action":"pass","Package":"autoresearchd/daemon/trainer","Test":"TestHangsAreKilled/01_endless_loop"}
{"Action":"fail","Package":"autoresearchd/daemon/trainer","Test":"TestSelfTest"}
{"Action":"output","Package":"autoresearchd/daemon/supervisor","Test":"TestPowerLoss","Output":"    a_test.go:7: mounting is not allowed here: no\n"}
{"Action":"pass","Package":"autoresearchd/daemon/supervisor","Test":"TestPowerLoss"}
`
	r := &records{of: map[string]record{}}
	must(t, r.tests(strings.NewReader(said)))
	for way, want := range map[string][2]string{
		hang + "01 endless loop":     {passed, "in 0.4 s"},
		trainer + "TestSelfTest":     {"failed", ""},
		supervisor + "TestPowerLoss": {"not possible there", ""},
	} {
		if got := r.of[way]; got.Result != want[0] || got.Note != want[1] || got.Machine != "2 cores" {
			t.Errorf("%s: %+v", way, got)
		}
	}
	for _, f := range faults {
		result, _ := r.result(f)
		if strings.HasPrefix(result, passed) {
			t.Errorf("fault %d passed, of which nothing whole has run: %s", f.number, result)
		}
	}
	// A part that the table names and the test does not have.
	if err := r.tests(strings.NewReader(`{"Action":"pass","Package":"autoresearchd/daemon/trainer","Test":"TestHangsAreKilled"}`)); err == nil {
		t.Error("a part that never ran was taken for nothing")
	}
}
