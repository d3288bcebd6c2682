package workspace

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

const (
	venvName  = ".venv"
	lockName  = "requirements.lock"
	stampName = ".autoresearchd" // in the venv: the interpreter and the lock's hash
	uvVersion = "0.13.9"         // as in scripts/tools.sh
	needBytes = 6 << 30          // torch with its CUDA libraries, and a margin
	unstamped = "incomplete"
)

// freeBytes is what an unprivileged user may still write beneath path.
var freeBytes = func(path string) (uint64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil {
		return 0, err
	}
	return s.Bavail * uint64(s.Bsize), nil
}

// venv makes workspace/.venv out of requirements.lock. One that somebody else
// made (it has no stamp) is left alone.
func (m *maker) venv(ctx context.Context) error {
	venv := filepath.Join(m.workspace, venvName)
	stamp := filepath.Join(venv, stampName)
	python := filepath.Join(venv, "bin", "python")
	_, err := os.Stat(python) // through the link: the base interpreter must be there
	runs := err == nil
	written, err := os.ReadFile(stamp)
	if errors.Is(err, fs.ErrNotExist) && exists(venv) {
		if !runs {
			return fmt.Errorf("make the venv: %s has no interpreter in bin/python: delete the folder and run the same command again", venv)
		}
		return nil
	}
	lock, err := os.ReadFile(filepath.Join(m.workspace, lockName))
	if errors.Is(err, fs.ErrNotExist) {
		m.say("note: %s has no %s, so its venv is yours to make:\n  %s", show(m.workspace), lockName, m.venvByHand())
		return nil
	}
	if err != nil {
		return fmt.Errorf("make the venv: read %s: %w", filepath.Join(m.workspace, lockName), cause(err))
	}
	if m.Python == "" {
		return errors.New("make the venv: no base interpreter is known: set AUTORESEARCH_PYTHON to the one that autoresearchd was built with")
	}
	want := fmt.Sprintf("%s\n%x\n", m.Python, sha256.Sum256(lock))
	if runs && string(written) == want {
		return nil
	}
	uv, err := m.findUV(ctx)
	if err != nil {
		return err
	}
	if base, _, _ := strings.Cut(string(written), "\n"); !runs || base != m.Python {
		if err := os.RemoveAll(venv); err != nil {
			return fmt.Errorf("make the venv again: %w", err)
		}
		free, err := freeBytes(m.workspace)
		if err != nil {
			return fmt.Errorf("check the free space in %s: %w", m.workspace, err)
		}
		if free < needBytes {
			return fmt.Errorf("make the venv: %s has %.1f GB free, torch and its libraries need %.0f: free some or choose another folder", m.workspace, float64(free)/(1<<30), float64(needBytes)/(1<<30))
		}
		// The stamp goes first, so that a venv that was interrupted is known for ours.
		err = os.Mkdir(venv, 0o755)
		if err == nil {
			err = os.WriteFile(stamp, []byte(m.Python+"\n"+unstamped+"\n"), 0o644)
		}
		if err != nil {
			return fmt.Errorf("make the venv %s: %w", venv, cause(err))
		}
		tail, err := m.stream(ctx, command{
			name: uv, args: []string{"venv", "--quiet", "--no-project", "--allow-existing", "--python", m.Python, venv}, dir: m.workspace, env: uvEnviron(),
		})
		if err != nil {
			return failure("make the venv with "+m.Python, tail, err, "check it and run the same command again")
		}
	}
	m.say("installing the packages of %s (torch and its libraries: 5 GB, half a minute or more)", show(filepath.Join(m.workspace, lockName)))
	tail, err := m.stream(ctx, command{
		name: uv, args: []string{"pip", "install", "--python", python, "--require-hashes", "-r", lockName}, dir: m.workspace, env: uvEnviron(),
		hide: func(line string) bool { // one line a package, twice
			return strings.HasPrefix(line, " + ") || strings.HasPrefix(line, " Downloaded ")
		},
	})
	if err != nil {
		return failure("install the packages of "+lockName, tail, err, "check it, or name a mirror with UV_DEFAULT_INDEX, and run the same command again")
	}
	if err := os.WriteFile(stamp, []byte(want), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", stamp, cause(err))
	}
	m.say("the venv is ready: %s", show(venv))
	return nil
}

func (m *maker) venvByHand() string {
	base := m.Python
	if base == "" {
		base = "python3"
	}
	if exists(filepath.Join(m.workspace, "pyproject.toml")) {
		return fmt.Sprintf("cd %s && uv sync --python %s", show(m.workspace), base)
	}
	return fmt.Sprintf("cd %s && uv venv --python %s && uv pip install torch", show(m.workspace), base)
}

// uvEnviron is the user's environment (mirrors, proxies, caches) less what
// would turn uv to another environment.
func uvEnviron() []string {
	return slices.DeleteFunc(os.Environ(), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return slices.Contains([]string{"VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONHOME", "UV_PYTHON", "UV_PROJECT_ENVIRONMENT"}, name)
	})
}

// findUV returns a uv that runs: the one that AUTORESEARCH_UV names, the one on
// PATH, or a private one in Dir/.uv.
func (m *maker) findUV(ctx context.Context) (string, error) {
	works := func(uv string) error { return exec.CommandContext(ctx, uv, "--version").Run() }
	if named := os.Getenv("AUTORESEARCH_UV"); named != "" {
		if err := works(named); err != nil {
			return "", fmt.Errorf("run uv: AUTORESEARCH_UV=%s does not work (%w): unset it or name a uv that does", named, err)
		}
		return named, nil
	}
	// A shim on PATH (pyenv's) may stand for nothing.
	if uv, err := exec.LookPath("uv"); err == nil && works(uv) == nil {
		return uv, nil
	}
	home := filepath.Join(m.Dir, ".uv")
	uv := filepath.Join(home, "bin", "uv")
	if works(uv) == nil {
		return uv, nil
	}
	const other = "or install uv yourself (https://docs.astral.sh/uv) and put it on PATH or in AUTORESEARCH_UV"
	m.say("installing uv into %s", show(home))
	if err := os.RemoveAll(home); err != nil {
		return "", fmt.Errorf("install uv: %w", err)
	}
	tail, err := m.stream(ctx, command{name: m.Python, args: []string{"-m", "venv", home}, env: uvEnviron()})
	if err != nil {
		return "", failure("install uv: make a venv with "+m.Python, tail, err, "install its venv module (Debian and Ubuntu: apt install python3-venv), "+other)
	}
	tail, err = m.stream(ctx, command{
		name: filepath.Join(home, "bin", "python"), args: []string{"-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv==" + uvVersion}, env: uvEnviron(),
	})
	if err != nil {
		return "", failure("install uv by pip", tail, err, "check it, "+other)
	}
	return uv, nil
}

// manifestFits reports whether the cache holds the corpus, whole, as the
// starter's prepare.py leaves it.
func manifestFits(cache, corpus string) bool {
	text, err := os.ReadFile(filepath.Join(cache, "manifest.json"))
	if err != nil {
		return false
	}
	var manifest struct {
		Corpus string            `json:"corpus"`
		Shards int               `json:"shards"`
		SHA256 map[string]string `json:"sha256"`
	}
	shards, _ := filepath.Glob(filepath.Join(cache, "data", "*.parquet"))
	return json.Unmarshal(text, &manifest) == nil && manifest.Corpus == corpus && manifest.Shards > 1 && len(shards) >= manifest.Shards &&
		manifest.SHA256["tokenizer/tokenizer.pkl"] != "" && exists(filepath.Join(cache, "tokenizer", "tokenizer.pkl"))
}
