package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/external"
	"autoresearchd/search"
	"autoresearchd/search/fallback"
	"autoresearchd/search/simulate"
)

// simulation is what the flags of `simulate` ask for.
type simulation struct {
	strategies, tasks []string
	table, space      string
	command           string
	timeout           time.Duration
	trials            int
	seed              uint64
	seeds             int
	judge             string
	jobs              int
	picture           string
	places            simulate.Places
	stale             string
	model             float64 // quality of a modelled language model; below 0: none
	describe, serve   bool
	json              bool

	config   *config.Config // nil: the strategies' defaults
	programs *external.Programs
	folder   string // of programs
	rule     search.Judge
	made     []madeTask
	out      io.Writer
	errs     io.Writer
	said     sync.Map // warnings, of which each is given once
}

// madeTask is a task of any origin.
type madeTask struct {
	name string
	at   func(seed uint64) (simulate.Task, func(), error) // the second ends what it started
}

func (g *globals) simulateCommand() *cobra.Command {
	s := &simulation{}
	c := &cobra.Command{
		Use: "simulate", Short: "play whole studies without a GPU: on built-in tasks, a table or a program", Args: cobra.NoArgs,
		Example: `  autoresearchd simulate --task list
  autoresearchd simulate --strategy tpe --trials 100 --seed 1 --task hopper
  autoresearchd simulate --strategy tpe,random --seeds 30 \
    --task hopper,ackley -o regret.png
  autoresearchd simulate --strategy gp --space space.json \
    --exec "python3 objective.py" --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			s.json, s.out, s.errs = g.json, cmd.OutOrStdout(), cmd.ErrOrStderr()
			if slices.Equal(s.tasks, []string{"list"}) {
				return listTasks(s.out, s.json)
			}
			if g.config != "" { // the strategies' own tables
				var err error
				if s.config, err = g.load(nil); err != nil {
					return err
				}
			}
			defer s.close()
			if err := s.prepare(); err != nil {
				return usageError{err}
			}
			return s.run(ctx)
		},
	}
	f := c.Flags()
	f.StringSliceVar(&s.strategies, "strategy", []string{"portfolio"}, "strategies, `NAME`,…; all: those that need no program")
	f.StringSliceVar(&s.tasks, "task", nil, "built-in tasks, `NAME`,… (default hopper); list: print them; all: every one")
	f.StringVar(&s.table, "table", "", "use recorded trials instead of a task: `FILE` holds [{\"constants\": {…}, \"value\": 0.98}, …]")
	f.StringVar(&s.space, "space", "", "your own search space: `FILE`, with --exec")
	f.StringVar(&s.command, "exec", "", "`CMD` that answers {\"id\": 1, \"constants\": {…}, \"seed\": 7} with {\"id\": 1, \"value\": 0.98} or {\"id\": 1, \"status\": \"out of memory\"}, one line each; any other answer counts as a failure")
	f.DurationVar(&s.timeout, "timeout", 5*time.Minute, "how long to wait for each answer of CMD")
	f.IntVar(&s.trials, "trials", 100, "trials in each study: `N`")
	f.Uint64Var(&s.seed, "seed", 1, "seed of the strategy, the noise and a built-in task's optimum: `K`")
	f.IntVar(&s.seeds, "seeds", 1, "compare over `N` seeds, starting at --seed")
	f.StringVar(&s.judge, "judge", "greedy", "`RULE` that decides what is kept")
	f.IntVar(&s.places.Pending, "pending", 1, "trials in flight at once: `N`")
	f.BoolVar(&s.places.Drawn, "drawn", false, "with --pending: draw each trial's length between 0.5 and 1.5 times the mean; otherwise all are equal")
	f.StringVar(&s.stale, "stale", "keep", "with --pending, what happens to a trial in flight when another becomes the champion: keep (let it run), rebase (move its change to the new champion) or drop (propose another), the last two at no cost in time: `RULE`")
	f.IntVar(&s.jobs, "jobs", runtime.NumCPU(), "studies to play in parallel: `N`")
	f.StringVarP(&s.picture, "output", "o", "", "draw regret against trials into `F.png`")
	f.Float64Var(&s.model, "modelled-llm", -1, "let a modelled language model answer the llm strategy: worthless at `QUALITY` 0, strong at 1 (below 0: none)")
	f.BoolVar(&s.describe, "describe", false, "print a built-in task's space, its best and its median value as JSON")
	f.BoolVar(&s.serve, "serve", false, "act as CMD for a built-in task, answering lines on standard input; \"true\" is the value without noise")
	return g.reads(c)
}

func listTasks(w io.Writer, asJSON bool) error {
	type entry struct {
		Name  string `json:"name"`
		About string `json:"about"`
	}
	var all []entry
	for _, b := range simulate.BuiltIn() {
		all = append(all, entry{b.Name, b.About})
	}
	if asJSON {
		return printJSON(w, all)
	}
	for _, e := range all {
		fmt.Fprintf(w, "%-12s %s\n", e.Name, e.About)
	}
	return nil
}

// prepare checks what was asked for, and makes what all studies share.
func (s *simulation) prepare() error {
	var faults []error
	if s.trials < 1 || s.seeds < 1 || s.jobs < 1 {
		faults = append(faults, fmt.Errorf("--trials %d, --seeds %d, --jobs %d: give positive numbers", s.trials, s.seeds, s.jobs))
	}
	if s.places.Stale = simulate.Stale(s.stale); s.places.Pending < 1 || !slices.Contains(simulate.Stales, s.places.Stale) {
		faults = append(faults, fmt.Errorf("--pending %d, --stale %q: give a positive number, and one of keep, rebase, drop", s.places.Pending, s.stale))
	}
	if s.timeout <= 0 {
		faults = append(faults, fmt.Errorf("--timeout %v: give a positive duration", s.timeout))
	}
	if slices.Equal(s.strategies, []string{"all"}) {
		s.strategies = slices.DeleteFunc(search.Default.Names(), func(n string) bool { return n == "exec" || n == "agent" || n == "llm" })
	}
	for _, name := range s.strategies {
		_, err := search.Default.Lookup(name)
		if name == "llm" && s.model < 0 {
			err = errors.New("--strategy llm has no model here: give --modelled-llm QUALITY, from 0 to 1")
		}
		faults = append(faults, err)
	}
	var err error
	if s.rule, err = search.LookupJudge(s.judge); err != nil {
		faults = append(faults, err)
	}
	external := s.space != "" || s.command != ""
	switch {
	case (s.space == "") != (s.command == ""):
		faults = append(faults, errors.New("--space and --exec belong together: the space of a program's objective, and the program"))
	case external && s.table != "" || (external || s.table != "") && len(s.tasks) > 0:
		faults = append(faults, errors.New("give one of --task, --table, or --space with --exec"))
	case external:
		faults = append(faults, s.program())
	case s.table != "":
		faults = append(faults, s.recorded())
	default:
		faults = append(faults, s.builtIn())
	}
	if (s.describe || s.serve) && (len(s.tasks) != 1 || len(s.made) != 1) {
		faults = append(faults, errors.New("--describe and --serve are about one built-in task: name it with --task"))
	}
	if err := errors.Join(faults...); err != nil || s.config == nil {
		return err
	}
	return s.lend()
}

// lend starts programs for strategies that have one in the configuration.
func (s *simulation) lend() error {
	dir, err := os.MkdirTemp("", "autoresearchd-simulate-")
	if err != nil {
		return fmt.Errorf("make a folder for programs: %w", err)
	}
	s.folder = dir
	s.programs, err = external.New(external.Options{
		Dir: filepath.Join(dir, "programs"), Base: filepath.Dir(s.config.File()), Owner: "autoresearchd:simulate:" + filepath.Base(dir),
		Secrets: []string{s.config.LLM.KeyEnv}, Processes: s.config.Trial.Processes,
	})
	return err
}

func (s *simulation) close() {
	if s.programs != nil {
		s.programs.Close()
	}
	if s.folder != "" {
		_ = os.RemoveAll(s.folder)
	}
}

func (s *simulation) builtIn() error {
	if len(s.tasks) == 0 {
		s.tasks = []string{"hopper"}
	}
	if slices.Equal(s.tasks, []string{"all"}) {
		s.tasks = nil
		for _, b := range simulate.BuiltIn() {
			s.tasks = append(s.tasks, b.Name)
		}
	}
	var faults []error
	for _, name := range s.tasks {
		b, err := simulate.LookupTask(name)
		faults = append(faults, err)
		s.made = append(s.made, madeTask{name, func(seed uint64) (simulate.Task, func(), error) { return b.New(seed), func() {}, nil }})
	}
	return errors.Join(faults...)
}

func (s *simulation) recorded() error {
	data, err := os.ReadFile(s.table)
	if err != nil {
		return fmt.Errorf("--table: %w", err)
	}
	t, covered, err := simulate.ReadTable(data)
	if err != nil {
		return fmt.Errorf("--table %s: %w", s.table, err)
	}
	if covered < 0.999 {
		fmt.Fprintf(s.errs, "the table has %.2g %% of all combinations of its constants: the others count as crashed\n", 100*covered)
	}
	s.made = []madeTask{{t.Name, func(uint64) (simulate.Task, func(), error) { return t, func() {}, nil }}}
	return nil
}

func (s *simulation) program() error {
	data, err := os.ReadFile(s.space)
	if err != nil {
		return fmt.Errorf("--space: %w", err)
	}
	t, err := simulate.ReadSpace(data)
	if err != nil {
		return fmt.Errorf("--space %s: %w", s.space, err)
	}
	t.Name = "exec"
	s.made = []madeTask{{t.Name, func(uint64) (simulate.Task, func(), error) {
		o := &objective{command: s.command, timeout: s.timeout}
		own := t
		own.Measure = o.measure
		return own, o.end, nil
	}}}
	return nil
}

func (s *simulation) run(ctx context.Context) error {
	switch {
	case s.describe:
		return s.describeTask()
	case s.serve:
		return s.serveTask(os.Stdin)
	case len(s.strategies) == 1 && len(s.made) == 1 && s.seeds == 1:
		f, err := s.study(ctx, s.made[0], s.strategies[0], s.seed, s.printer())
		if err != nil {
			return err
		}
		return errors.Join(s.draw([]simulate.Finished{f}), hollow([]simulate.Finished{f}))
	}
	return s.compare(ctx)
}

// timed measures how long a strategy takes to propose.
type timed struct {
	search.Strategy
	last time.Duration
	all  []float64
}

func (t *timed) Ask(ctx context.Context, h search.History) (search.Proposal, error) {
	begin := time.Now()
	p, err := t.Strategy.Ask(ctx, h)
	t.last = time.Since(begin)
	t.all = append(t.all, t.last.Seconds())
	return p, err
}

func (t *timed) Prepare(ctx context.Context, h search.History) {
	if p, ok := t.Strategy.(search.Preparer); ok {
		p.Prepare(ctx, h)
	}
}

// study plays one study. each sees its trials as they come; nil: nobody.
func (s *simulation) study(ctx context.Context, task madeTask, name string, seed uint64, each func(st *simulate.Study, r search.Result, ask time.Duration)) (simulate.Finished, error) {
	fault := func(err error) (simulate.Finished, error) {
		return simulate.Finished{}, fmt.Errorf("study of %s on %s, seed %d: %w", name, task.name, seed, err)
	}
	options := func(string) func(any) error { return func(any) error { return nil } }
	if s.config != nil {
		options = s.config.Options
	}
	made, end, err := task.at(seed)
	if err != nil {
		return fault(err)
	}
	defer end()
	var st *simulate.Study
	t := search.Tools{
		Options: options,
		Check:   func(_ context.Context, source []byte) ([]search.Constant, error) { return simulate.Read(source) },
		Source:  func(_ context.Context, id int64) ([]byte, error) { return st.Source(id) },
		Read:    func(name string) ([]byte, error) { return nil, fmt.Errorf("a simulated study has no %s", name) },
		Ideas:   func() []search.Idea { return nil },
		Log:     slog.New(&warnings{to: s.errs, said: &s.said}),
	}
	if s.programs != nil {
		t.Start = s.programs.Start
	}
	if s.model >= 0 {
		if t.Model, err = simulate.NewModelled(made, s.model, seed); err != nil {
			return fault(err)
		}
	}
	strategy, err := search.Default.Build(name, search.Environment{Seed: seed, Tools: t})
	if err != nil {
		return fault(err)
	}
	if c, ok := strategy.(search.Closer); ok {
		defer c.Close()
	}
	clock := &timed{Strategy: strategy}
	st, err = simulate.BeginAt(ctx, s.places, made, clock, s.rule, seed)
	if err != nil {
		return fault(err)
	}
	st.Trials = s.trials
	report := func() {
		if each != nil {
			each(st, st.History.Done[len(st.History.Done)-1], clock.last)
		}
	}
	report()
	for len(st.History.Done) < s.trials {
		clock.last = 0
		if _, err := st.Turn(); simulate.Exhausted(err) {
			fmt.Fprintf(s.errs, "%s on %s, seed %d: the study ends after %d trials, as %v\n", name, task.name, seed, len(st.History.Done), err)
			break
		} else if err != nil {
			return fault(err)
		}
		report()
	}
	if err := valueless(st); err != nil {
		return fault(err)
	}
	if n, last := details(st); n > 0 && s.command != "" {
		fmt.Fprintf(s.errs, "%s on %s, seed %d: %d of %d trials failed, as the program of --exec did not give a value; the last: %s\n", name, task.name, seed, n, len(st.History.Done), last)
	}
	f := simulate.SumUp(st, name, seed, s.trials)
	f.Asked = len(clock.all)
	if n := len(clock.all); n > 0 {
		slices.Sort(clock.all)
		f.Ask = clock.all[n/2]
	}
	if each != nil && !s.json {
		s.closing(st, f)
	}
	return f, nil
}

// details are how many trials failed for a reason that is known, and the last one.
func details(st *simulate.Study) (n int, last string) {
	for _, r := range st.History.Done {
		if r.Outcome.Detail != "" {
			n, last = n+1, r.Outcome.Detail
		}
	}
	return n, last
}

// valueless is what is wrong with a study that has not measured one value.
func valueless(st *simulate.Study) error {
	for _, v := range st.Values {
		if !math.IsNaN(v) {
			return nil
		}
	}
	last := st.History.Done[len(st.History.Done)-1].Outcome
	detail := ""
	if last.Detail != "" {
		detail = ": " + last.Detail
	}
	return fmt.Errorf("none of its %d trials has a value, the last: %s%s", len(st.Values), last.Status, detail)
}

// hollow is what is wrong with figures that are no strategy's own.
func hollow(results []simulate.Finished) error {
	studies, bad := map[string]int{}, map[string]int{}
	why := map[string]string{}
	var names []string
	for _, f := range results {
		if studies[f.Strategy]++; !f.Hollow() {
			continue
		}
		if bad[f.Strategy]++; bad[f.Strategy] == 1 {
			names = append(names, f.Strategy)
			why[f.Strategy] = most(f.Instead)
		}
	}
	var faults []error
	for _, name := range names {
		faults = append(faults, fmt.Errorf("%s proposed nothing itself in %d of %d studies: what stands under its name is %s", name, bad[name], studies[name], why[name]))
	}
	return errors.Join(faults...)
}

// most is the commonest key.
func most(counts map[string]int) string {
	best := ""
	for key, n := range counts {
		if best == "" || n > counts[best] || n == counts[best] && key < best {
			best = key
		}
	}
	return best
}

// warnings gives what strategies warn of, each text once.
type warnings struct {
	to   io.Writer
	said *sync.Map
	with string // attributes of the logger
}

func (w *warnings) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

func (w *warnings) Handle(_ context.Context, r slog.Record) error {
	text := r.Message + w.with
	r.Attrs(func(a slog.Attr) bool {
		text += attribute(a)
		return true
	})
	if _, again := w.said.LoadOrStore(text, true); again {
		return nil
	}
	_, err := fmt.Fprintf(w.to, "%s\n", text)
	return err
}

func (w *warnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	more := *w
	for _, a := range attrs {
		more.with += attribute(a)
	}
	return &more
}

func (w *warnings) WithGroup(string) slog.Handler { return w }

func attribute(a slog.Attr) string {
	text := fallback.Line(a.Value.String(), 300)
	if text == "" {
		return ""
	}
	return fmt.Sprintf("; %s: %s", a.Key, text)
}

// printer prints a study's trials, a line each.
func (s *simulation) printer() func(*simulate.Study, search.Result, time.Duration) {
	if s.json {
		e := json.NewEncoder(s.out)
		return func(st *simulate.Study, r search.Result, ask time.Duration) {
			line := struct {
				Trial      int64                   `json:"trial"`
				Constants  map[string]search.Value `json:"constants"`
				Value      *float64                `json:"value"`
				Status     search.Status           `json:"status"`
				Strategy   string                  `json:"strategy"`
				AskSeconds float64                 `json:"ask_seconds"`
				Detail     string                  `json:"detail,omitempty"`  // why it has no value
				Instead    string                  `json:"instead,omitempty"` // in whose place the strategy proposed, and why
			}{r.Trial.ID, simulate.Values(r.Trial.Constants), nil, r.Outcome.Status, r.Trial.Proposal.Strategy, math.Round(1e6*ask.Seconds()) / 1e6, r.Outcome.Detail, r.Trial.Proposal.Instead}
			if v := st.Values[len(st.Values)-1]; !math.IsNaN(v) {
				line.Value = &v
			}
			_ = e.Encode(line) // a reader that went away ends the program by SIGPIPE
		}
	}
	fmt.Fprintf(s.out, "%5s  %-12s %-8s %-14s %-10s %s\n", "trial", "value", "decision", "status", "strategy", "change")
	return func(st *simulate.Study, r search.Result, _ time.Duration) {
		value := "-"
		if v := st.Values[len(st.Values)-1]; !math.IsNaN(v) {
			value = fmt.Sprintf("%.6g", v)
		}
		words := r.Trial.Proposal.Description
		if r.Outcome.Detail != "" {
			words += " [" + r.Outcome.Detail + "]"
		}
		fmt.Fprintf(s.out, "%5d  %-12s %-8s %-14s %-10s %s\n", r.Trial.ID, value, r.Decision.Verdict, r.Outcome.Status, r.Trial.Proposal.Strategy, words)
	}
}

// closing says what a study came to.
func (s *simulation) closing(st *simulate.Study, f simulate.Finished) {
	champion := st.History.Champion
	fmt.Fprintf(s.out, "\nchampion: trial %d", champion.ID)
	if v := st.Value(champion.ID); !math.IsNaN(v) {
		fmt.Fprintf(s.out, ", measured %.6g", v)
	}
	if st.Task.True != nil {
		fmt.Fprintf(s.out, ", without noise %.6g; normalised regret %.4f", st.Best[len(st.Best)-1], f.Regret[len(f.Regret)-1])
	}
	fmt.Fprintf(s.out, "\nfrom the start: %s\n", search.Describe(st.History.Done[0].Trial.Constants, champion.Constants))
	s.note([]simulate.Finished{f})
}

func (s *simulation) describeTask() error {
	t, end, err := s.made[0].at(s.seed)
	if err != nil {
		return err
	}
	defer end()
	space, err := simulate.Describe(t)
	if err != nil {
		return err
	}
	best, middling := t.Scale()
	return printJSON(s.out, map[string]any{"space": json.RawMessage(space), "best": best, "middling": middling, "noise": t.Noise})
}

// order is what a program is asked, answer what it says.
type order struct {
	ID        int64                   `json:"id"`
	Constants map[string]search.Value `json:"constants"`
	Seed      uint64                  `json:"seed"`
}

type answer struct {
	ID     int64         `json:"id"`
	Value  *float64      `json:"value,omitempty"`
	Status search.Status `json:"status,omitempty"`
	True   *float64      `json:"true,omitempty"` // of a built-in task: without noise
}

func (s *simulation) serveTask(in io.Reader) error {
	t, end, err := s.made[0].at(s.seed)
	if err != nil {
		return err
	}
	defer end()
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	e := json.NewEncoder(s.out)
	for lines.Scan() {
		var o order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return fmt.Errorf("read %q: %w", cut(lines.Text(), 80), err)
		}
		values, err := simulate.Resolve(t, o.Constants)
		if err != nil {
			return fmt.Errorf("constants of %d: %w", o.ID, err)
		}
		a := answer{ID: o.ID}
		if v, status := t.Noisy(values, o.Seed); status == search.Completed {
			plain, _ := t.True(values)
			a.Value, a.True = &v, &plain
		} else {
			a.Status = status
		}
		if err := e.Encode(a); err != nil {
			return err
		}
	}
	return lines.Err()
}
