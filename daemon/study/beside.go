package study

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/trainer"
)

// Inspect reads a script without running it, as a trainer's does.
type Inspect func(ctx context.Context, source []byte) (trainer.Inspection, error)

// modules bounds how many of the workspace's own modules Beside reads.
const modules = 300

// script is a module of the workspace and who imports it.
type script struct {
	path, by string
	optional bool
}

// Beside compares what a trial gets of a commit with what stands in the work
// tree. It refuses, with a lineage.ErrDirty, where train.py or prepare.py
// imports a module, by whatever way, that is not committed or has changed since;
// notes are about what else differs, and about a given cache ("": none) that
// prepare.py ignores.
func Beside(ctx context.Context, repo *lineage.Repo, inspect Inspect, commit, cache string) (notes []string, err error) {
	files, err := repo.Files(ctx, commit)
	if err != nil {
		return nil, err
	}
	changed, later, err := repo.Changed(ctx, commit)
	if err != nil {
		return nil, err
	}
	var faults []string
	say := func(s script, fault, note string) {
		if s.optional {
			notes = append(notes, fmt.Sprintf("%s, which %s works without, %s", s.path, s.by, note))
		} else {
			faults = append(faults, fmt.Sprintf("%s, which %s imports, %s", s.path, s.by, fault))
		}
	}
	queue := []script{{path: "train.py"}, {path: "prepare.py"}}
	seen := map[string]bool{"train.py": true, "prepare.py": true}
	for ; len(queue) > 0 && len(seen) < modules; queue = queue[1:] {
		s := queue[0]
		committed, why := slices.Contains(files, s.path), ""
		if !committed {
			if why, err = repo.Absent(ctx, commit, s.path); err != nil {
				return nil, err
			}
			if why == "" { // a link: what it leads to is looked at in its place
				if name := target(repo.Workspace(), s.path); name != "" && !seen[name] {
					seen[name] = true
					queue = append(queue, script{name, s.by, s.optional})
				}
				continue
			}
		}
		var source []byte
		if committed {
			source, err = repo.ReadFile(ctx, commit, s.path)
		} else {
			source, err = os.ReadFile(filepath.Join(repo.Workspace(), filepath.FromSlash(s.path)))
		}
		if err != nil {
			return nil, err
		}
		at := slices.Index(changed, s.path)
		switch work := lineage.Quote(repo.Workspace()); {
		case !committed:
			say(s, why, why+", if trials are to have it")
		case at >= 0 && s.by != "":
			changed = slices.Delete(changed, at, at+1)
			say(s, fmt.Sprintf("differs from the last commit: commit it with `git -C %s commit -m %s -- %s`, or restore it with `git -C %[1]s checkout -- %[3]s`", work, lineage.Quote("change "+path.Base(s.path)), lineage.Quote(s.path)),
				"differs from the last commit, which trials run")
		}
		i, err := inspect(ctx, source)
		if err != nil {
			return nil, fmt.Errorf("read the imports of %s: %w", s.path, err)
		}
		if s.path == "prepare.py" && i.Unscored != "" {
			return nil, refusal(fmt.Errorf("%s: %s", filepath.Join(repo.Workspace(), s.path), i.Unscored))
		}
		if s.path == "prepare.py" {
			if note := Unheeded(i, cache); note != "" {
				notes = append(notes, note)
			}
		}
		slices.SortStableFunc(i.Modules, func(a, b trainer.Module) int { // what is needed before what is not
			return cmp.Compare(rank(a.Optional), rank(b.Optional))
		})
		for _, m := range i.Modules {
			for _, name := range places(s.path, m.Name) {
				if seen[name] || !slices.Contains(files, name) && !isFile(filepath.Join(repo.Workspace(), filepath.FromSlash(name))) {
					continue
				}
				seen[name] = true
				queue = append(queue, script{name, s.path, s.optional || m.Optional})
			}
		}
	}
	if len(faults) > 0 {
		return nil, refusal(fmt.Errorf("the workspace %s has what no trial gets (%w): %s", repo.Workspace(), lineage.ErrDirty, strings.Join(faults, "; ")))
	}
	changed = slices.DeleteFunc(changed, func(name string) bool { return name == "train.py" || name == "prepare.py" })
	// The champion's train.py may well have been taken into another branch.
	if later = slices.DeleteFunc(later, func(name string) bool { return name == "train.py" }); len(later) > 0 {
		notes = append(notes, fmt.Sprintf("these files were committed anew after %.7s, which the study began with and whose files its trials get: %s; another tag and state directory begin a study with the new ones", commit, some(later)))
	}
	if len(changed) > 0 {
		notes = append(notes, fmt.Sprintf("trials get these files as they are committed, and they have changed since: %s", some(changed)))
	}
	lacking, err := repo.Lacking(ctx, commit)
	if err != nil {
		return nil, err
	}
	if len(lacking) > 0 {
		notes = append(notes, fmt.Sprintf("the commit %.7s does not hold the content of these, so trials lack it: %s", commit, some(lacking)))
	}
	return notes, nil
}

// target is the file of the workspace that a path with links in it leads to; ""
// where it leads out.
func target(workspace, name string) string {
	real, err := filepath.EvalSymlinks(filepath.Join(workspace, filepath.FromSlash(name)))
	if err != nil {
		return ""
	}
	rel, err := filepath.Rel(workspace, real)
	if err != nil || !filepath.IsLocal(rel) {
		return ""
	}
	return filepath.ToSlash(rel)
}

// Unheeded says that a given cache ("": none) does not reach a prepare.py, and
// what to do; "" if it does.
func Unheeded(prepare trainer.Inspection, cache string) string {
	if cache == "" || prepare.Unplaced == "" {
		return ""
	}
	return fmt.Sprintf("prepare.py ignores the cache %s (study.cache, or AUTORESEARCH_CACHE), as it has its data where %s says; write CACHE_DIR = … at the top of prepare.py and make the other places of it, or read AUTORESEARCH_CACHE there", cache, prepare.Unplaced)
}

func rank(optional bool) int {
	if optional {
		return 1
	}
	return 0
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// some lists names up to a line's worth.
func some(names []string) string {
	const most = 8
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// places are the files that a module's name can mean to a script, packages
// around it included. Scripts run in the workspace's top folder.
func places(by, module string) []string {
	name := strings.TrimLeft(module, ".")
	dir := ""
	if up := len(module) - len(name); up > 0 {
		dir = by
		for range up {
			if dir == "." {
				return nil // above the top
			}
			dir = path.Dir(dir)
		}
		if dir == "." {
			dir = ""
		}
	}
	var found []string
	for _, part := range strings.Split(name, ".") {
		if part == "" {
			break
		}
		dir = path.Join(dir, part)
		found = append(found, dir+".py", dir+"/__init__.py")
	}
	return found
}
