// Package workspace makes a place to do research in: a configuration, the
// starter's files in a git tree, a venv, and the data. What is there already
// stays as it is.
package workspace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"autoresearchd/configs"
	"autoresearchd/daemon/config"
	"autoresearchd/daemon/trainer"
)

// Options say what Init makes.
type Options struct {
	Dir     string // gets autoresearch.toml and workspace/
	Profile string // "cpu" or "hopper"; empty: hopper where there is an NVIDIA GPU
	Corpus  string // "hub", "python" or a folder of text; empty: no data
	Python  string // the interpreter whose libpython is embedded: the venv's base
	// Inspect reads a script's constants; it must not need the venv, which
	// comes later.
	Inspect func(ctx context.Context, source []byte) (trainer.Inspection, error)
	Out     io.Writer // progress, a few lines; nothing when all is there
}

// The names in Dir.
const (
	configName    = "autoresearch.toml"
	workspaceName = "workspace"
	stateName     = "state"
	cacheName     = "cache"
)

// systemConfig is the service's configuration. Where it names the workspace
// that is made, Dir gets none of its own.
var systemConfig = "/etc/autoresearch/autoresearch.toml"

type maker struct {
	Options
	workspace string // Dir/workspace, absolute
	profile   profile
	cache     string // where the data lies; known after configure
}

// Init makes what is missing in o.Dir. It can be interrupted anywhere and run
// again.
func Init(ctx context.Context, o Options) error {
	if o.Out == nil {
		o.Out = io.Discard
	}
	if o.Dir == "" {
		return errors.New("make a workspace: no folder is named: write `autoresearchd init DIR`")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return fmt.Errorf("make a workspace in %s: %w", o.Dir, err)
	}
	o.Dir = dir
	if o.Corpus != "" && o.Corpus != "hub" && o.Corpus != "python" {
		if o.Corpus, err = textFolder(o.Corpus); err != nil {
			return err
		}
	}
	m := &maker{Options: o, workspace: filepath.Join(dir, workspaceName)}
	if m.profile, err = findProfile(o.Profile); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make %s: %w: choose a folder that you may write to", dir, cause(err))
	}
	for _, step := range []func(context.Context) error{m.files, m.configure, m.venv, m.data} {
		if err := step(ctx); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (m *maker) say(format string, args ...any) { fmt.Fprintf(m.Out, format+"\n", args...) }

// show shortens a path for the eye.
func show(path string) string {
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, path); err == nil && !strings.HasPrefix(rel, "..") {
			return rel
		}
	}
	return path
}

// cause is an error without the operation and path that os puts before it.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	var l *os.LinkError
	if errors.As(err, &l) {
		return l.Err
	}
	return err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// textFolder returns the absolute path of a --corpus that is a folder.
func textFolder(name string) (string, error) {
	if rest, ok := strings.CutPrefix(name, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("find the corpus %s: HOME is not set", name)
		}
		name = filepath.Join(home, rest)
	}
	path, err := filepath.Abs(name)
	if err != nil {
		return "", fmt.Errorf("find the corpus %s: %w", name, err)
	}
	if info, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("find the corpus %s: %w: name a folder of text files, hub or python", path, cause(err))
	} else if !info.IsDir() {
		return "", fmt.Errorf("find the corpus %s: it is not a folder: name the folder that holds the text files, hub or python", path)
	}
	return path, nil
}

// files writes the starter with its git tree, all or nothing: it is built
// beside its place and moved there. A workspace with a train.py is left alone.
func (m *maker) files(ctx context.Context) error {
	entries, err := os.ReadDir(m.workspace)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("look into %s: %w", m.workspace, cause(err))
	case exists(filepath.Join(m.workspace, "train.py")):
		for _, name := range []string{"prepare.py", ".git"} {
			if !exists(filepath.Join(m.workspace, name)) {
				m.say("note: %s has a train.py but no %s; it is left as it is", show(m.workspace), name)
			}
		}
		return nil
	case len(entries) > 0:
		return fmt.Errorf("write the starter to %s: it holds %s but no train.py: move that away or name another folder", m.workspace, entries[0].Name())
	}
	staging, err := os.MkdirTemp(m.Dir, ".workspace-")
	if err != nil {
		return fmt.Errorf("write to %s: %w", m.Dir, cause(err))
	}
	defer os.RemoveAll(staging)
	if err := os.Chmod(staging, 0o755); err != nil {
		return fmt.Errorf("write to %s: %w", staging, cause(err))
	}
	starter := configs.Workspace()
	names, err := fs.Glob(starter, "*")
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == profilesName {
			continue
		}
		source, err := fs.ReadFile(starter, name)
		if err != nil {
			return err
		}
		if source, err = m.profile.apply(ctx, name, source, m.Inspect); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(staging, name), source, 0o644); err != nil {
			return fmt.Errorf("write %s to %s: %w", name, staging, cause(err))
		}
	}
	if err := plantTree(ctx, staging, "Start from autoresearchd's starter, profile "+m.profile.name); err != nil {
		return err
	}
	if err := os.Rename(staging, m.workspace); err != nil {
		return fmt.Errorf("move the starter to %s: %w", m.workspace, cause(err))
	}
	m.say("wrote %s: the starter for profile %s, in a git tree", show(m.workspace), m.profile.name)
	return nil
}

// configure writes autoresearch.toml, or reads the one that is there, to know
// where the data lies.
func (m *maker) configure(context.Context) error {
	file := filepath.Join(m.Dir, configName)
	if !exists(file) {
		if c, err := config.Load(systemConfig, nil); err == nil && c.Study.Workspace == m.workspace {
			m.say("configuration: %s names this workspace already", systemConfig)
			m.cache, err = c.CacheDir()
			return err
		}
		values := map[string]string{"study.workspace": workspaceName, "study.state": stateName}
		if m.ownCache() {
			values["study.cache"] = cacheName
		}
		for key, value := range m.profile.config {
			values[key] = value
		}
		if err := writeNew(file, config.Template(values)); err != nil {
			return err
		}
		m.say("wrote %s", show(file))
	}
	c, err := config.Load(file, nil)
	if err != nil {
		return err
	}
	if c.Study.Workspace != m.workspace {
		m.say("note: %s names the workspace %s, not %s", show(file), c.Study.Workspace, m.workspace)
	}
	m.cache, err = c.CacheDir()
	return err
}

// ownCache reports whether the data gets a place in Dir. The hub's stays where
// upstream keeps it; text of one's own, or a vocabulary of another size, must
// not mix with that.
func (m *maker) ownCache() bool {
	if m.Corpus == "" {
		return m.profile.name == "cpu" && os.Getenv("AUTORESEARCH_CACHE") == ""
	}
	return m.Corpus != "hub"
}

// writeNew writes a file that is complete as soon as it has its name.
func writeNew(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, cause(err))
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Link(f.Name(), path) // unlike a rename it never replaces a file
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, cause(err))
	}
	return nil
}

// data runs prepare.py for the corpus that is asked for.
func (m *maker) data(ctx context.Context) error {
	if m.Corpus == "" {
		return nil
	}
	script := filepath.Join(m.workspace, "prepare.py")
	source, err := os.ReadFile(script)
	if err != nil {
		return fmt.Errorf("prepare the data: read %s: %w", script, cause(err))
	}
	python := filepath.Join(m.workspace, venvName, "bin", "python")
	if !exists(python) {
		return fmt.Errorf("prepare the data: there is no interpreter at %s: make the venv first", python)
	}
	if manifestFits(m.cache, m.Corpus) {
		return nil
	}
	args := []string{"prepare.py"}
	if strings.Contains(string(source), `"--corpus"`) {
		args = append(args, "--corpus", m.Corpus)
	} else if m.Corpus != "hub" {
		return fmt.Errorf("prepare the data: %s does not know --corpus: run it by hand, or use `--corpus hub`, which it does by itself", script)
	}
	m.say("preparing data (%s) in %s", m.Corpus, show(m.cache))
	env := slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "AUTORESEARCH_CACHE=") })
	tail, err := m.stream(ctx, command{
		name: python, args: args, dir: m.workspace,
		env: append(env, "AUTORESEARCH_CACHE="+m.cache, "PYTHONUNBUFFERED=1"),
	})
	if err != nil {
		return failure("prepare the data with "+script, tail, err, "fix that, and the same command continues")
	}
	return nil
}
