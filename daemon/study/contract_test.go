package study

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
)

// What a script leaves to a helper is looked up in the helper that is
// committed.
func TestHelpersAreLookedAt(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"train.py": "x", "prepare.py": "x", "program.md": "x", "constants.py": "own", "limits.py": "hands on", "util/__init__.py": "", "util/run.py": "evaluates", "cheat.py": "cheats",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range []string{"init -q", "add -A", "commit -qm x"} {
		cmd := exec.Command("git", strings.Fields("-c user.name=u -c user.email=u@u "+args)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	repo, err := lineage.Open(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	head, err := repo.Head(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	from := func(module string) []trainer.Claim {
		return []trainer.Claim{{Name: "TIME_BUDGET", What: "TIME_BUDGET comes from " + module, Module: module}}
	}
	uses := func(name string) []trainer.Module { return []trainer.Module{{Name: "os"}, {Name: name}} }
	answers := map[string]trainer.Inspection{
		"own": {}, "hands on": {Imports: []string{"TIME_BUDGET"}}, "evaluates": {Evaluates: true},
		"cheats":    {Evaluates: true, Claims: []trainer.Claim{{Name: "evaluate_bpb"}}},
		"own limit": {Evaluates: true, Claims: from("constants")}, "given": {Evaluates: true, Claims: from("limits")}, "installed": {Evaluates: true, Claims: from("absl")},
		"by helper": {Modules: uses("util.run")}, "by nobody": {Modules: uses("limits")}, "by a cheat": {Modules: uses("cheat")},
	}
	for source, want := range map[string]string{
		"own limit": "TIME_BUDGET comes from constants, but", "given": "", "installed": "TIME_BUDGET comes from absl, but",
		"by helper": "", "by nobody": "it never calls evaluate_bpb", "by a cheat": "it never calls evaluate_bpb",
	} {
		inspect := func(_ context.Context, source []byte) (trainer.Inspection, error) {
			return answers[string(source)], nil
		}
		_, fault, err := Examine(context.Background(), repo, inspect, head, []byte(source), search.Budget{Seconds: 300})
		if err != nil || want == "" && fault != "" || !strings.HasPrefix(fault, want) {
			t.Errorf("%s: %q %v, want %q", source, fault, err, want)
		}
	}
}
