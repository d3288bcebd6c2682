package config

import (
	"fmt"
	"math"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"autoresearchd/search"
	"autoresearchd/search/prune"
)

// Known lists the plugins that are linked in.
type Known struct {
	Strategies []string
	Judges     []string
}

var (
	tagForm        = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	deviceForm     = regexp.MustCompile(`^(auto|all|cpu|(cuda|cpu):(0|[1-9][0-9]?))$`)
	variableForm   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	credentialForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@:-]*$`)
	nameForm       = regexp.MustCompile(`^(--?)?[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_]*)?(\[[0-9]+\])?$`) // DEPTH, BETAS[0], Settings.depth, --depth
)

// Validate checks every value and returns all Faults, those of Load included.
func (c *Config) Validate(known Known) error {
	v := &validator{decoder{source: c.source, faults: slices.Clone(c.faults)}}
	v.study(c.Study)
	v.trial(c.Trial, len(c.Seats) > 0)
	v.seats(c)
	v.watchdog(c.Watchdog, c.Trial.Budget.Seconds)
	v.search(c.Search, known)
	v.name("judge.rule", c.Judge.Rule, known.Judges, "judge")
	if on := c.Judge.ConfirmOn; on != "" && c.Judge.Rule != search.Confirm {
		v.bad("judge.confirm_on", on, "is where gains are confirmed, and the rule confirms none", `use rule = "confirm", or remove confirm_on`)
	}
	v.program("judge.check", c.Judge.Check, filepath.Dir(c.source.file))
	if v.oneOf("pruning.rule", c.Pruning.Rule, prune.Names()...) && c.Pruning.Rule != prune.Off && c.Trial.Isolation == "inprocess" {
		v.bad("pruning.rule", c.Pruning.Rule, "ends trials, and one in the daemon's own process ends with the daemon", `use "off", or [trial] isolation = "process"`)
	}
	v.llm(c.LLM, c.Study.Workspace)
	if c.Search.Strategy == "llm" && !c.LLM.Enabled {
		v.bad("search.strategy", "llm", "needs a model server", "set enabled = true, base_url and models in [llm]")
	}
	if l := c.HTTP.Listen; l != "" {
		_, port, err := net.SplitHostPort(l)
		if n, perr := strconv.Atoi(port); err != nil || perr != nil || n < 0 || n > 65535 {
			v.bad("http.listen", l, "is not an address", `write "127.0.0.1:9797", or "" for no server`)
		}
	}
	v.notify(c.Notify, c.Study.Workspace)
	v.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	if len(v.faults) > 0 {
		return v.faults.sorted()
	}
	return nil
}

type validator struct{ decoder }

func (v *validator) bad(key string, value any, problem, hint string) {
	v.fail(strings.Split(key, "."), value, problem, hint)
}

func (v *validator) oneOf(key, value string, choices ...string) bool {
	if slices.Contains(choices, value) {
		return true
	}
	quoted := make([]string, len(choices))
	for i, c := range choices {
		quoted[i] = strconv.Quote(c)
	}
	v.bad(key, value, "is not a choice", "write "+strings.Join(quoted[:len(quoted)-1], ", ")+" or "+quoted[len(quoted)-1])
	return false
}

// name checks the name of a plugin.
func (v *validator) name(key, value string, known []string, kind string) {
	if slices.Contains(known, value) {
		return
	}
	sorted := slices.Sorted(slices.Values(known))
	list := strings.Join(sorted, ", ")
	hint := "known are: " + list
	if near := Nearest(value, sorted); near != "" {
		hint = "did you mean " + near + "? " + hint
	}
	v.bad(key, value, "is not a "+kind, hint)
}

// program checks a command, empty for none, whose program lies in dir if its
// path is relative.
func (v *validator) program(key string, command []string, dir string) {
	if len(command) == 0 {
		return
	}
	name := command[0]
	places := []string{name}
	switch {
	case name == "":
		v.bad(key, nil, "does not name a program", `write ["./check.py", "argument"], or [] for none`)
		return
	case !strings.Contains(name, "/"):
		places = nil
		for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
			places = append(places, filepath.Join(dir, name))
		}
	case !filepath.IsAbs(name):
		places[0] = filepath.Join(dir, name)
	}
	problem, hint := "is not a program that is there", "give its path, from this file's folder or in full, or a name that is on PATH"
	for _, place := range places {
		info, err := os.Stat(place)
		if err != nil {
			continue
		}
		if info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return
		}
		problem, hint = "is not executable", "chmod +x "+place
	}
	v.bad(key, name, problem, hint)
}

func (v *validator) study(s Study) {
	if s.Tag != "" && (!tagForm.MatchString(s.Tag) || strings.Contains(s.Tag, "..") || strings.HasSuffix(s.Tag, ".") || strings.HasSuffix(s.Tag, ".lock") || len(s.Tag) > 100) {
		v.bad("study.tag", s.Tag, "cannot name a branch", "use letters, digits, dot, dash and underscore")
	}
	if s.Workspace == "" {
		v.bad("study.workspace", "", "is empty", "name the git work tree with train.py")
	}
	if s.State == "" {
		v.bad("study.state", "", "is empty", "name the folder that holds the journal")
	}
	if s.Trials < 0 {
		v.bad("study.trials", s.Trials, "is negative", "write 0 for a study that never stops")
	}
	if b := s.Baseline; b.Recorded && !search.Plausible(b.ValBPB) {
		v.bad("study.baseline", b.ValBPB, "is not a score in bits per byte", `write "measure" or a recorded number such as 0.997900`)
	}
}

func (v *validator) trial(t Trial, elsewhere bool) {
	if t.Python == "" {
		v.bad("trial.python", "", "is empty", `write ".venv/bin/python"`)
	}
	if len(t.Devices) > 0 || !elsewhere {
		v.devices(t)
	}
	v.oneOf("trial.isolation", t.Isolation, "process", "inprocess")
	v.oneOf("trial.standby", t.Standby, "auto", "off")
	v.oneOf("trial.overlap", t.Overlap, "auto", "off")
	if v.oneOf("trial.sandbox", t.Sandbox, "require", "auto", "off") && t.Sandbox == "require" && t.Isolation == "inprocess" {
		v.bad("trial.sandbox", t.Sandbox, `cannot be had with trial.isolation = "inprocess", which runs trials in the daemon itself`, `use isolation = "process", or sandbox = "off"`)
	}
	if t.Memory > 0 && t.Memory < 64<<20 {
		v.bad("trial.memory", t.Memory.String(), "is too little for a Python process", `write at least "64MiB", "" for what leaves the machine room, or "none"`)
	}
	if t.Processes < 1 {
		v.bad("trial.processes", t.Processes, "is out of range", "it must be at least 1")
	}
	if t.LogLimit < 4<<10 {
		v.bad("trial.log_limit", t.LogLimit.String(), "is out of range", `write at least "4KiB"`)
	}
	if t.Quota > 0 && t.Quota < 1<<20 {
		v.bad("trial.quota", t.Quota.String(), "is out of range", `write at least "1MiB", or "" for no cap`)
	}
}

// mostDevices is how many seats a study has at the most.
const mostDevices = 64

const devicesHint = `write "auto", "all", "cpu", ["cuda:0", "cuda:1"] or ["cpu:0", "cpu:1"]`

// devices finds what is wrong with any machine; package device finds the rest.
func (v *validator) devices(t Trial) {
	const key = "trial.devices"
	ds := t.Devices
	list := make([]any, len(ds))
	for i, d := range ds {
		list[i] = d
	}
	for i, d := range ds {
		switch {
		case !deviceForm.MatchString(d):
			v.bad(key, d, "is not a device", devicesHint)
			return
		case slices.Contains(ds[:i], d):
			v.bad(key, list, "names "+d+" twice", "a device has one trial at a time")
			return
		}
	}
	if len(ds) > mostDevices {
		v.bad(key, nil, fmt.Sprintf("names %d devices", len(ds)), fmt.Sprintf("a study has at most %d", mostDevices))
		return
	}
	shares := 0 // of the CPU
	for _, d := range ds {
		switch {
		case d == "cpu" && len(ds) > 1:
			v.bad(key, list, "has other devices beside cpu, which is all cores", `write ["cpu:0", "cpu:1"] for seats that share them`)
			return
		case !strings.Contains(d, ":") && len(ds) > 1:
			v.bad(key, list, "mixes "+d+" with other devices", devicesHint)
			return
		case strings.HasPrefix(d, "cpu:"):
			shares++
		}
	}
	switch {
	case len(ds) == 0:
		v.bad(key, list, "names no device", devicesHint)
	case shares > 0 && shares < len(ds):
		v.bad(key, list, "mixes GPUs with the CPU", "their scores cannot be compared: name one kind")
		return
	case len(ds) > 1 && t.Isolation == "inprocess":
		v.bad("trial.isolation", t.Isolation, "has one interpreter, and so room for one device", `use "process", or name one device in trial.devices`)
	}
	for n := range shares {
		if d := "cpu:" + strconv.Itoa(n); !slices.Contains(ds, d) {
			v.bad(key, list, "leaves out "+d, "shares of the CPU are numbered from cpu:0 on")
			return
		}
	}
}

func (v *validator) watchdog(w Watchdog, budget float64) {
	for _, f := range []struct {
		key   string
		value time.Duration
	}{
		{"startup", w.Startup}, {"compile", w.Compile}, {"stall", w.Stall}, {"evaluate", w.Evaluate},
		{"exit", w.Exit}, {"total", w.Total},
	} {
		if f.value <= 0 {
			v.bad("watchdog."+f.key, f.value.String(), "is not a positive duration", "every phase needs a deadline")
		}
	}
	if w.Grace < 0 {
		v.bad("watchdog.grace", w.Grace.String(), "is negative", `write "0s" to kill at once`)
	}
	if w.Total > 0 && budget >= w.Total.Seconds() {
		v.bad("watchdog.total", w.Total.String(), fmt.Sprintf("would end every trial before its budget of %gs is spent", budget), "leave room for start-up, compiling and the evaluation")
	}
}

func (v *validator) search(s Search, known Known) {
	v.name("search.strategy", s.Strategy, known.Strategies, "strategy")
	names := make([]string, 0, len(s.Tables))
	for name := range s.Tables {
		names = append(names, name)
	}
	sort.Strings(names)
	sorted := slices.Sorted(slices.Values(append([]string{"space"}, known.Strategies...)))
	for _, name := range names {
		if slices.Contains(known.Strategies, name) {
			continue
		}
		problem, hint := "is not a table of [search]: no strategy has this name", "known are: "+strings.Join(sorted, ", ")
		if near := Nearest(name, sorted); near != "" {
			hint = "did you mean search." + near + "? " + hint
		}
		v.fail([]string{"search", name}, nil, problem, hint)
	}
	axes := make([]string, 0, len(s.Space))
	for name := range s.Space {
		axes = append(axes, name)
	}
	sort.Strings(axes)
	for _, name := range axes {
		v.axis([]string{"search", "space", name}, s.Space[name])
	}
}

func (v *validator) axis(path []string, a Axis) {
	if !nameForm.MatchString(path[2]) {
		v.fail(path, nil, "is not the name of a constant", `write it as "autoresearchd check" does: DEPTH, "BETAS[0]", "Settings.depth" or --depth`)
	}
	whole := func(f *float64) bool { return *f == math.Trunc(*f) }
	for _, f := range v.faults {
		if strings.HasPrefix(f.Field+".", join(path)+".") {
			return // what is missing here may only have been misspelt
		}
	}
	switch ranged := a.Low != nil || a.High != nil; {
	case a.Fixed:
	case a.Choices != nil:
		if ranged || a.Log || a.Integer {
			v.fail(path, nil, "has choices and a range", "write either")
			return
		}
		if len(a.Choices) == 0 {
			v.fail(append(path, "choices"), nil, "is empty", `name at least one value, or write "fixed"`)
		}
		for i, x := range a.Choices {
			for _, y := range a.Choices[:i] {
				if x.Equal(y) {
					v.fail(append(path, "choices"), nil, fmt.Sprintf("has %s twice", x), "")
				}
			}
		}
	case a.Low == nil || a.High == nil:
		v.fail(path, nil, "is not a range", "write both low and high, or choices")
	case *a.Low >= *a.High:
		v.fail(path, nil, fmt.Sprintf("has low = %g, not below high = %g", *a.Low, *a.High), "")
	case a.Log && *a.Low <= 0:
		v.fail(append(path, "low"), *a.Low, "has no logarithm", "a log range starts above 0")
	case a.Integer && !(whole(a.Low) && whole(a.High)):
		v.fail(path, nil, "is an integer range with broken bounds", "write whole numbers")
	}
}

func (v *validator) llm(l LLM, workspace string) {
	const where = `write "http://127.0.0.1:8000/v1"`
	switch u, err := url.Parse(l.BaseURL); {
	case l.BaseURL == "":
		if l.Enabled {
			v.bad("llm.base_url", "", "is empty, but llm.enabled is true", where)
		}
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		var shown any = l.BaseURL
		if strings.Contains(l.BaseURL, "@") { // it may hold a password
			shown = nil
		}
		v.bad("llm.base_url", shown, "is not the address of a server", where)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		v.bad("llm.base_url", nil, "holds more than an address", "name the key by key_env, key_file or key_credential; "+where)
	}
	if l.KeyFile != "" && l.KeyCredential != "" {
		v.bad("llm.key_file", nil, "is one of two sources of the key", "leave key_file or key_credential empty")
	}
	// What is wrong here may be the key itself, which is not repeated.
	if l.KeyEnv != "" && !variableForm.MatchString(l.KeyEnv) {
		v.bad("llm.key_env", nil, "is not the name of an environment variable", "write the variable's name, never the key itself")
	}
	if l.KeyCredential != "" && !credentialForm.MatchString(l.KeyCredential) {
		v.bad("llm.key_credential", nil, "is not the name of a credential", "write the name that the unit gives it by LoadCredential=")
	}
	if inside, err := filepath.Rel(workspace, l.KeyFile); l.KeyFile != "" && err == nil && !strings.HasPrefix(inside, "..") {
		v.bad("llm.key_file", nil, "lies in the workspace, where trials could read it", "keep it where only the daemon can")
	}
	if l.MaxCost < 0 {
		v.bad("llm.max_cost", l.MaxCost, "is negative", "write 0.0 for no cap")
	}
	if l.MaxTokens < 0 {
		v.bad("llm.max_tokens", l.MaxTokens, "is negative", "write 0 for the server's own limit")
	}
	if l.Timeout <= 0 {
		v.bad("llm.timeout", l.Timeout.String(), "is not a positive duration", `write "3m"`)
	}
	if l.Enabled && len(l.Models) == 0 {
		v.bad("llm.models", nil, "is empty, but llm.enabled is true", "name at least one model that the server has")
	}
	priced := false
	for i, m := range l.Models {
		path := []string{"llm", "models", "[" + strconv.Itoa(i) + "]"}
		if m.Name == "" {
			v.fail(path, nil, "has no name", "")
		}
		for _, other := range l.Models[:i] {
			if m.Name != "" && m.Name == other.Name {
				v.fail(path, nil, fmt.Sprintf("names %q again", m.Name), "name each model once")
			}
		}
		if m.InputPrice < 0 || m.OutputPrice < 0 {
			v.fail(path, nil, "has a negative price", "prices are dollars a million tokens")
		}
		priced = priced || m.InputPrice > 0 || m.OutputPrice > 0
	}
	if l.Enabled && l.MaxCost > 0 && len(l.Models) > 0 && !priced {
		v.bad("llm.max_cost", l.MaxCost, "caps nothing: no model has a price", "write { name = \"…\", input_price = 0.5, output_price = 1.5 }, in dollars a million tokens")
	}
}

func (v *validator) notify(n Notify, workspace string) {
	if u, err := url.Parse(n.Webhook); n.Webhook != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		v.bad("notify.webhook", nil, "is not the address of a server", `write "https://…", or "" for no notices`)
	}
	if n.Webhook != "" && n.WebhookFile != "" {
		v.bad("notify.webhook_file", nil, "is one of two sources of the address", "leave webhook or webhook_file empty")
	}
	if inside, err := filepath.Rel(workspace, n.WebhookFile); n.WebhookFile != "" && err == nil && !strings.HasPrefix(inside, "..") {
		v.bad("notify.webhook_file", nil, "lies in the workspace, where trials could read it", "keep it where only the daemon can")
	}
	v.oneOf("notify.format", n.Format, "json", "slack")
	for i, e := range n.Events {
		path := []string{"notify", "events", "[" + strconv.Itoa(i) + "]"}
		if !slices.Contains(NotifyEvents, e) {
			v.fail(path, e, "is not an event", "known are: "+strings.Join(NotifyEvents, ", "))
		} else if slices.Contains(n.Events[:i], e) {
			v.fail(path, e, "is named twice", "")
		}
	}
	if n.Stall < time.Minute {
		v.bad("notify.stall", n.Stall.String(), "is less than a minute", `write "30m": some trials fail in every study`)
	}
	if n.Timeout <= 0 || n.Timeout > time.Minute {
		v.bad("notify.timeout", n.Timeout.String(), "is out of range", `write "10s": at most a minute`)
	}
}
