// Package config reads autoresearch.toml: defaults, then a strict decode, then
// Validate. Every fault of a file is reported at once, each with its line.
package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"autoresearchd/search"
)

// Config is autoresearch.toml. Its fields are the file's tables.
type Config struct {
	Study    Study    `toml:"study"`
	Trial    Trial    `toml:"trial"`
	Seats    []Seats  `toml:"seats"` // on clusters; beside the devices of [trial]
	Watchdog Watchdog `toml:"watchdog"`
	Search   Search   `toml:"search"`
	Judge    Judge    `toml:"judge"`
	Pruning  Pruning  `toml:"pruning"`
	LLM      LLM      `toml:"llm"`
	HTTP     HTTP     `toml:"http"`
	Notify   Notify   `toml:"notify"`
	Log      Log      `toml:"log"`

	source *source
	faults Faults // of the decode; Validate adds its own
}

// Study says what is studied and where its record lies. Paths are absolute
// after Load; Cache may be empty (see Config.CacheDir).
type Study struct {
	Tag       string   `toml:"tag"` // empty: see Config.Tag
	Workspace string   `toml:"workspace"`
	State     string   `toml:"state"`
	Cache     string   `toml:"cache"`
	Seed      uint64   `toml:"seed"`
	Trials    int      `toml:"trials"` // 0: never stop
	Baseline  Baseline `toml:"baseline"`
}

// Trial says how one trial runs.
type Trial struct {
	Python    string        `toml:"python"` // relative to the workspace; see Config.Python
	Devices   Devices       `toml:"devices"`
	Budget    search.Budget `toml:"budget"`
	Isolation string        `toml:"isolation"` // "process" or "inprocess"
	Sandbox   string        `toml:"sandbox"`   // "require", "auto" or "off"
	Standby   string        `toml:"standby"`   // "auto" or "off"
	Overlap   string        `toml:"overlap"`   // "auto" or "off"
	Memory    Size          `toml:"memory"`    // host memory of a trial; 0: what leaves the machine room
	Processes int           `toml:"processes"` // processes and threads of a trial
	LogLimit  Size          `toml:"log_limit"` // of run.log
	Foreign   Size          `toml:"foreign"`   // GPU memory that others may hold as a trial begins, or 5 % if that is more; Unlimited: any
	Quota     Size          `toml:"quota"`     // of all that a trial may write in its folder; 0 or Unlimited: no cap
}

// Watchdog holds the deadline of each phase; all run on the monotonic clock.
type Watchdog struct {
	Startup  time.Duration `toml:"startup"`
	Compile  time.Duration `toml:"compile"`
	Stall    time.Duration `toml:"stall"` // between two optimizer steps
	Evaluate time.Duration `toml:"evaluate"`
	Exit     time.Duration `toml:"exit"`
	Total    time.Duration `toml:"total"`
	Grace    time.Duration `toml:"grace"` // from TERM to KILL
}

// Search names the strategy. Tables holds the [search.<strategy>] tables as
// they were read; Config.Options decodes one.
type Search struct {
	Strategy  string                    `toml:"strategy"`
	WarmStart []string                  `toml:"warm_start"` // state directories, absolute after Load
	Space     map[string]Axis           `toml:"space"`      // by constant
	Tables    map[string]map[string]any `toml:",rest"`
}

// Axis overrides what is read out of train.py for one constant: fixed, a range
// or a list of choices.
type Axis struct {
	Fixed   bool           `toml:"-"`
	Low     *float64       `toml:"low"`
	High    *float64       `toml:"high"`
	Log     bool           `toml:"log"`
	Integer bool           `toml:"integer"`
	Choices []search.Value `toml:"choices"`
}

// Judge names the rule that decides between keep and discard.
type Judge struct {
	Rule         string   `toml:"rule"`
	ConfirmOn    string   `toml:"confirm_on"` // the hardware class on which gains are confirmed; empty: on the seat's own
	Audit        Audit    `toml:"audit"`
	CheckNetwork bool     `toml:"check_network"` // in the sandbox, Check may use the network
	Check        []string `toml:"check"`         // a program and its arguments, asked before a candidate is kept; empty: nobody is
}

// Pruning names the rule that ends hopeless trials early.
type Pruning struct {
	Rule string `toml:"rule"`
}

// LLM describes an OpenAI-compatible server. It never holds the key itself.
type LLM struct {
	Enabled       bool          `toml:"enabled"`
	BaseURL       string        `toml:"base_url"`
	Models        []Model       `toml:"models"`
	KeyEnv        string        `toml:"key_env"`
	KeyFile       string        `toml:"key_file"`
	KeyCredential string        `toml:"key_credential"`
	MaxCost       float64       `toml:"max_cost"`   // dollars for the study; 0: no cap
	MaxTokens     int           `toml:"max_tokens"` // of a reply; 0: the server's own limit
	Timeout       time.Duration `toml:"timeout"`    // of one request
}

// Model is a model by name; prices are dollars a million tokens.
type Model struct {
	Name        string  `toml:"name"`
	InputPrice  float64 `toml:"input_price"`
	OutputPrice float64 `toml:"output_price"`
}

// HTTP is the read-only TCP server.
type HTTP struct {
	Listen string `toml:"listen"` // host:port; empty: off
}

// Notify is the web address that is told what a person wants to hear. Who knows
// the address may write there: it is a secret.
type Notify struct {
	Webhook     string        `toml:"webhook"`      // empty: none
	WebhookFile string        `toml:"webhook_file"` // a file that holds it; empty: none
	Format      string        `toml:"format"`       // "json" or "slack"
	Events      []string      `toml:"events"`       // of NotifyEvents
	Stall       time.Duration `toml:"stall"`        // without a score, while trials are to run
	Timeout     time.Duration `toml:"timeout"`      // of one request
}

// NotifyEvents are what can be told: a new champion, a trial that tampered with
// its score, a study without a score for too long, its end.
var NotifyEvents = []string{"champion", "tampered", "stall", "end"}

// Enabled reports whether there is somebody to tell.
func (n Notify) Enabled() bool { return n.Webhook != "" || n.WebhookFile != "" }

// Log is the daemon's own log.
type Log struct {
	Level string `toml:"level"` // "debug", "info", "warn" or "error"
}

// Default returns the configuration of an empty file.
func Default() *Config {
	return &Config{
		Study: Study{
			Workspace: "/var/lib/autoresearch/workspace",
			State:     "/var/lib/autoresearch",
			Seed:      42,
		},
		Trial: Trial{
			Python:    ".venv/bin/python",
			Devices:   Devices{"auto"},
			Budget:    search.Budget{Seconds: 300},
			Isolation: "process",
			Sandbox:   "auto",
			Standby:   "auto",
			Overlap:   "auto",
			Processes: 4096,
			LogLimit:  16 << 20,
			Foreign:   1 << 30,
			Quota:     20 << 30,
		},
		Watchdog: Watchdog{
			Startup:  120 * time.Second,
			Compile:  300 * time.Second,
			Stall:    60 * time.Second,
			Evaluate: 180 * time.Second,
			Exit:     20 * time.Second,
			Total:    600 * time.Second,
			Grace:    2 * time.Second,
		},
		Search:  Search{Strategy: "portfolio", WarmStart: []string{}},
		Judge:   Judge{Rule: "confirm", Check: []string{}},
		Pruning: Pruning{Rule: "off"},
		LLM:     LLM{Models: []Model{}, KeyEnv: "OPENAI_API_KEY", Timeout: 3 * time.Minute},
		HTTP:    HTTP{Listen: "127.0.0.1:9797"},
		Notify:  Notify{Format: "json", Events: slices.Clone(NotifyEvents), Stall: 30 * time.Minute, Timeout: 10 * time.Second},
		Log:     Log{Level: "info"},
		source:  &source{},
	}
}

// Load reads the file at path and then overrides, each KEY=VALUE with a dotted
// key and a TOML value (a bare string is accepted). Where the file can be read
// and parsed, the Config is returned beside a Faults error, so that Validate
// can report the rest with it; Open does both.
func Load(path string, overrides []string) (*Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, fmt.Errorf("read configuration %s: %w; make one with `autoresearchd init DIR` or name one with --config", path, err)
	}
	return parse(path, text, overrides)
}

// Open loads and validates, and reports every fault of both at once.
func Open(path string, overrides []string, known Known) (*Config, error) {
	c, err := Load(path, overrides)
	if c == nil {
		return nil, err
	}
	if err := c.Validate(known); err != nil {
		return nil, err
	}
	return c, nil
}

// State returns [study] state of a file whose other tables may be broken: who
// reads the record, or commands a daemon that runs, needs no more. unsound says
// what Open would; err is for where the state cannot be told.
func State(path string, known Known) (state string, unsound, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		_, err := Load(path, nil)
		return "", nil, err
	}
	c, unsound := parse(path, text, nil)
	if c != nil {
		unsound = c.Validate(known)
	} else if section := studyTable.FindString(string(text)); section != "" || !strings.Contains(string(text), "study") {
		// Not TOML as a whole; the table may be.
		c, _ = parse(path, []byte(section), nil)
	}
	if c == nil || c.Study.State == "" {
		return "", nil, unsound
	}
	for _, f := range c.faults {
		if f.Field == "study.state" || f.Field == "study" {
			return "", nil, unsound
		}
	}
	return c.Study.State, unsound, nil
}

// studyTable is the table [study] as it stands in a file.
var studyTable = regexp.MustCompile(`(?m)^[ \t]*\[[ \t]*study[ \t]*\][^\n]*(\n[ \t]*([^\[ \t\n][^\n]*)?)*`)

func parse(path string, text []byte, overrides []string) (*Config, error) {
	var raw map[string]any
	if _, err := toml.Decode(string(text), &raw); err != nil {
		var pe toml.ParseError
		if errors.As(err, &pe) {
			return nil, Faults{{File: path, Line: pe.Position.Line, Field: pe.LastKey, Problem: "is not TOML: " + strings.ReplaceAll(pe.Message, "\n", " ")}}
		}
		return nil, fmt.Errorf("read configuration %s: %w", path, err)
	}
	c := Default()
	c.source = &source{file: path, index: scan(string(text)), overridden: map[string]bool{}}
	if raw == nil {
		raw = map[string]any{}
	}
	d := &decoder{source: c.source}
	for _, o := range overrides {
		d.override(raw, o)
	}
	d.decode(nil, raw, reflect.ValueOf(c).Elem())
	c.faults = d.faults

	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", path, err)
	}
	dir := filepath.Dir(abs)
	for _, p := range []*string{&c.Study.Workspace, &c.Study.State, &c.Study.Cache, &c.LLM.KeyFile, &c.Notify.WebhookFile} {
		*p = resolve(dir, *p)
	}
	for i := range c.Search.WarmStart {
		c.Search.WarmStart[i] = resolve(dir, c.Search.WarmStart[i])
	}
	if len(c.faults) > 0 {
		return c, c.faults.sorted()
	}
	return c, nil
}

// resolve makes p absolute: relative to dir, "~" being the home directory.
// An empty path stays empty.
func resolve(dir, p string) string {
	if rest, ok := strings.CutPrefix(p, "~"); ok && (rest == "" || rest[0] == '/') {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(dir, p)
}

// File returns the path that was given to Load.
func (c *Config) File() string { return c.source.file }

// Tag returns the study's tag; where the file leaves it empty, the day of now
// as upstream writes it ("nov23").
func (c *Config) Tag(now time.Time) string {
	if c.Study.Tag != "" {
		return c.Study.Tag
	}
	return strings.ToLower(now.Format("Jan2"))
}

// Python returns the path of the workspace's interpreter. Links are not
// followed: a venv is known by the path of its link.
func (c *Config) Python() string { return resolve(c.Study.Workspace, c.Trial.Python) }

// CacheDir returns the folder of data and tokenizer: the given one, else
// upstream's ~/.cache/autoresearch.
func (c *Config) CacheDir() (string, error) {
	if given, err := c.GivenCache(); given != "" || err != nil {
		return given, err
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the cache: neither [study] cache, AUTORESEARCH_CACHE nor HOME is set")
	}
	return filepath.Join(home, ".cache", "autoresearch"), nil
}

// GivenCache returns the folder of data and tokenizer that [study] cache names,
// else AUTORESEARCH_CACHE; "" where neither does, so that prepare.py's own
// place stands.
func (c *Config) GivenCache() (string, error) {
	dir := os.Getenv("AUTORESEARCH_CACHE")
	if c.Study.Cache != "" || dir == "" {
		return c.Study.Cache, nil
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("resolve AUTORESEARCH_CACHE=%s: %w", dir, err)
	}
	return abs, nil
}

// Options returns a decoder for the table [search.<name>]. It fills the
// plugin's struct (fields by their toml tag, else json tag, else snake case),
// leaves what the file does not name, and answers unknown keys and wrong types
// with Faults. Without such a table it does nothing.
func (c *Config) Options(name string) func(any) error {
	return func(dst any) error {
		v := reflect.ValueOf(dst)
		if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
			return fmt.Errorf("decode [search.%s]: %T is not a pointer to a struct", name, dst)
		}
		table, ok := c.Search.Tables[name]
		if !ok {
			return nil
		}
		d := &decoder{source: c.source}
		d.decode([]string{"search", name}, table, v.Elem())
		if len(d.faults) > 0 {
			return d.faults.sorted()
		}
		return nil
	}
}

// Overrides are the axes of [search.space].
func (s *Search) Overrides() map[string]search.Override {
	out := map[string]search.Override{}
	for name, a := range s.Space {
		out[name] = search.Override{Low: a.Low, High: a.High, Log: a.Log, Integer: a.Integer, Choices: a.Choices, Fixed: a.Fixed}
	}
	return out
}

// Edits reports whether the strategy can change code, and so has something to
// propose where train.py has no constant to search.
func (c *Config) Edits() bool {
	switch c.Search.Strategy {
	case "agent":
		return true
	case "llm":
		return c.LLM.Enabled
	case "portfolio":
		arms, given := c.Search.Tables["portfolio"]["arms"].([]any)
		return c.LLM.Enabled && (!given || slices.Contains(arms, any("llm"))) || slices.Contains(arms, any("agent"))
	}
	return false
}

// Diff returns the names of the top-level tables in which two configurations
// differ, in the file's order.
func Diff(old, new *Config) []string {
	var tables []string
	a, b := reflect.ValueOf(old).Elem(), reflect.ValueOf(new).Elem()
	for i := range a.NumField() {
		name := a.Type().Field(i).Tag.Get("toml")
		if name != "" && !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			tables = append(tables, name)
		}
	}
	return tables
}

// reloadable are the tables that a reload may change between trials, fixed the
// keys in them that it may not: what they name is closed to trials at the start.
var (
	reloadable = map[string]bool{"search": true, "judge": true, "pruning": true, "llm": true, "notify": true, "log": true}
	fixed      = map[string]bool{"llm.key_env": true, "llm.key_file": true, "llm.key_credential": true, "notify.webhook_file": true}
)

// Reloadable returns an error that names the changed keys which need a
// restart; nil if a reload can put new in force.
func Reloadable(old, new *Config) error {
	var keys []string
	a, b := reflect.ValueOf(old).Elem(), reflect.ValueOf(new).Elem()
	for _, name := range Diff(old, new) {
		for i := range a.NumField() {
			if a.Type().Field(i).Tag.Get("toml") != name {
				continue
			}
			x, y := a.Field(i), b.Field(i)
			if name == "seats" {
				if !growsSeats(old, new) {
					keys = append(keys, "seats that are there")
				}
				continue
			}
			for j := range x.NumField() {
				key := name + "." + x.Type().Field(j).Tag.Get("toml")
				if (!reloadable[name] || fixed[key]) && !reflect.DeepEqual(x.Field(j).Interface(), y.Field(j).Interface()) {
					keys = append(keys, key)
				}
			}
		}
	}
	if len(keys) == 0 {
		return nil
	}
	sort.Strings(keys)
	return fmt.Errorf("reload cannot change %s: restart the daemon for that (`systemctl restart autoresearchd`)", strings.Join(keys, ", "))
}
