package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"

	"autoresearchd"
	"autoresearchd/search"
	"autoresearchd/search/evolution"
	"autoresearchd/search/llm"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// shipped knows the strategies that the shipped file has tables for.
var shipped = Known{Strategies: []string{"random", "evolution", "llm", "portfolio"}, Judges: []string{"confirm", "greedy"}}

var today = Known{Strategies: []string{"random", "evolution", "portfolio"}, Judges: []string{"confirm", "greedy"}}

func TestBadFiles(t *testing.T) {
	t.Chdir("testdata")
	files, err := filepath.Glob("bad-*.toml")
	if err != nil || len(files) < 15 {
		t.Fatalf("found %d files (%v), want at least 15", len(files), err)
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			_, err := Open(file, nil, today)
			if err == nil {
				t.Fatal("was accepted")
			}
			got := err.Error() + "\n"
			golden := strings.TrimSuffix(file, ".toml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%swant:\n%s", got, want)
			}
		})
	}
}

func TestOverrides(t *testing.T) {
	file := write(t, "[study]\ntag = \"a\"\n[search.evolution]\npopulation = 16\n")
	c, err := Open(file, []string{
		"study.tag=42", "trial.budget=10s", "study.trials=8", "search.evolution.population=4",
		"search.space.MATRIX_LR={low=0.1, high=0.2}", "trial.devices=cpu", `study.baseline = 0.9979`,
		"search.strategy=random", `http.listen=""`,
	}, today)
	if err != nil {
		t.Fatal(err)
	}
	if c.Study.Tag != "42" || c.Trial.Budget != (search.Budget{Seconds: 10}) || c.Study.Trials != 8 ||
		c.Search.Strategy != "random" || c.HTTP.Listen != "" || *c.Search.Space["MATRIX_LR"].High != 0.2 ||
		!slices.Equal(c.Trial.Devices, Devices{"cpu"}) || c.Study.Baseline != (Baseline{true, 0.9979}) {
		t.Errorf("got %+v", c)
	}
	var options struct{ Population int }
	if err := c.Options("evolution")(&options); err != nil || options.Population != 4 {
		t.Errorf("population %d, %v; want 4", options.Population, err)
	}

	_, err = Open(file, []string{"study.tagg=b", "trial", "study.tag.x=1", "study..x=1", "trial.budget=3", "watchdog.exit=1h\nx=3", "search.evolution.population=many"}, today)
	want := `--set: "trial" is not KEY=VALUE; write --set trial.budget=60s
--set: study.tag.x: study.tag is not a table
--set: "study..x=1" has no dotted key before the equals sign; write --set trial.budget=60s
--set: study.tagg: unknown key; did you mean study.tag?
--set: trial.budget: "3" is not a budget; write "300s" or "400 steps"
--set: watchdog.exit: "1h\nx=3" is not a duration; write "300s", "5m" or "1h30m"`
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

func TestOptions(t *testing.T) {
	file := write(t, "[search.evolution]\npopulation = 16\n\n# more\npopulashun = 3\nelite_share = \"half\"\n[search.evolution.nested]\nextra = 1\nextar = 2\n")
	c, err := Open(file, nil, today)
	if err != nil {
		t.Fatal(err)
	}
	var options struct {
		Population int
		EliteShare float64
		Nested     struct {
			Extra int `json:"extra"`
		} `toml:"nested"`
	}
	err = c.Options("evolution")(&options)
	want := file + `:5: search.evolution.populashun: unknown key; did you mean search.evolution.population?
` + file + `:6: search.evolution.elite_share: "half" is not a number
` + file + `:9: search.evolution.nested.extar: unknown key; did you mean search.evolution.nested.extra?`
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
	if options.Population != 16 || options.Nested.Extra != 1 {
		t.Errorf("got %+v", options)
	}
	if err := c.Options("random")(&options); err != nil {
		t.Errorf("absent table: %v", err)
	}
	if err := c.Options("evolution")(options); err == nil {
		t.Error("a struct by value was accepted")
	}
}

// keys lists the dotted keys of every leaf of Config.
func keys(path []string, t reflect.Type) []string {
	var leaves []string
	for _, k := range knownKeys(path, t) {
		if strings.Contains(k, ".") {
			leaves = append(leaves, k)
		}
	}
	return leaves
}

func TestShippedFile(t *testing.T) {
	c, err := Open(filepath.Join("..", "..", "autoresearch.toml"), nil, shipped)
	if err != nil {
		t.Fatal(err)
	}
	e, l := evolution.Options{}, llm.Options{}
	if err := errors.Join(c.Options("evolution")(&e), c.Options("llm")(&l)); err != nil {
		t.Fatal(err)
	}
	if e.Population != evolution.Defaults().Population || l != llm.Defaults() || len(c.Search.Tables) != 2 {
		t.Errorf("strategy tables: %v", c.Search.Tables)
	}
	c.Search.Tables = nil
	if c.Search.Space == nil || len(c.Search.Space) != 0 {
		t.Errorf("space: %v", c.Search.Space)
	}
	c.Search.Space = nil
	if diff := Diff(Default(), c); diff != nil {
		t.Errorf("differs from the defaults in %v", diff)
	}
	text := autoresearchd.ConfigText
	index := scan(text)
	for _, key := range keys(nil, reflect.TypeFor[Config]()) {
		p, ok := index[key]
		if !ok {
			t.Errorf("%s is not in the file", key)
			continue
		}
		if line := strings.Split(text, "\n")[p.line-1]; !strings.Contains(line[strings.Index(line, "=")+1:], "#") && !strings.HasPrefix(line, "[") {
			t.Errorf("%s has no comment", key)
		}
	}
}

// TestSpaceExamples proves that what the shipped file shows in comments is true.
func TestSpaceExamples(t *testing.T) {
	text := autoresearchd.ConfigText
	for _, name := range []string{"MATRIX_LR", "DEPTH", "HEAD_DIM", "VOCAB_X"} {
		text = strings.Replace(text, "# "+name, name, 1)
	}
	c, err := Open(write(t, text), nil, shipped)
	if err != nil {
		t.Fatal(err)
	}
	s := c.Search.Space
	if !s["VOCAB_X"].Fixed || !s["MATRIX_LR"].Log || *s["DEPTH"].High != 24 || !s["DEPTH"].Integer || len(s["HEAD_DIM"].Choices) != 2 {
		t.Errorf("got %+v", s)
	}
}

func TestPaths(t *testing.T) {
	t.Setenv("HOME", "/home/ada")
	file := write(t, "[study]\nworkspace = \"work\"\nstate = \"~/state\"\n[search]\nwarm_start = [\"before\"]\n")
	c, err := Load(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(file)
	if c.Study.Workspace != filepath.Join(dir, "work") || c.Study.State != "/home/ada/state" || c.Search.WarmStart[0] != filepath.Join(dir, "before") {
		t.Errorf("got %+v", c.Study)
	}
	if got := c.Python(); got != filepath.Join(dir, "work/.venv/bin/python") {
		t.Errorf("python %s", got)
	}
	t.Setenv("AUTORESEARCH_CACHE", "")
	if got, _ := c.CacheDir(); got != "/home/ada/.cache/autoresearch" {
		t.Errorf("cache %s", got)
	}
	t.Setenv("AUTORESEARCH_CACHE", "/data")
	if got, _ := c.CacheDir(); got != "/data" {
		t.Errorf("cache %s", got)
	}
	c.Study.Cache = "/mine"
	if got, _ := c.CacheDir(); got != "/mine" {
		t.Errorf("cache %s", got)
	}
	if got := c.Tag(time.Date(2025, 11, 23, 1, 2, 3, 0, time.UTC)); got != "nov23" {
		t.Errorf("tag %s", got)
	}
	if _, err := Load(filepath.Join(dir, "none.toml"), nil); err == nil || !strings.HasSuffix(err.Error(), "none.toml: no such file or directory; make one with `autoresearchd init DIR` or name one with --config") {
		t.Errorf("missing file: %v", err)
	}
}

func TestReloadable(t *testing.T) {
	load := func(overrides ...string) *Config {
		c, err := Open(write(t, ""), append(overrides, "study.workspace=/w", "study.state=/s"), today)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	old := load()
	free := load("search.strategy=random", "search.random.x=1", "llm.max_cost=3", "log.level=debug", "search.space.DEPTH=fixed")
	if got := Diff(old, free); !slices.Equal(got, []string{"search", "llm", "log"}) {
		t.Errorf("diff %v", got)
	}
	if err := Reloadable(old, free); err != nil {
		t.Error(err)
	}
	if got := Diff(old, load()); got != nil {
		t.Errorf("diff of equals: %v", got)
	}
	bound := load("trial.budget=10s", "http.listen=", "search.strategy=random", "study.tag=b", "watchdog.exit=1s", "llm.key_file=/k", "llm.max_cost=3")
	err := Reloadable(old, bound)
	want := "reload cannot change http.listen, llm.key_file, study.tag, trial.budget, watchdog.exit: restart the daemon for that (`systemctl restart autoresearchd`)"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestTemplate(t *testing.T) {
	text := Template(map[string]string{
		"study.workspace": `wo"rk\space`, "study.state": "state", "trial.budget": "10s", "study.seed": "7", "trial.devices": `["cuda:0"]`,
		"http.listen": "", "study.trials": "8",
	})
	c, err := Open(write(t, string(text)), nil, shipped)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if filepath.Base(c.Study.Workspace) != `wo"rk\space` || c.Trial.Budget.Seconds != 10 || c.Study.Seed != 7 || c.Trial.Devices[0] != "cuda:0" || c.HTTP.Listen != "" || c.Study.Trials != 8 {
		t.Errorf("got %+v", c)
	}
	if !strings.Contains(string(text), "\nseed      = 7                     # of the search") || !strings.Contains(string(text), "\nbudget    = \"10s\"                 # counted") {
		t.Errorf("columns moved:\n%s", text)
	}
	if string(Template(nil)) != autoresearchd.ConfigText {
		t.Error("without values the text changed")
	}
	defer func() {
		if recover() == nil {
			t.Error("an unknown key did not panic")
		}
	}()
	Template(map[string]string{"study.nothing": "x"})
}

func TestUnits(t *testing.T) {
	for in, want := range map[string]Size{"40GiB": 40 << 30, " 1.5 MiB ": 3 << 19, "64KiB": 64 << 10, "7B": 7, "2GB": 2e9, "": 0, "1TiB": 1 << 40} {
		if got, err := ParseSize(in); err != nil || got != want {
			t.Errorf("%q: %d, %v", in, got, err)
		}
	}
	for _, in := range []string{"40", "GiB", "-1GiB", "NaNGiB", "1e30TiB", "3 apples"} {
		if _, err := ParseSize(in); err == nil {
			t.Errorf("%q was accepted", in)
		}
	}
	for in, want := range map[Size]string{40 << 30: "40GiB", 1: "1B", 3 << 19: "1536KiB", 0: ""} {
		if in.String() != want {
			t.Errorf("%d: %s", in, in)
		}
	}
	for in, want := range map[string]search.Budget{"300s": {Seconds: 300}, "400 steps": {Steps: 400}, "1step": {Steps: 1}, "5m": {Seconds: 300}} {
		if got, err := ParseBudget(in); err != nil || got != want {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
	for a, want := range map[[2]string]int{{"", ""}: 0, {"abc", "acb"}: 1, {"abc", ""}: 3, {"kitten", "sitting"}: 3, {"ü", "u"}: 1} {
		if got := distance(a[0], a[1]); got != want {
			t.Errorf("distance %v = %d, want %d", a, got, want)
		}
	}
}

func TestScan(t *testing.T) {
	text := "\ufeff# [not.a.table]\n" + // 1
		"a = 1 # b = 2\n" + // 2
		"\"x.y\".'z' = '''\nfoo = 3\n'''\n" + // 3 to 5
		"s = \"a \\\" ] } #\"\n" + // 6
		"[t.u]\n" + // 7
		"v.w = [ # c\n  1,\n  { p = 2, q = [3] },\n]\n" + // 8 to 11
		"in = { a = 'x', b.c = 3 }\n" + // 12
		"[[m]]\nn = 1\n[[m]]\nn = 2\n[m.o]\nk = \"\"\"x\"\"\"\"\"\n[ \"last\" ]\r\ne = 1979-05-27T07:32:00Z\r\n" // 13 to 20
	if _, err := toml.Decode(text, new(map[string]any)); err != nil {
		t.Fatal(err)
	}
	index := scan(text)
	for key, line := range map[string]int{
		"a": 2, "x.y.z": 3, "s": 6, "t": 7, "t.u": 7, "t.u.v": 8, "t.u.v.w": 8, "t.u.v.w[0]": 9, "t.u.v.w[1].p": 10, "t.u.v.w[1].q[0]": 10,
		"t.u.in.a": 12, "t.u.in.b.c": 12, "m[0]": 13, "m[0].n": 14, "m[1].n": 16, "m[1].o.k": 18, "last": 19, "last.e": 20,
	} {
		if got := index[key].line; got != line {
			t.Errorf("%s: line %d, want %d", key, got, line)
		}
	}
	for _, key := range []string{"not.a.table", "b", "foo", "not"} {
		if _, ok := index[key]; ok {
			t.Errorf("%s was found", key)
		}
	}
	text = strings.TrimPrefix(text, "\ufeff")
	for key, value := range map[string]string{"a": "1", "s": `"a \" ] } #"`, "t.u.in.b.c": "3", "t.u.in": "{ a = 'x', b.c = 3 }", "m[1].o.k": `"""x"""""`, "last.e": "1979-05-27T07:32:00Z"} {
		if p := index[key]; text[p.start:p.end] != value {
			t.Errorf("%s: %q, want %q", key, text[p.start:p.end], value)
		}
	}
}

// FuzzLoad proves that no text brings the reader down, and that the line
// finder knows every key that the TOML library knows.
func FuzzLoad(f *testing.F) {
	f.Add(autoresearchd.ConfigText)
	files, _ := filepath.Glob("testdata/bad-*.toml")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 {
			return
		}
		scan(text)
		c, _ := parse("fuzz.toml", []byte(text), nil)
		if c == nil {
			return
		}
		if err := c.Validate(today); err == nil && len(c.faults) > 0 {
			t.Error("validated with faults")
		}
		var raw map[string]any
		if _, err := toml.Decode(text, &raw); err != nil {
			t.Fatal(err)
		}
		for key := range raw {
			if p, ok := c.source.index[key]; !ok || p.line < 1 || p.line > strings.Count(text, "\n")+1 {
				t.Errorf("key %q: %+v", key, p)
			}
		}
	})
}

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "autoresearch.toml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestState finds the state directory in files that are broken elsewhere.
func TestState(t *testing.T) {
	for text, want := range map[string]string{
		"[study]\nstate = \"/s\"\n": "/s sound",
		"":                          Default().Study.State + " sound",
		"[study]\nstate = \"/s\"\n[llm]\nenabled = true\n":                          "/s unsound",
		"[llm]\nbase_ur = 1\n[study]\nworkspace = \"\"\nstate = \"/s\"":             "/s unsound",
		"[llm]\nmodels = [\n[ study ] # here\n\n  # where\nstate = \"/s\"\n[http\n": "/s unsound",
		"[llm\n":                         Default().Study.State + " unsound",
		"[study]\nstate = 7\n":           "none",
		"[study]\nstate = \"\"\n":        "none",
		"[study]\nstate = \"/s\n[llm]\n": "none",
		"study = { state = \"/s\" \n":    "none",
	} {
		state, unsound, err := State(write(t, text), today)
		got := state + " sound"
		switch {
		case err != nil:
			got = "none"
		case unsound != nil:
			got = state + " unsound"
		}
		if got != want {
			t.Errorf("%q: %s (%v), want %s", text, got, err, want)
		}
	}
	if _, _, err := State("/no/such/file", today); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("%v", err)
	}
}
