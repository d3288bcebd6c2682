package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"autoresearchd/daemon/compiled"
	"autoresearchd/daemon/config"
	"autoresearchd/daemon/external"
	"autoresearchd/daemon/httpd"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/modelserver"
	"autoresearchd/daemon/notify"
	"autoresearchd/daemon/sandbox"
	"autoresearchd/daemon/study"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/daemon/trainer"
	"autoresearchd/daemon/webhook"
	"autoresearchd/daemon/writable"
	"autoresearchd/metrics"
	"autoresearchd/metrics/gpu"
	"autoresearchd/pyembed"
	"autoresearchd/search"
)

// memoryGoal is where Go's collector begins to work harder: the daemon shares
// its host with training. SQLite and the interpreter's library come on top.
const memoryGoal = 32 << 20

// farewell is how long the daemon's end may wait for its last notice to be sent.
const farewell = 10 * time.Second

func (g *globals) runCommand() *cobra.Command {
	var trials int
	var tag string
	var set []string
	var relocate bool
	c := &cobra.Command{
		Use: "run", Short: "run the study in the foreground, as the systemd unit does", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if tag != "" {
				set = append(set, fmt.Sprintf("study.tag=%q", tag))
			}
			if trials < 0 {
				return usageError{fmt.Errorf("--trials %d: give a positive number", trials)}
			}
			ctx := cmd.Context()
			if ctx == nil {
				ctx = context.Background()
			}
			d := newService(func() (*config.Config, error) { return g.load(set) })
			d.relocate = relocate
			if err := d.ended(d.serve(ctx, trials)); err != nil {
				return err
			}
			if d.next != "" && !d.screen.mute {
				g.next(cmd.OutOrStdout(), d.next)
			}
			return nil
		},
	}
	c.Flags().IntVar(&trials, "trials", 0, "stop after `N` more trials")
	c.Flags().StringVar(&tag, "tag", "", "the study's tag; its branch is autoresearch/`T`")
	c.Flags().BoolVar(&relocate, "relocate", false, "continue the study in the configured workspace, even though its history does not prove that it is the same one")
	c.Flags().StringArrayVar(&set, "set", nil, "override a configuration key for this run: `KEY=VALUE`")
	return c
}

// service is what says how the loop fares.
type service struct {
	load     func() (*config.Config, error)
	screen   *screen
	level    slog.LevelVar
	log      *slog.Logger
	notifier *notify.Notifier
	relocate bool
	next     string // the command that comes after it; empty: none
}

func newService(load func() (*config.Config, error)) *service {
	d := &service{load: load, screen: newScreen(os.Stdout, os.Stderr)}
	d.log = slog.New(slog.NewTextHandler(d.screen.log(), &slog.HandlerOptions{Level: &d.level}))
	d.notifier = notify.New(d.log)
	return d
}

// ended tells a service manager why the daemon ends, and whether it is any use
// to start it again.
func (d *service) ended(err error) error {
	var exit exitError
	if err == nil || errors.As(err, &exit) || !d.notifier.Enabled() {
		return err
	}
	var faults config.Faults
	var usage usageError
	var refusal study.Refusal
	if errors.As(err, &faults) || errors.As(err, &usage) || errors.As(err, &refusal) || errors.Is(err, lineage.ErrMoved) || errors.Is(err, writable.ErrDenied) {
		d.notifier.Status("refused to start, and will not be restarted until this is fixed: %v", err)
		return refusedService{err}
	}
	d.notifier.Status("ended: %v", err)
	return err
}

// serve is the daemon.
func (d *service) serve(ctx context.Context, trials int) error {
	c, err := d.load()
	if err != nil {
		return err
	}
	debug.SetMemoryLimit(memoryGoal)
	screen, log, notifier := d.screen, d.log, d.notifier
	setLevel(&d.level, c.Log.Level, screen)
	key := modelserver.ReadKey(c.LLM)
	if _, err := key.Get(); err != nil && c.LLM.Enabled {
		log.Error("models cannot be asked: fix this and reload", "err", err)
	}

	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	go func() { // a second signal is not waited for
		<-ctx.Done()
		stop()
		notifier.Stopping()
	}()

	if err := trainer.CheckVenv(ctx, c.Python()); err != nil {
		return study.Refusal{Err: err}
	}
	repo, err := lineage.Open(ctx, c.Study.Workspace)
	if err != nil {
		return study.Refusal{Err: err}
	}
	j, err := journal.Open(c.Study.State)
	if err != nil {
		return err
	}
	defer j.Close()
	if err := proveState(c, repo); err != nil {
		return err
	}
	gpus := gpu.Open(ctx)
	machine, devices, err := findDevices(c, gpus)
	if err != nil {
		return study.Refusal{Err: err}
	}
	o, err := options(c, func(id int64) string { return study.Folder(c.Study.State, id) })
	if err != nil {
		return err
	}
	o.Log, o.GPU, o.Cores, o.Overlap = log, gpus, coresOf(machine, devices), c.Trial.Overlap == "auto"
	if o.Room > 0 {
		o.Room = max(1, len(devices))
	}
	far, berths := remotes(c, 0)
	devices = append(devices, far...)
	o.Study, o.Needs = c.Tag(time.Now()), needs(c)
	o.Compiled = compiled.Open(log, compiled.Limit, compiledIn(c)...)
	defer o.Compiled.Close()
	if err := hideSecrets(c, &o, log); err != nil {
		return err
	}
	box, err := confine(c, &o, repo, devices)
	if err != nil {
		return study.Refusal{Err: err}
	}
	defer box.Close()
	o.Seat = func(id int64, handle string) {
		if err := j.SetSeat(id, handle); err != nil {
			log.Error("the trial's place could not be recorded", "trial", id, "err", err)
		}
	}
	before, err := j.Trials()
	if err != nil {
		return err
	}
	if o.Notary, err = newNotary(c, o, before); err != nil {
		return err
	}
	defer o.Notary.Close()
	tr, err := newTrainer(ctx, c, o)
	if err != nil {
		return err
	}
	defer tr.Close()
	programs, err := newPrograms(c, o, box, tr)
	if err != nil {
		return err
	}
	defer programs.Close()
	head, err := repo.Head(ctx)
	if err != nil {
		return study.Refusal{Err: err}
	}
	prepare, err := repo.ReadFile(ctx, head, "prepare.py")
	if err != nil {
		return study.Refusal{Err: err}
	}
	if err := checkData(prepare, c); err != nil {
		return study.Refusal{Err: err}
	}
	meter := &lateMeter{}
	ledger := modelserver.NewLedger(c.Study.State)
	j.Observe = func(seconds float64) { meter.journal(seconds) }
	hook := webhook.New(c.Notify, log)
	notices := newNotices(hook, c.Notify)
	st, err := study.Open(ctx, study.Options{Config: c, Journal: j, Repo: repo, Inspect: tr.Inspect, Log: log, Relocate: d.relocate})
	if err != nil {
		return err
	}
	o.Notary.Start(func(ctx context.Context, dir string) error { return repo.Export(ctx, st.About().BaseCommit, dir, "") })
	s, err := supervisor.New(supervisor.Options{
		Study: st, Config: c, Trainer: tr, Registry: search.Default, Meter: meter, GPU: gpus, Trials: trials,
		Devices: devices, Look: wholeCluster(tr, fitness(c, devices, gpus)), Beside: nodeMemory(tr), Soon: soon(tr),
		Start: programs.Start, Model: models(key, ledger, meter, log),
		Anew: o.Notary.Lost, Sandbox: confinement(c, box, log),
		Stay: notifier.Enabled(), Progress: notifier.Progress, Log: log,
		Finished: func(e study.Ending) { screen.finished(e); notices.finished(e) }, Over: notices.over,
	})
	if err != nil {
		return err
	}
	notices.study = s.Now
	if own, ok := tr.(*trainer.Process); ok {
		if err := own.Berths(berths, s.Wake); err != nil {
			return err
		}
	}
	m := metrics.New(source{s, ledger}, gpus, metrics.Build{Version: version, Python: pyembed.Version()})
	m.Registry().MustRegister(metrics.Disk(c.Study.State))
	if own, ok := tr.(*trainer.Process); ok {
		m.Registry().MustRegister(metrics.Cluster(own.Remote))
	}
	meter.set(m)
	meter.models(c.LLM)

	reload := func() error {
		next, err := d.load()
		if err == nil && next.LLM.Enabled {
			err = key.Reload(next.LLM)
		}
		if err != nil {
			s.ReloadFailed(err)
		} else {
			err = s.Reload(next)
		}
		if err != nil {
			log.Error("the configuration was not reloaded; the old one stays in force", "err", err)
		} else {
			setLevel(&d.level, next.Log.Level, screen)
			notices.configure(next.Notify)
			meter.models(next.LLM)
			if more, asked := remotes(next, len(far)); len(more) > 0 {
				if err = tr.(*trainer.Process).Berths(asked, s.Wake); err == nil {
					s.Add(more...)
					far = append(far, more...)
					log.Info("more seats", "devices", names(more))
				}
			}
			log.Info(willHold)
		}
		notifier.Status("%s", statusLine(s.Now()))
		return err
	}
	reloads := make(chan chan error)
	control, err := httpd.Control(c.Study.State, controller{s, reloads}, log)
	if err != nil {
		return err
	}
	defer control.Close()
	reader, err := journal.OpenReader(c.Study.State)
	if err != nil {
		return err
	}
	defer reader.Close()
	view, err := newAPI(c.Study.State, s, reader, repo, gpus)
	if err != nil {
		return err
	}
	public, err := httpd.Listen(c.HTTP.Listen, httpd.Public{Metrics: meter.page(), API: view, Ready: s.Ready, Log: log})
	if err != nil {
		return err
	}
	defer public.Close()
	defer view.Close() // first, since the server waits for its streams

	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hup:
				notifier.Reloading()
				_ = reload() // who sends a signal reads the log
				notifier.Ready()
			case answer := <-reloads: // systemd waits for the command that asks
				answer <- reload()
			}
		}
	}()
	go notifier.Watch(ctx, 2*time.Minute)
	go reportStatus(ctx, s, notifier, screen)
	go notices.watch(ctx, s)

	log.Info("ready", "study", s.Now().Study.Tag, "devices", names(devices), "python", pyembed.Version(), "listen", public.Addr())
	past, err := j.Trials()
	if err != nil {
		return err
	}
	screen.begin(s, past, c.Trial.Budget, names(devices), public.Addr())
	notifier.Progress()
	notifier.Ready()
	err = s.Run(ctx)
	screen.end(s, errors.Is(err, supervisor.ErrEnded))
	switch baseline, champion := search.Ends(s.History().Done); {
	case champion == nil:
	case champion == baseline:
		d.next = "show best"
	default:
		d.next = "best"
	}
	if errors.Is(err, trainer.ErrRestart) && ctx.Err() != nil {
		err = nil // it was to end in any case, and the trial ends with it
	}
	switch {
	case errors.Is(err, trainer.ErrRestart): // it comes back at once
	case err != nil && !errors.Is(err, supervisor.ErrEnded):
		notices.over("the daemon gave up: " + err.Error())
	default:
		notices.over("the daemon was stopped")
	}
	closing, cancel := context.WithTimeout(context.Background(), farewell)
	hook.Close(closing)
	cancel()
	switch {
	case errors.Is(err, trainer.ErrRestart):
		log.Warn("this process restarts, since a trial inside it could not be ended on its own; the study continues after that")
		return exitError(trainer.RestartStatus)
	case errors.Is(err, supervisor.ErrEnded):
		log.Info(stopped)
		d.next = "resume"
		return nil
	}
	return err
}

// willHold is what a reload says when it was good.
const willHold = "the configuration was reloaded; it takes effect with the next trial"

// controller is what the control socket commands.
type controller struct {
	*supervisor.Supervisor
	reloads chan<- chan error
}

func (c controller) Reload(ctx context.Context) (string, error) {
	answer := make(chan error, 1)
	select {
	case c.reloads <- answer:
		return willHold, <-answer
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// stopped says how a study that was stopped goes on.
const stopped = "the study was stopped: `autoresearchd resume` continues it"

// statusLine is what systemd shows of the study.
func statusLine(now supervisor.Status) string {
	line := sentence(now)
	if now.State == "ended" {
		line += "; " + stopped
	}
	if now.Refusal != "" {
		line += "; the last reload was refused: " + now.Refusal
	}
	if now.Check != "" {
		line += "; the check gave " + now.Check
	}
	return line
}

// newPrograms starts what strategies work with, with the secrets and the
// control groups of trials.
func newPrograms(c *config.Config, o trainer.Options, box *sandbox.Box, tr trainer.Trainer) (*external.Programs, error) {
	p := external.Options{
		Dir: filepath.Join(c.Study.State, "programs"), Base: filepath.Dir(c.File()), Owner: o.Owner + ":programs",
		Secrets: o.Secrets, Processes: o.Processes, Memory: o.Memory, Sandbox: box, Closed: private(c), Log: o.Log,
	}
	if own, ok := tr.(*trainer.Process); ok {
		p.Cgroups = own.Cgroups()
	}
	return external.New(p)
}

func newTrainer(ctx context.Context, c *config.Config, o trainer.Options) (trainer.Trainer, error) {
	if c.Trial.Isolation == "inprocess" {
		if err := trainer.Supervised(os.Getenv); err != nil {
			return nil, usageError{err}
		}
		return trainer.NewInProcess(o)
	}
	p, err := trainer.NewProcess(o)
	if err != nil {
		return nil, err
	}
	if err := p.SelfTest(ctx); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// newNotary makes what proves the scores, and keeps what it knows of the study.
func newNotary(c *config.Config, o trainer.Options, past []journal.Record) (*trainer.Notary, error) {
	var known *search.Proof
	var first int64
	for _, r := range past {
		if p := r.Outcome.Proof; p != nil && p.Reference != "" {
			known, first = p, r.Trial.ID
		}
	}
	return trainer.NewNotary(o, filepath.Join(c.Study.State, study.Notary), known, first, c.Judge.Audit == config.AuditText)
}

func setLevel(v *slog.LevelVar, name string, s *screen) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(name)); err != nil {
		level = slog.LevelInfo
	}
	if s.Live && level == slog.LevelInfo {
		level = slog.LevelWarn // a person watches the live line
	}
	v.Set(level)
}

// reportStatus tells systemd and the screen what happens. Twice a second is
// seldom enough not to be felt by a trial on the same cores.
func reportStatus(ctx context.Context, s *supervisor.Supervisor, n *notify.Notifier, screen *screen) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	if !screen.Live {
		tick.Reset(5 * time.Second)
	}
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	last := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-resized:
		}
		now := s.Now()
		screen.draw(now)
		if line := statusLine(now); line != last {
			n.Status("%s", line)
			last = line
		}
	}
}
