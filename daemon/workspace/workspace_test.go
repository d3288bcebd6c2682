package workspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"autoresearchd/configs"
	"autoresearchd/daemon/config"
	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
)

func isSeat() bool {
	return os.Args[0] == "autoresearchd" && len(os.Args) > 1 && os.Args[1] == "trainer"
}

func init() {
	if isSeat() {
		runtime.LockOSThread() // trainer.Main needs the first thread
	}
}

func TestMain(m *testing.M) {
	if isSeat() {
		os.Exit(trainer.Main())
	}
	os.Exit(m.Run())
}

// fakeUV stands in for uv: it makes a venv whose python is a script, and notes
// how it was called in $FAKE/calls.
const fakeUV = `#!/bin/sh
PATH=/usr/bin:/bin
case $1 in
--version) echo "uv 0.0.0"; exit ;;
venv)
  echo "venv" >>"$FAKE/calls"
  for last; do :; done
  mkdir -p "$last/bin"
  cp "$FAKE/python" "$last/bin/python" ;;
pip)
  echo "pip $(pwd)" >>"$FAKE/calls"
  case $FAKE_UV in
  network) echo "error: Failed to fetch: torch" >&2; echo "  Caused by: dns error: failed to lookup address information" >&2; exit 2 ;;
  disk) echo "error: failed to write: No space left on device (os error 28)" >&2; exit 2 ;;
  odd) echo "error: hash mismatch for torch" >&2; exit 1 ;;
  hang) echo "Downloading torch"; exec tail -f /dev/null ;;
  esac
  echo "Downloading torch (800MiB)" >&2
  echo " + torch==2.15" >&2 ;;
esac
`

// fakePython stands in for the venv's python, which runs prepare.py, and for
// the base interpreter, which makes a venv with pip.
const fakePython = `#!/bin/sh
PATH=/usr/bin:/bin
case "$1 $2" in
"-m venv") [ -z "$FAKE_NO_VENV" ] || { echo "No module named venv" >&2; exit 1; }; mkdir -p "$3/bin"; cp "$FAKE/python" "$3/bin/python" ;;
"-m pip") [ -z "$FAKE_NO_PIP" ] || { echo "Temporary failure in name resolution" >&2; exit 1; }; cp "$FAKE/uv" "${0%/*}/uv" ;;
*)
  echo "$* AUTORESEARCH_CACHE=$AUTORESEARCH_CACHE" >>"$FAKE/calls"
  [ -z "$FAKE_NO_DATA" ] || { echo "prepare.py: too little text" >&2; exit 1; }
  mkdir -p "$AUTORESEARCH_CACHE/data" "$AUTORESEARCH_CACHE/tokenizer"
  touch "$AUTORESEARCH_CACHE/data/a.parquet" "$AUTORESEARCH_CACHE/data/b.parquet" "$AUTORESEARCH_CACHE/tokenizer/tokenizer.pkl"
  printf '{"corpus": "%s", "shards": 2, "sha256": {"tokenizer/tokenizer.pkl": "0"}}' "$3" >"$AUTORESEARCH_CACHE/manifest.json"
  printf 'data: 5 MB\rdata: 10 MB\n' ;;
esac
`

// bench is a folder to initialise, with fakes on PATH.
type bench struct {
	*testing.T
	dir  string // initialised
	fake string
	out  bytes.Buffer
}

func newBench(t *testing.T) *bench {
	b := &bench{T: t, dir: filepath.Join(t.TempDir(), "study"), fake: t.TempDir()}
	git, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(b.fake, "path")
	for name, text := range map[string]string{"uv": fakeUV, "python": fakePython, "path/uv": fakeUV} {
		b.write(filepath.Join(b.fake, name), text, 0o755)
	}
	if err := os.Symlink(git, filepath.Join(path, "git")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", path)
	t.Setenv("FAKE", b.fake)
	t.Setenv("HOME", t.TempDir())
	t.Setenv("AUTORESEARCH_CACHE", "")
	t.Setenv("AUTORESEARCH_UV", "")
	plenty(t, 100<<30)
	return b
}

// plenty sets the free space and keeps the machine's own configuration out.
func plenty(t *testing.T, free uint64) {
	oldFree, oldConfig := freeBytes, systemConfig
	freeBytes = func(string) (uint64, error) { return free, nil }
	systemConfig = filepath.Join(t.TempDir(), "none.toml")
	t.Cleanup(func() { freeBytes, systemConfig = oldFree, oldConfig })
}

func (b *bench) write(path, text string, mode os.FileMode) {
	b.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) read(names ...string) string {
	b.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{b.dir}, names...)...))
	if err != nil {
		b.Fatal(err)
	}
	return string(text)
}

// calls returns what the fakes noted since the last call.
func (b *bench) calls() []string {
	b.Helper()
	file := filepath.Join(b.fake, "calls")
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.Fatal(err)
	}
	os.Remove(file)
	return strings.Fields(strings.ReplaceAll(strings.ReplaceAll(string(text), " ", "·"), b.dir, "DIR"))
}

// inspect asks a real CPython.
func inspect(ctx context.Context, source []byte) (trainer.Inspection, error) {
	p, err := trainer.NewProcess(trainer.Options{Python: os.Getenv("AUTORESEARCH_PYTHON"), Owner: fmt.Sprintf("workspace-test-%d", os.Getpid())})
	if err != nil {
		return trainer.Inspection{}, err
	}
	defer p.Close()
	return p.Inspect(ctx, source)
}

func (b *bench) init(ctx context.Context, profile, corpus string) error {
	b.out.Reset()
	return Init(ctx, Options{Dir: b.dir, Profile: profile, Corpus: corpus, Python: filepath.Join(b.fake, "python"), Inspect: inspect, Out: &b.out})
}

// must initialises and returns what was said.
func (b *bench) must(profile, corpus string) string {
	b.Helper()
	if err := b.init(b.Context(), profile, corpus); err != nil {
		b.Fatalf("%v\n%s", err, b.out.String())
	}
	return strings.ReplaceAll(b.out.String(), b.dir, "DIR")
}

// refuses initialises and compares the error.
func (b *bench) refuses(profile, corpus, want string) {
	b.Helper()
	err := b.init(b.Context(), profile, corpus)
	if err == nil {
		b.Fatalf("no error, want:\n%s", want)
	}
	if got := strings.ReplaceAll(strings.ReplaceAll(err.Error(), b.dir, "DIR"), b.fake, "FAKE"); got != want {
		b.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func (b *bench) git(args ...string) string {
	b.Helper()
	out, err := exec.Command("git", append([]string{"-C", filepath.Join(b.dir, "workspace")}, args...)...).CombinedOutput()
	if err != nil {
		b.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestInit(t *testing.T) {
	b := newBench(t)
	want := `wrote DIR/workspace: the starter for profile cpu, in a git tree
wrote DIR/autoresearch.toml
installing the packages of DIR/workspace/requirements.lock (torch and its libraries: 5 GB, half a minute or more)
  Downloading torch (800MiB)
the venv is ready: DIR/workspace/.venv
preparing data (python) in DIR/cache
  data: 5 MB
  data: 10 MB
`
	if got := b.must("cpu", "python"); got != want {
		t.Errorf("said:\n%s\nwant:\n%s", got, want)
	}
	if got, want := b.calls(), []string{"venv", "pip·DIR/workspace", "prepare.py·--corpus·python·AUTORESEARCH_CACHE=DIR/cache"}; !slices.Equal(got, want) {
		t.Errorf("calls %q, want %q", got, want)
	}

	for name, lines := range map[string][]string{
		"train.py":   {"DEPTH = 2 ", "MODEL_DIM = 64 ", "DEVICE_BATCH_SIZE = 32 "},
		"prepare.py": {"MAX_SEQ_LEN = 128 ", "TIME_BUDGET = 10 ", "VOCAB_SIZE = 1024 "},
	} {
		script := b.read("workspace", name)
		for _, line := range lines {
			if !strings.Contains(script, "\n"+line) {
				t.Errorf("%s has no line %s", name, line)
			}
		}
	}
	entries, err := os.ReadDir(filepath.Join(b.dir, "workspace"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{".git", ".gitignore", ".venv", "prepare.py", "program.md", "pyproject.toml", "requirements.lock", "train.py"}; !slices.Equal(names, want) {
		t.Errorf("files %v, want %v", names, want)
	}
	if got := b.git("status", "--porcelain"); got != "" {
		t.Errorf("the tree is dirty: %s", got)
	}
	if got := b.git("log", "--format=%an|%ae|%s|%D"); got != "autoresearchd|autoresearchd@localhost|Start from autoresearchd's starter, profile cpu|HEAD -> main" {
		t.Errorf("log: %s", got)
	}

	c, err := config.Open(filepath.Join(b.dir, "autoresearch.toml"), nil, config.Known{Strategies: []string{"evolution", "llm", "portfolio", "random"}, Judges: []string{"confirm", "greedy"}})
	if err != nil {
		t.Fatal(err)
	}
	if c.Study.Workspace != filepath.Join(b.dir, "workspace") || c.Study.State != filepath.Join(b.dir, "state") || c.Study.Cache != filepath.Join(b.dir, "cache") ||
		c.Trial.Devices[0] != "cpu" || c.Trial.Budget != (search.Budget{Seconds: 10}) || c.HTTP.Listen != config.Default().HTTP.Listen {
		t.Errorf("configuration %+v", c)
	}

	if got := b.must("cpu", "python"); got != "" || len(b.calls()) > 0 {
		t.Errorf("with nothing to do it said: %s", got)
	}
	if left, _ := filepath.Glob(filepath.Join(b.dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestHopperIsTheStarterAsItStands(t *testing.T) {
	b := newBench(t)
	b.must("hopper", "")
	for _, name := range []string{"train.py", "prepare.py"} {
		want, err := fs.ReadFile(configs.Workspace(), name)
		if err != nil {
			t.Fatal(err)
		}
		if b.read("workspace", name) != string(want) {
			t.Errorf("%s was changed", name)
		}
	}
	c, err := config.Load(filepath.Join(b.dir, "autoresearch.toml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Study.Cache != "" || c.Trial.Budget.Seconds != 300 || c.Trial.Devices[0] != "auto" {
		t.Errorf("configuration %+v", c)
	}
	// The hub's data stays where upstream has it.
	b.calls()
	b.must("hopper", "hub")
	if got, want := b.calls(), []string{"prepare.py·--corpus·hub·AUTORESEARCH_CACHE=" + os.Getenv("HOME") + "/.cache/autoresearch"}; !slices.Equal(got, want) {
		t.Errorf("calls %q, want %q", got, want)
	}
}

func TestProfilesNameTheSameConstants(t *testing.T) {
	cpu, err := findProfile("cpu")
	if err != nil {
		t.Fatal(err)
	}
	hopper, err := findProfile("hopper")
	if err != nil {
		t.Fatal(err)
	}
	for script, values := range cpu.values {
		for name := range values {
			if _, ok := hopper.values[script][name]; !ok {
				t.Errorf("hopper does not set %s of %s", name, script)
			}
		}
	}
}

func TestWhatIsThereStays(t *testing.T) {
	b := newBench(t)
	b.must("cpu", "")
	train, toml := filepath.Join(b.dir, "workspace/train.py"), filepath.Join(b.dir, "autoresearch.toml")
	b.write(train, "# mine\n", 0o644)
	b.write(toml, "[study]\nworkspace = \"workspace\"\nstate = \"elsewhere\"\n", 0o644)
	b.calls()
	if got := b.must("hopper", ""); got != "" {
		t.Errorf("said %s", got)
	}
	if b.read("workspace", "train.py") != "# mine\n" || !strings.Contains(b.read("autoresearch.toml"), "elsewhere") {
		t.Error("a user's file was overwritten")
	}
	// Data goes where the configuration has it.
	t.Setenv("AUTORESEARCH_CACHE", filepath.Join(b.dir, "mine"))
	b.must("", "python")
	if got, want := b.calls(), []string{"prepare.py·--corpus·python·AUTORESEARCH_CACHE=DIR/mine"}; !slices.Equal(got, want) {
		t.Errorf("calls %q, want %q", got, want)
	}
	b.write(toml, "[study]\nworkspace = \"/other\"\nstate = \"state\"\n", 0o644)
	if got := b.must("", ""); got != "note: DIR/autoresearch.toml names the workspace /other, not DIR/workspace\n" {
		t.Errorf("said %s", got)
	}
}

func TestUpstreamClone(t *testing.T) {
	b := newBench(t)
	b.write(filepath.Join(b.dir, "workspace/train.py"), "# upstream\n", 0o644)
	b.write(filepath.Join(b.dir, "workspace/pyproject.toml"), "[project]\n", 0o644)
	want := `note: DIR/workspace has a train.py but no prepare.py; it is left as it is
note: DIR/workspace has a train.py but no .git; it is left as it is
wrote DIR/autoresearch.toml
note: DIR/workspace has no requirements.lock, so its venv is yours to make:
  cd DIR/workspace && uv sync --python ` + b.fake + `/python
`
	if got := b.must("hopper", ""); got != want {
		t.Errorf("said:\n%s\nwant:\n%s", got, want)
	}
	if entries, _ := os.ReadDir(filepath.Join(b.dir, "workspace")); len(entries) != 2 {
		t.Errorf("the clone was touched: %v", entries)
	}
	if got := b.calls(); len(got) > 0 {
		t.Errorf("calls %q", got)
	}
	b.refuses("hopper", "hub", "prepare the data: read DIR/workspace/prepare.py: no such file or directory")
	b.write(filepath.Join(b.dir, "workspace/prepare.py"), "# no options but --num-shards\n", 0o644)
	b.refuses("hopper", "hub", "prepare the data: there is no interpreter at DIR/workspace/.venv/bin/python: make the venv first")
	b.write(filepath.Join(b.dir, "workspace/.venv/bin/python"), fakePython, 0o755)
	b.refuses("hopper", "python", "prepare the data: DIR/workspace/prepare.py does not know --corpus: run it by hand, or use `--corpus hub`, which it does by itself")
	b.must("hopper", "hub")
	if got, want := b.calls(), []string{"prepare.py·AUTORESEARCH_CACHE=" + os.Getenv("HOME") + "/.cache/autoresearch"}; !slices.Equal(got, want) {
		t.Errorf("calls %q, want %q", got, want)
	}
}

func TestVenv(t *testing.T) {
	b := newBench(t)
	b.must("cpu", "")
	b.calls()
	lock := filepath.Join(b.dir, "workspace/requirements.lock")
	b.write(lock, b.read("workspace/requirements.lock")+"# changed\n", 0o644)
	b.must("cpu", "")
	if got := b.calls(); !slices.Equal(got, []string{"pip·DIR/workspace"}) {
		t.Errorf("after a change of the lock: %v", got)
	}
	if err := os.Remove(filepath.Join(b.dir, "workspace/.venv/bin/python")); err != nil {
		t.Fatal(err)
	}
	b.must("cpu", "")
	if got := b.calls(); !slices.Equal(got, []string{"venv", "pip·DIR/workspace"}) {
		t.Errorf("after the interpreter went away: %v", got)
	}
	b.write(filepath.Join(b.dir, "workspace/.venv", stampName), "/another/python\n", 0o644)
	b.must("cpu", "")
	if got := b.calls(); !slices.Equal(got, []string{"venv", "pip·DIR/workspace"}) {
		t.Errorf("for another base interpreter: %v", got)
	}
	// A venv of the user's own has no stamp.
	if err := os.Remove(filepath.Join(b.dir, "workspace/.venv", stampName)); err != nil {
		t.Fatal(err)
	}
	if got := b.must("cpu", ""); got != "" || len(b.calls()) > 0 {
		t.Errorf("the user's own venv was touched: %s", got)
	}
	if err := os.Remove(filepath.Join(b.dir, "workspace/.venv/bin/python")); err != nil {
		t.Fatal(err)
	}
	b.refuses("cpu", "", "make the venv: DIR/workspace/.venv has no interpreter in bin/python: delete the folder and run the same command again")
}

func TestInterruptedInstallation(t *testing.T) {
	b := newBench(t)
	t.Setenv("FAKE_UV", "hang")
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stopped by the test")
	b.out.Reset()
	err := Init(ctx, Options{Dir: b.dir, Profile: "cpu", Python: filepath.Join(b.fake, "python"), Inspect: inspect, Out: writer(func(p []byte) {
		if strings.Contains(string(p), "Downloading") {
			cancel(stop)
		}
	})})
	if !errors.Is(err, context.Canceled) || err.Error() != "install the packages of requirements.lock: context canceled: the same command continues from here" {
		t.Fatal(err)
	}
	t.Setenv("FAKE_UV", "")
	b.calls()
	b.must("cpu", "")
	if got := b.calls(); !slices.Equal(got, []string{"pip·DIR/workspace"}) {
		t.Errorf("the second time: %v", got)
	}
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }

func TestRefusals(t *testing.T) {
	b := newBench(t)
	text := filepath.Join(b.fake, "calls.txt")
	b.write(text, "x", 0o644)
	b.refuses("gpu", "", `find the profile "gpu": the profiles are cpu and hopper`)
	b.refuses("cpu", "/none", "find the corpus /none: no such file or directory: name a folder of text files, hub or python")
	b.refuses("cpu", text, "find the corpus FAKE/calls.txt: it is not a folder: name the folder that holds the text files, hub or python")

	plenty(t, 2<<30)
	b.refuses("cpu", "", "make the venv: DIR/workspace has 2.0 GB free, torch and its libraries need 6: free some or choose another folder")
	plenty(t, 100<<30)
	t.Setenv("FAKE_UV", "network")
	b.refuses("cpu", "", "install the packages of requirements.lock: the network or the server cannot be reached: check it, or name a mirror with UV_DEFAULT_INDEX, and run the same command again\nerror: Failed to fetch: torch\n  Caused by: dns error: failed to lookup address information")
	t.Setenv("FAKE_UV", "disk")
	b.refuses("cpu", "", "install the packages of requirements.lock: no space left on the disk: free some and run the same command again\nerror: failed to write: No space left on device (os error 28)")
	t.Setenv("FAKE_UV", "odd")
	b.refuses("cpu", "", "install the packages of requirements.lock: exit status 1\nerror: hash mismatch for torch")
	t.Setenv("FAKE_UV", "")
	t.Setenv("FAKE_NO_DATA", "1")
	b.refuses("cpu", "python", "prepare the data with DIR/workspace/prepare.py: exit status 1\nprepare.py: too little text")

	t.Setenv("AUTORESEARCH_UV", "/none/uv")
	if err := os.RemoveAll(filepath.Join(b.dir, "workspace/.venv")); err != nil {
		t.Fatal(err)
	}
	b.refuses("cpu", "", "run uv: AUTORESEARCH_UV=/none/uv does not work (fork/exec /none/uv: no such file or directory): unset it or name a uv that does")

	if err := os.Remove(filepath.Join(b.dir, "workspace/train.py")); err != nil {
		t.Fatal(err)
	}
	b.refuses("cpu", "", "write the starter to DIR/workspace: it holds .git but no train.py: move that away or name another folder")

	b.dir = filepath.Join(text, "study")
	b.refuses("cpu", "", "make DIR: not a directory: choose a folder that you may write to")
	if err := Init(t.Context(), Options{}); err == nil || err.Error() != "make a workspace: no folder is named: write `autoresearchd init DIR`" {
		t.Error(err)
	}
	b.dir = t.TempDir()
	if err := os.Remove(filepath.Join(b.fake, "path/git")); err != nil {
		t.Fatal(err)
	}
	b.refuses("cpu", "", "make the git tree: git is not on PATH: install git")
	if left, _ := os.ReadDir(b.dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestPrivateUV(t *testing.T) {
	b := newBench(t)
	if err := os.Remove(filepath.Join(b.fake, "path/uv")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("FAKE_NO_VENV", "1")
	b.refuses("cpu", "", "install uv: make a venv with FAKE/python: exit status 1\nNo module named venv")
	t.Setenv("FAKE_NO_VENV", "")
	t.Setenv("FAKE_NO_PIP", "1")
	b.refuses("cpu", "", "install uv by pip: the network or the server cannot be reached: check it, or install uv yourself (https://docs.astral.sh/uv) and put it on PATH or in AUTORESEARCH_UV\nTemporary failure in name resolution")
	t.Setenv("FAKE_NO_PIP", "")
	if got := b.must("cpu", ""); !strings.HasPrefix(got, "installing uv into DIR/.uv\ninstalling the packages") {
		t.Errorf("said %s", got)
	}
	// A shim that stands for nothing is no uv.
	b.write(filepath.Join(b.fake, "path/uv"), "#!/bin/sh\nexit 127\n", 0o755)
	if err := os.RemoveAll(filepath.Join(b.dir, "workspace/.venv")); err != nil {
		t.Fatal(err)
	}
	if got := b.must("cpu", ""); strings.Contains(got, "installing uv") || !strings.Contains(got, "the venv is ready") {
		t.Errorf("said %s", got)
	}
}

// TestGitOfTheUserTakesNoPart plants a template with a hook, a filter, a
// monitor and signing in the user's configuration.
func TestGitOfTheUserTakesNoPart(t *testing.T) {
	b := newBench(t)
	home := os.Getenv("HOME")
	trap := filepath.Join(home, "trap")
	b.write(trap, "#!/bin/sh\n/usr/bin/touch "+home+"/sprung\n/bin/cat\n", 0o755)
	for _, hook := range []string{"pre-commit", "post-commit", "reference-transaction", "post-index-change"} {
		b.write(filepath.Join(home, "hooks", hook), "#!/bin/sh\n/usr/bin/touch "+home+"/sprung\n", 0o755)
		b.write(filepath.Join(home, "template/hooks", hook), "#!/bin/sh\n/usr/bin/touch "+home+"/sprung\n", 0o755)
	}
	b.write(filepath.Join(home, "attributes"), "* filter=trap text eol=crlf\n", 0o644)
	b.write(filepath.Join(home, ".gitconfig"), "[init]\n\ttemplateDir = "+home+"/template\n\tdefaultBranch = trunk\n[core]\n\thooksPath = "+home+"/hooks\n\tfsmonitor = "+trap+
		"\n\tattributesFile = "+home+"/attributes\n\tautocrlf = true\n[filter \"trap\"]\n\tclean = "+trap+"\n[commit]\n\tgpgSign = true\n[gpg]\n\tprogram = "+trap+"\n[user]\n\tuseConfigOnly = true\n", 0o644)
	t.Setenv("GIT_DIR", filepath.Join(home, "elsewhere"))
	b.must("cpu", "")
	if exists(filepath.Join(home, "sprung")) || exists(filepath.Join(home, "elsewhere")) || exists(filepath.Join(b.dir, "workspace/.git/hooks")) {
		t.Error("the user's git configuration took part")
	}
}

func TestServiceConfiguration(t *testing.T) {
	b := newBench(t)
	systemConfig = filepath.Join(b.fake, "etc.toml")
	b.write(systemConfig, "[study]\nworkspace = \""+b.dir+"/workspace\"\nstate = \""+b.dir+"\"\n", 0o644)
	t.Setenv("AUTORESEARCH_CACHE", filepath.Join(b.dir, "shared"))
	if got := b.must("hopper", "hub"); !strings.Contains(got, "configuration: "+systemConfig+" names this workspace already\n") {
		t.Errorf("said %s", got)
	}
	if exists(filepath.Join(b.dir, "autoresearch.toml")) {
		t.Error("a second configuration was written")
	}
	if got := b.calls(); !slices.Contains(got, "prepare.py·--corpus·hub·AUTORESEARCH_CACHE=DIR/shared") {
		t.Errorf("calls %q", got)
	}
}

func TestManifestOfAnInterruptedRun(t *testing.T) {
	b := newBench(t)
	b.must("cpu", "python")
	manifest := filepath.Join(b.dir, "cache/manifest.json")
	b.calls()
	for _, text := range []string{`{"corpus": "python", "shards": 0, "sha256": {}}`, `{"corpus": "python", "shards": 3, "sha256": {"tokenizer/tokenizer.pkl": "0"}}`, `{"corpus": "hub", "shards": 2, "sha256": {"tokenizer/tokenizer.pkl": "0"}}`, "{"} {
		b.write(manifest, text, 0o644)
		b.must("cpu", "python")
		if len(b.calls()) != 1 {
			t.Errorf("%s was taken for whole", text)
		}
	}
}
