package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"autoresearchd/daemon/device"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/study"
	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
)

var update = flag.Bool("update", false, "rewrite testdata/*.txt with what the studies now do")

// TestTranscripts plays testdata/*.txt: whole studies as people see them. A
// line "> command" is followed by what it brings about: the log since, and the
// command's answer. Times are counted from the first start. The commands are
// in (*play).commands.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		// One after another: trainer.Sweep, which a restart calls, reaps whatever
		// child of this process leads a group, and lineage's git does.
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			must(t, err)
			dir := scratch(t)
			newWorkspace(t, dir)
			got := ""
			synctest.Test(t, func(t *testing.T) { got = transcribe(t, dir, string(want)) })
			if *update {
				must(t, os.WriteFile(file, []byte(got), 0o644))
			} else if got != string(want) {
				t.Errorf("%s: the study went otherwise (-update rewrites it):\n%s", file, firstDifference(string(want), got))
			}
			verify(t, dir)
		})
	}
}

func firstDifference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d\nwant %s\ngot  %s", i+1, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d lines instead of %d", len(b), len(a))
}

// play is a study under a transcript's command.
type play struct {
	t        *testing.T
	dir      string
	strategy *scripted
	stage    *stage
	checks   *checks
	gpu      *fakeGPU
	unfit    sync.Map // *device.Unfit by device
	began    time.Time
	seats    int

	journal *journal.Journal
	super   *Supervisor
	cancel  context.CancelFunc
	ended   chan error

	mu  sync.Mutex
	out strings.Builder
}

func transcribe(t *testing.T, dir, script string) string {
	p := &play{t: t, dir: dir, strategy: &scripted{}, stage: &stage{}, gpu: &fakeGPU{}, began: time.Now()}
	p.stage.p, p.checks = p, &checks{p: p}
	var result strings.Builder
	for line := range strings.Lines(script) {
		command, ok := strings.CutPrefix(line, "> ")
		if !ok { // comments and blank lines stay; the rest is written anew
			if strings.HasPrefix(line, "#") || line == "\n" {
				result.WriteString(line)
			}
			continue
		}
		result.WriteString(line)
		if err := p.command(strings.TrimSpace(command)); err != nil {
			p.print("error: " + err.Error())
		}
		if p.seats > 1 || p.stage.several() {
			time.Sleep(settle)
		}
		synctest.Wait()
		result.WriteString(p.flush())
	}
	p.shutdown()
	if p.journal != nil {
		must(t, p.journal.Close())
	}
	return result.String()
}

// told proves that the strategy was told of every finished trial once, in order.
func (p *play) told(super *Supervisor, err error) {
	records, listErr := p.journal.Trials()
	must(p.t, listErr)
	var done []int64
	for _, rec := range records {
		if rec.Stage == search.StageDone {
			done = append(done, rec.Trial.ID)
		}
	}
	strategy, ok := super.proposer.strategy.(*scriptedStrategy)
	if len(done) > 0 && errors.Is(err, lineage.ErrMoved) && ok && len(strategy.told) == 0 {
		return // it ended before it began
	}
	if ok && !slices.Equal(strategy.told, done) {
		p.t.Errorf("the strategy was told of trials %v, done are %v", strategy.told, done)
	}
}

func (p *play) print(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out.WriteString(strings.TrimRight(line, "\n") + "\n")
}

func (p *play) flush() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := p.out.String()
	p.out.Reset()
	return p.stable(gatesFirst(text))
}

// gatesFirst puts the opening of a gate before what else happens at that moment:
// the trial at the gate and its neighbour's end go on side by side.
func gatesFirst(text string) string {
	lines := strings.SplitAfter(text, "\n")
	clock := func(line string) string { return line[:strings.IndexByte(line+" ", ' ')] }
	for i := range lines {
		for at := i; at > 0 && strings.Contains(lines[at], gateOpens) && clock(lines[at]) == clock(lines[at-1]) && !strings.Contains(lines[at-1], gateOpens); at-- {
			lines[at], lines[at-1] = lines[at-1], lines[at]
		}
	}
	return strings.Join(lines, "")
}

const gateOpens = " the gate opens for trial "

var hashes = regexp.MustCompile(`\b([0-9a-f]{40}|[0-9a-f]{7})\b`)

// stable replaces what differs from run to run or would change with every
// word of a commit message: folders by <dir>, commits by the trial they are of.
func (p *play) stable(text string) string {
	text = strings.ReplaceAll(text, p.dir, "<dir>")
	names := map[string]string{}
	if p.journal != nil {
		if study, ok, err := p.journal.Study(); err == nil && ok {
			names[study.BaseCommit] = "base"
		}
		records, err := p.journal.Trials()
		must(p.t, err)
		for _, r := range records {
			if r.Commit != "" && names[r.Commit] == "" {
				names[r.Commit] = fmt.Sprintf("trial%d", r.Trial.ID)
			}
		}
	}
	refs, err := gitIn(filepath.Join(p.dir, "workspace"), "for-each-ref", "--format=%(objectname) trial%(refname:lstrip=4)", "refs/autoresearch")
	if err != nil {
		refs = "" // a transcript may take the repository away
	}
	for line := range strings.Lines(refs) { // those that the journal does not have yet
		if commit, name, _ := strings.Cut(strings.TrimSpace(line), " "); names[commit] == "" {
			names[commit] = name
		}
	}
	for commit, name := range names {
		names[commit[:7]] = name
	}
	return hashes.ReplaceAllStringFunc(text, func(hash string) string {
		if name, ok := names[hash]; ok {
			return name
		}
		return hash
	})
}

// command does one line of a transcript.
func (p *play) command(line string) error {
	name, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	do, ok := p.commands()[name]
	if !ok {
		p.t.Fatalf("unknown command %q", line)
	}
	return do(rest)
}

func (p *play) commands() map[string]func(string) error {
	ctx := context.Background()
	return map[string]func(string) error{
		"start":  p.start, // [--trials=N] [--stay] [--devices=A,B=CLASS] [--memory=GIB] [KEY=VALUE]…: the daemon starts
		"carry":  p.carry, // a study of an older program is there
		"down":   func(string) error { p.shutdown(); return nil },
		"run":    p.run,  // [#ID] what comes of the running trial, or of one of several, and after how long (see stage)
		"runs":   p.runs, // N …: the next N trials end so, each as soon as it begins
		"event":  p.event,
		"wait":   p.wait,
		"ask":    p.ask,
		"pause":  func(string) error { return p.super.Pause(ctx) },
		"resume": func(string) error { return p.super.Resume(ctx) },
		"cancel": func(rest string) error { return p.super.Cancel(ctx, rest) },
		"stop":   func(string) error { return p.super.Stop(ctx) },
		"check":  p.checks.script, // what the next check does: STATUS WORDS, hangs, missing or signal
		"suggest": func(rest string) error {
			name, text, _ := strings.Cut(rest, "=")
			v, ok := literal(text)
			if !ok {
				v = search.StringValue(text)
			}
			words, err := p.super.Suggest(ctx, map[string]search.Value{name: v})
			if err == nil {
				p.print(words)
			}
			return err
		},
		"ablate": func(rest string) error {
			id, err := strconv.ParseInt(rest, 10, 64)
			must(p.t, err)
			words, err := p.super.Ablate(ctx, id)
			p.print("queued: " + strings.ReplaceAll(words, "\n", "; "))
			return err
		},
		"reload": func(rest string) error {
			c, err := settings(p.dir, strings.Fields(rest)...)
			if err != nil {
				p.super.ReloadFailed(err)
				return err
			}
			return p.super.Reload(c)
		},
		"gpu": func(rest string) error { // GiB in use, of every GPU or of one: [INDEX] GIB
			words := strings.Fields(rest)
			n, err := strconv.ParseInt(words[len(words)-1], 10, 64)
			only := -1
			if len(words) > 1 {
				only, err = strconv.Atoi(words[0])
			}
			p.gpu.set(only, n<<30)
			return err
		},
		"full": func(rest string) error { // writing this file of the state directory meets a full disk
			path := filepath.Join(p.dir, "state", rest)
			return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink("/dev/full", path))
		},
		"move": func(rest string) error {
			from, to, _ := strings.Cut(rest, " ")
			return os.Rename(filepath.Join(p.dir, from), filepath.Join(p.dir, to))
		},
		"remove": func(rest string) error { return os.Remove(filepath.Join(p.dir, rest)) },
		"write": func(rest string) error {
			file, text, _ := strings.Cut(rest, " ")
			return os.WriteFile(filepath.Join(p.dir, file), []byte(strings.ReplaceAll(text, `\n`, "\n")+"\n"), 0o644)
		},
		"truncate": func(rest string) error { // FILE BYTES
			file, count, _ := strings.Cut(rest, " ")
			n, err := strconv.ParseInt(count, 10, 64)
			return errors.Join(err, os.Truncate(filepath.Join(p.dir, file), n))
		},
		"git": func(rest string) error {
			out, err := gitIn(filepath.Join(p.dir, "workspace"), strings.Fields(rest)...)
			for line := range strings.Lines(out) {
				if line != "\n" { // a blank line would be the transcript's own
					p.print(line)
				}
			}
			return err
		},
		"refs":    p.refs,
		"results": p.results,
		"status":  p.status,
		"metrics": p.metrics,
		"ready": func(string) error {
			err := p.super.Ready()
			if err == nil {
				p.print("ready")
			}
			return err
		},
		"unfit": func(rest string) error { // what looks at the device finds from now on
			name, words, _ := strings.Cut(rest, " ")
			why, lost := strings.CutPrefix(words, "lost ")
			p.unfit.Store(name, &device.Unfit{Lost: lost, Why: why})
			return nil
		},
		"second": func(string) error { // a second daemon on the same state directory
			_, err := journal.Open(filepath.Join(p.dir, "state"))
			if err != nil {
				return errors.New(strings.ReplaceAll(err.Error(), fmt.Sprint("pid ", os.Getpid()), "pid <first>"))
			}
			return nil
		},
	}
}

func (p *play) start(rest string) error {
	if p.cancel != nil {
		select {
		case <-p.ended:
			p.cancel()
		default:
			return errors.New("it runs already")
		}
	}
	o := Options{Devices: []device.Device{{Name: "cuda:0"}}, Registry: registry(p.strategy), Trainer: p.stage, GPU: p.gpu, Look: looks(p.fit), Start: p.checks.start, Log: slog.New(&lines{p: p})}
	var overrides []string
	for _, field := range strings.Fields(rest) {
		if field == "--node" { // its seat is on another machine
			o.Devices[0].Name = "slurm:0"
			o.Look = func(d device.Device) (device.Device, *device.Unfit) {
				d.Host, d.Local = "n1", "cuda:0"
				return d, nil
			}
			o.Beside = func(string) (int64, bool) { return p.gpu.MemoryUsed(0) }
		} else if n, ok := strings.CutPrefix(field, "--trials="); ok {
			var err error
			if o.Trials, err = strconv.Atoi(n); err != nil {
				return err
			}
		} else if names, ok := strings.CutPrefix(field, "--devices="); ok {
			o.Devices = nil
			for _, name := range strings.Split(names, ",") {
				name, class, ok := strings.Cut(name, "=")
				if !ok {
					class = "H100"
				}
				o.Devices = append(o.Devices, device.Device{Name: name, Kind: class})
			}
		} else if gib, ok := strings.CutPrefix(field, "--memory="); ok {
			n, err := strconv.ParseInt(gib, 10, 64)
			if err != nil {
				return err
			}
			for i := range o.Devices {
				o.Devices[i].Memory = n << 30
			}
		} else if field == "--stay" {
			o.Stay = true
		} else {
			overrides = append(overrides, field)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.seats = len(o.Devices)
	repo, err := p.open(ctx, &o, overrides)
	if err == nil {
		p.super, err = begin(ctx, p.journal, repo, o)
	}
	if err != nil {
		cancel()
		return err
	}
	ended, super := make(chan error, 1), p.super
	go func() {
		err := super.Run(ctx)
		p.told(super, err)
		p.print(p.clock() + "the loop ends: " + fmt.Sprint(err))
		ended <- err
	}()
	p.cancel, p.ended = cancel, ended
	return nil
}

func (p *play) open(ctx context.Context, o *Options, overrides []string) (repo *lineage.Repo, err error) {
	if o.Config, err = settings(p.dir, overrides...); err != nil {
		return nil, err
	}
	if repo, err = lineage.Open(ctx, o.Config.Study.Workspace); err == nil && p.journal == nil {
		p.journal, err = journal.Open(o.Config.Study.State)
	}
	return repo, err
}

// begin opens a study and makes its loop.
func begin(ctx context.Context, j *journal.Journal, repo *lineage.Repo, o Options) (*Supervisor, error) {
	st, err := study.Open(ctx, study.Options{Config: o.Config, Journal: j, Repo: repo, Inspect: o.Trainer.Inspect, Log: o.Log})
	if err != nil {
		return nil, err
	}
	o.Study = st
	return New(o)
}

// settle is how long all that a command brings about at once takes. Of seats and
// trials that would move at the same moment, the one with the higher number
// does so a moment later.
const settle = 100 * time.Microsecond

func (p *play) fit(name string) *device.Unfit {
	index, _ := device.CUDAIndex(name)
	time.Sleep(time.Duration(index) * time.Microsecond)
	if u, ok := p.unfit.Load(name); ok && u.(*device.Unfit).Why != "" {
		return u.(*device.Unfit)
	}
	return nil
}

// shutdown is what SIGTERM does.
func (p *play) shutdown() {
	if p.cancel != nil {
		p.cancel()
		<-p.ended
		p.cancel = nil
	}
}

func (p *play) clock() string { return fmt.Sprintf("%-10s", time.Since(p.began).Round(time.Second)) }

func (p *play) wait(rest string) error {
	d, err := time.ParseDuration(rest)
	time.Sleep(d)
	return err
}

func (p *play) run(rest string) error {
	id, rest := named(rest)
	a := act{outcome: parseOutcome(rest)}
	seconds := 325 * time.Second
	if a.outcome.Status == search.Crashed || a.outcome.Status == search.OutOfMemory {
		seconds = 30 * time.Second
	}
	what, text, _ := strings.Cut(rest, " ")
	switch what {
	case "broken":
		a = act{err: errors.New(text)}
		seconds = 0
	case "quarantine": // the trial ends as the rest says, its device does not
		a = act{outcome: parseOutcome(text), err: &trainer.Quarantine{}}
	case "lost": // so it does, and its device was lost on another machine
		a = act{outcome: parseOutcome(text), err: &trainer.Lost{Why: "cuda:0 cannot be used: it has fallen off the bus"}}
	case "restart":
		a = act{outcome: parseOutcome(text), err: fmt.Errorf("a thread is stuck: %w", trainer.ErrRestart)}
	}
	a.outcome.WallSeconds = seconds.Seconds()
	time.Sleep(seconds)
	synctest.Wait()
	return p.perform(id, a)
}

// named cuts "#3 " off, the trial that a command is about; 0: the first that runs.
func named(rest string) (id int64, what string) {
	if after, ok := strings.CutPrefix(rest, "#"); ok {
		number, what, _ := strings.Cut(after, " ")
		if id, err := strconv.ParseInt(number, 10, 64); err == nil {
			return id, what
		}
	}
	return 0, rest
}

func (p *play) runs(rest string) error {
	count, what, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	for n > 0 {
		if p.perform(0, act{outcome: parseOutcome(what)}) == nil {
			n--
		} else {
			time.Sleep(time.Second)
		}
		synctest.Wait()
	}
	return nil
}

var errIdle = errors.New("no trial is running")

func (p *play) perform(id int64, a act) error {
	do := p.stage.of(id)
	if do == nil {
		return errIdle
	}
	do <- a
	return nil
}

func (p *play) event(rest string) error {
	var e trainer.Event
	id, rest := named(rest)
	what, text, _ := strings.Cut(rest, " ")
	switch what {
	case "step":
		n, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		e.Step = &trainer.Step{Number: n, Counted: float64(n - search.Budget{}.First())}
	case "progress": // of the loss, if it is named
		e.Progress = &trainer.Progress{Step: 150, Loss: 5.25, TokPerSec: 1.6e6, MFU: 40}
		if text != "" {
			var err error
			if e.Progress.Loss, err = strconv.ParseFloat(text, 64); err != nil {
				return err
			}
		}
	case "memory": // GiB that the trial's processes hold
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return err
		}
		e.Memory = n << 30
	case "kill":
		e.Kill = &trainer.Kill{Phase: search.Train, Cause: text, Seconds: 0.5, GPU: 0.25}
	default:
		e.Phase = search.Phase(what)
	}
	return p.perform(id, act{event: &e})
}

// ask scripts the strategy's next answer.
func (p *play) ask(rest string) error {
	what, text, _ := strings.Cut(rest, " ")
	p.strategy.push(func(h search.History) (search.Proposal, error) {
		switch name, value, _ := strings.Cut(what, "="); what {
		case "error":
			return search.Proposal{}, errors.New(text)
		case "exhausted":
			return search.Proposal{}, search.ErrExhausted
		case "source": // the champion's lines, without those that hold text, and with what follows ->
			drop, add, _ := strings.Cut(text, " -> ")
			var kept []string
			for line := range strings.Lines(trainPy) {
				if !strings.Contains(line, drop) {
					kept = append(kept, line)
				}
			}
			return search.Proposal{Description: rest, Parent: h.Champion.ID, Source: []byte(strings.Join(kept, "") + add + "\n")}, nil
		default:
			v, _ := literal(value)
			return propose(h, name, v), nil
		}
	})
	return nil
}

func (p *play) refs(string) error {
	out, err := gitIn(filepath.Join(p.dir, "workspace"), "for-each-ref", "--format=%(refname) %(objectname)", "refs/autoresearch", "refs/heads/autoresearch")
	p.print(out)
	return err
}

func (p *play) results(string) error {
	data, err := os.ReadFile(filepath.Join(p.dir, "state", "results.tsv"))
	for line := range strings.Lines(string(data)) {
		p.print(strings.ReplaceAll(line, "\t", "  "))
	}
	return err
}

func (p *play) status(string) error {
	s := p.super.Now()
	p.print("state: " + s.State)
	if s.Waiting != "" && s.Waiting != s.State {
		p.print("waiting: " + s.Waiting)
	}
	p.print("next: " + s.Next)
	if c := s.Champion; c != nil {
		p.print(fmt.Sprintf("champion: trial %d, %.6f, %s", c.ID, c.ValBPB, c.Description))
	}
	if s.Claim != nil {
		p.print("claim: " + s.Claim.Words)
	}
	if s.Check != "" {
		p.print("check: " + s.Check)
	}
	if s.Pruning != nil {
		p.print(fmt.Sprintf("pruning: %v", s.Pruning))
	}
	if s.Confirm != nil {
		p.print(strings.TrimRight(fmt.Sprintf("confirmed on %s: %d wait, %d seats. %s", s.Confirm.On, s.Confirm.Waiting, s.Confirm.Seats, s.Confirm.Words()), ". "))
	}
	for _, seat := range s.Seats {
		if len(s.Seats) > 1 {
			name := seat.Name
			if seat.Class != "H100" {
				name += " (" + seat.Class + ")"
			}
			p.print(strings.TrimRight(fmt.Sprintf("seat %s: %s, %s", name, seat.State, seat.Why), ", "))
		}
	}
	for _, r := range s.Running() {
		p.print(fmt.Sprintf("running: trial %d, %s, %.0fs, %s for %.0fs, step %d, %.0f%%", r.ID, r.Strategy, r.Seconds, r.Phase, r.PhaseSeconds, r.Step, 100*r.Progress))
	}
	p.print(fmt.Sprintf("trials: %d (%d keep, %d discard, %d crash), %.1f an hour", s.Trials.Total, s.Trials.Keep, s.Trials.Discard, s.Trials.Crash, s.Rate))
	_, err := json.Marshal(p.super.Status())
	return err
}

func (p *play) metrics(string) error {
	m := p.super.Snapshot()
	value := func(name string, v *float64) {
		if v != nil {
			p.print(fmt.Sprintf("%s %.6g", name, *v))
		}
	}
	value("val_bpb", m.ValBPB)
	value("best_val_bpb", m.BestValBPB)
	value("baseline_val_bpb", m.BaselineValBPB)
	for _, seat := range m.Seats {
		value("peak_vram", seat.PeakVRAM)
	}
	value("duty_ratio", m.Duty)
	for _, c := range m.Trials {
		p.print(fmt.Sprintf("trials_total{%s, %s} %d", c.Status, c.Strategy, c.Count))
	}
	for _, verdict := range []search.Verdict{search.Keep, search.Discard, search.Crash} {
		p.print(fmt.Sprintf("decisions_total{%s} %d", verdict, m.Decisions[verdict]))
		if bpb, ok := m.DecisionValBPB[verdict]; ok {
			p.print(fmt.Sprintf("decision_val_bpb{%s} %.6g", verdict, bpb))
		}
	}
	for _, strategy := range slices.Sorted(maps.Keys(m.Keeps)) {
		p.print(fmt.Sprintf("strategy_keeps_total{%s} %d", strategy, m.Keeps[strategy]))
	}
	for strategy, weight := range m.Weights {
		p.print(fmt.Sprintf("strategy_weight{%s} %g", strategy, weight))
	}
	p.print(fmt.Sprintf("trial_wall_seconds_total %g", m.WallSeconds))
	for _, seat := range m.Seats {
		if seat.Next != "" {
			p.print("trial_phase_info, beside it: " + string(seat.Next))
		}
		r := seat.Trial
		if r == nil {
			continue
		}
		p.print("trial_phase_info " + string(r.Phase))
		value("trial_progress_ratio", r.Progress)
		value("train_loss", r.TrainLoss)
		value("throughput", r.TokensPerSecond)
		value("mfu_ratio", r.MFU)
		for gpu, bytes := range r.GPUMemory {
			p.print(fmt.Sprintf("trial_gpu_memory_bytes{%d} %.6g", gpu, bytes))
		}
	}
	for gpu, on := range m.Quarantined {
		p.print(fmt.Sprintf("gpu_quarantined{%d} %v", gpu, on))
	}
	p.print("champion_info " + m.Champion)
	var moments []string
	for name, at := range map[string]time.Time{"last_keep": m.LastKeep, "last_trial": m.LastTrial, "study_active_since": m.ActiveSince, "config_reload_success": m.ConfigReload} {
		if !at.IsZero() {
			moments = append(moments, fmt.Sprintf("%s %v", name, at.Sub(p.began).Round(time.Second)))
		}
	}
	slices.Sort(moments)
	p.print(strings.Join(moments, "\n"))
	p.print(fmt.Sprintf("trial_budget %v, trial_limit %v, reload failed %v", m.Budget, m.Limit, m.ReloadFailed))
	if m.LLM.Enabled || m.LLM.Cap > 0 {
		p.print(fmt.Sprintf("llm enabled %v, models %v, cap %g", m.LLM.Enabled, m.LLM.Models, m.LLM.Cap))
	}
	return nil
}

// stage is a trainer that does what the transcript says.
type stage struct {
	p  *play
	mu sync.Mutex
	do map[int64]chan act // by trial
}

// of returns where a running trial is told what to do, nil if it does not run;
// 0: the first one.
func (s *stage) of(id int64) chan act {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id == 0 && len(s.do) > 0 {
		id = slices.Min(slices.Collect(maps.Keys(s.do)))
	}
	return s.do[id]
}

// several reports whether more than one trial runs.
func (s *stage) several() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.do) > 1
}

func (s *stage) set(id int64, do chan act) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.do == nil {
		s.do = map[int64]chan act{}
	}
	if s.do[id] = do; do == nil {
		delete(s.do, id)
	}
}

// act is one thing that a running trial does: an event, or its end.
type act struct {
	event   *trainer.Event
	outcome search.Outcome
	err     error
}

func (s *stage) Inspect(_ context.Context, source []byte) (trainer.Inspection, error) {
	return inspect(source), nil
}

func (s *stage) Warm(device string, _ []byte) {
	s.p.print(fmt.Sprintf("%sa trainer may get ready for %s", s.p.clock(), device))
}

func (s *stage) Run(ctx context.Context, o trainer.Order, observe func(trainer.Event)) (search.Outcome, error) {
	do := make(chan act)
	s.set(o.ID, do)
	defer s.set(o.ID, nil)
	observe(trainer.Event{Phase: search.Startup})
	var gate chan struct{}
	if o.Gate != nil {
		gate = o.Gate.Open
		s.p.print(fmt.Sprintf("%strial %d is to wait for trial %d", s.p.clock(), o.ID, o.Gate.After))
	}
	for {
		select {
		case <-ctx.Done():
			var p trainer.Prune
			if errors.As(context.Cause(ctx), &p) {
				return search.Outcome{Status: search.Pruned, Detail: p.Why, WallSeconds: 230}, nil
			}
			if s.several() {
				time.Sleep(time.Duration(o.ID) * time.Microsecond)
			}
			return search.Outcome{Status: search.Interrupted, Detail: "ended from outside"}, nil
		case <-gate:
			gate = nil
			s.p.print(fmt.Sprint(s.p.clock(), gateOpens[1:], o.ID))
		case a := <-do:
			if a.event == nil {
				s.set(o.ID, nil)
				return a.outcome, a.err
			}
			observe(*a.event)
		}
	}
}

func (s *stage) Close() error { return nil }

// parseOutcome reads "0.9812", "0.9812 44GiB", "0.9812 loss=3.1", whose curve
// falls to that loss in 300 counted seconds, or a status with its detail, in
// which \n stands for a new line.
func parseOutcome(text string) search.Outcome {
	word, rest, _ := strings.Cut(text, " ")
	if v, err := strconv.ParseFloat(word, 64); err == nil {
		o := search.Outcome{Status: search.Completed, ValBPB: v, TrainingSeconds: 300, Steps: 891}
		for _, word := range strings.Fields(rest) {
			gib, _ := strconv.ParseInt(strings.TrimSuffix(word, "GiB"), 10, 64)
			o.PeakVRAM = max(o.PeakVRAM, gib<<30)
			if million, ok := strings.CutSuffix(word, "Mtok"); ok {
				n, _ := strconv.ParseInt(million, 10, 64)
				o.Tokens = n * 1e6
			}
			if loss, err := strconv.ParseFloat(strings.TrimPrefix(word, "loss="), 64); err == nil {
				for s := range 301 {
					o.Curve = append(o.Curve, search.Point{Step: s, Seconds: float64(s), Loss: loss + float64(300-s)/100})
				}
			}
		}
		return o
	}
	statuses := map[string]search.Status{"crash": search.Crashed, "oom": search.OutOfMemory, "diverged": search.Diverged, "timeout": search.TimedOut, "tampered": search.Tampered}
	return search.Outcome{Status: statuses[word], Detail: strings.ReplaceAll(rest, `\n`, "\n"), ExitCode: 1}
}

type fakeGPU struct {
	mu   sync.Mutex
	used [8]int64 // bytes, by index
}

// set sets what is used of a GPU, or with -1 of all.
func (g *fakeGPU) set(only int, used int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.used {
		if only < 0 || i == only {
			g.used[i] = used
		}
	}
}

func (g *fakeGPU) MemoryUsed(index int) (int64, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.used[index], true
}

func (g *fakeGPU) ProcessMemory(map[int]bool) (int64, bool) { return 0, false }

// lines is a slog.Handler that writes a transcript's lines.
type lines struct {
	p     *play
	attrs []slog.Attr
}

func (l *lines) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }
func (l *lines) WithGroup(string) slog.Handler                    { return l }
func (l *lines) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &lines{l.p, append(slices.Clone(l.attrs), attrs...)}
}

func (l *lines) Handle(_ context.Context, r slog.Record) error {
	line := l.p.clock()
	if r.Level > slog.LevelInfo {
		line += r.Level.String() + " "
	}
	line += r.Message
	add := func(a slog.Attr) bool {
		text := a.Value.String()
		if strings.ContainsAny(text, " \n\"") || text == "" {
			text = strconv.Quote(text)
		}
		line += " " + a.Key + "=" + text
		return true
	}
	for _, a := range l.attrs {
		add(a)
	}
	r.Attrs(add)
	l.p.print(line)
	return nil
}

// looks makes of what is said of a name what Options.Look says of a device.
func looks(fit func(string) *device.Unfit) func(device.Device) (device.Device, *device.Unfit) {
	return func(d device.Device) (device.Device, *device.Unfit) { return d, fit(d.Name) }
}
