package trainer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"autoresearchd/daemon/device"
	"autoresearchd/daemon/slurm"
	"autoresearchd/search"
)

// berth is where the trials of one seat run.
type berth struct {
	cluster *cluster
	seat    string
	known   string // how the names of its allocations begin
	request slurm.Request
	woken   func()
	cancel  func()
	wanted  chan struct{} // holds a token when a trial is to run
	ended   chan struct{}
	log     *slog.Logger

	mu   sync.Mutex
	node *node     // nil: none
	end  time.Time // of its allocation; zero: none is known
	why  string    // there is no node
	said string    // the last of it that was logged
	last time.Time // when a trial was last to run here
}

var digits = regexp.MustCompile(`[0-9]+`)

func (b *berth) say(why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.why = why
	// How long it waits changes, and the number of a job; the reason is news.
	kind, _, _ := strings.Cut(why, "; it is tried again")
	if kind = digits.ReplaceAllString(kind, ""); kind != b.said {
		b.said = kind
		b.log.Info("waiting for the cluster", "why", why)
	}
}

// here is the node; nil: there is none.
func (b *berth) here() *node {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.node
}

// need is how long an allocation must last for a trial.
func (c *cluster) need() time.Duration { return c.options.Limits.Total + c.options.Grace }

// brief says that an allocation is too short from its begin.
func (c *cluster) brief(j slurm.Job) error {
	return fmt.Errorf("its allocation lasts %v, and a trial up to %v (watchdog.total): raise seats.time, or name a partition with a longer limit", j.Left.Round(time.Second), c.need())
}

func (b *berth) look(d device.Device) (device.Device, *device.Unfit) {
	b.mu.Lock()
	b.last = time.Now()
	n, end, why := b.node, b.end, b.why
	b.mu.Unlock()
	if n != nil && n.gone() { // which the seat is yet to hear
		n, why = nil, n.why(nil).Error()
	}
	switch {
	case n == nil:
		select {
		case b.wanted <- struct{}{}:
		default:
		}
		return d, &device.Unfit{Waits: "waiting for the cluster", Why: d.Name + ": " + why}
	case !end.IsZero() && time.Until(end) < b.cluster.need():
		why := fmt.Sprintf("its allocation ends in %v, before a trial could", time.Until(end).Round(time.Second))
		n.mu.Lock()
		busy := n.trials > 0
		n.mu.Unlock()
		if !busy {
			n.fail(&surrender{errors.New(why)})
		}
		return d, &device.Unfit{Waits: "waiting for the cluster", Why: d.Name + ": " + why + ": another is asked for"}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	d.Host, d.Local, d.Kind, d.Memory, d.Sandbox = n.hello.Host, n.hello.Device, n.hello.Kind, n.hello.Memory, n.hello.Sandbox
	return d, nil
}

func (b *berth) environment(search.Trial) []string { return nil } // the node's, which its host knows

func (b *berth) onCores(string) (trains, calm bool) {
	if n := b.here(); n != nil {
		return device.IsCPU(n.hello.Device), n.hello.Calm
	}
	return false, false
}

func (b *berth) start(j job) (trainee, error) {
	n := b.here()
	if n == nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		return nil, fmt.Errorf("start a trainer on %s: %s", b.seat, b.why)
	}
	j.deny, _ = b.cluster.options.Notary.validation()
	return n.start(j)
}

// surrender is why an allocation is given back, and not only its step ended.
type surrender struct{ error }

func (s *surrender) Unwrap() error { return s.error }

// errUnwanted says that nobody needs an allocation any more.
var errUnwanted = errors.New("no trial is to run")

// keep holds an allocation while trials are to run, again and again, each time
// after a longer wait where it came to nothing.
func (b *berth) keep(ctx context.Context) {
	defer close(b.ended)
	failures := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.wanted:
		}
		began := time.Now()
		err := b.hold(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errUnwanted):
			select { // what was wanted then
			case <-b.wanted:
			default:
			}
			b.say("it asks for an allocation")
			failures = 0
			continue
		case time.Since(began) > time.Minute:
			failures = 0
		}
		wait := min(time.Second<<min(failures, 10), 10*time.Minute)
		failures++
		b.say(fmt.Sprintf("%v; it is tried again after %v", err, wait))
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// hold gets an allocation, runs a host in it, and returns why that is over, with
// the proof that nothing runs there any more.
func (b *berth) hold(ctx context.Context) error {
	job, err := b.allocate(ctx)
	if err != nil {
		return err
	}
	give := func() {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepPatience)
		defer cancel()
		if err := b.cluster.slurm.Cancel(late, job.ID); err != nil {
			b.log.Warn("an allocation could not be given back", "job", job.ID, "err", err)
		}
	}
	over := b.attend(ctx, job)
	if bad := new(badNode); errors.As(over, bad) && ctx.Err() == nil {
		b.log.Warn("a node is avoided", "node", job.Node, "for", avoidance, "why", over)
		b.cluster.avoid(job.Node)
	}
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepPatience)
	defer cancel()
	err = b.cluster.slurm.End(late, job.ID)
	var given *surrender
	switch {
	case ctx.Err() != nil || errors.As(over, &given) || errors.Is(over, errUnwanted):
		give()
	case err != nil: // its steps end with it
		b.log.Warn("an allocation is given up", "job", job.ID, "err", err)
		give()
	}
	return over
}

// allocate finds this seat's allocation, or asks for one, and waits until steps
// can run in it.
func (b *berth) allocate(ctx context.Context) (slurm.Job, error) {
	c := b.cluster.slurm
	asked, silent, since := "", 0, time.Now()
	for pause := time.Second; ; pause = min(pause*3/2, 15*time.Second) {
		jobs, err := b.cluster.jobs(ctx, since)
		jobs = slices.DeleteFunc(slices.Clone(jobs), func(j slurm.Job) bool { return !strings.HasPrefix(j.Name, b.known) })
		var mine slurm.Job
		for _, j := range jobs {
			switch {
			case !j.Runs() && !j.Waits():
			case mine.ID == "" || j.Runs() && !mine.Runs():
				mine = j
			}
		}
		switch {
		case err != nil && (asked == "" || ctx.Err() != nil):
			return mine, err
		case err != nil: // a controller that restarts is waited for
			b.say(err.Error())
		case mine.Runs() && mine.Left >= 0 && mine.Left < b.cluster.need():
			_ = c.Cancel(ctx, mine.ID)
			if mine.ID == asked {
				return mine, b.cluster.brief(mine)
			}
			b.say(fmt.Sprintf("its allocation ends in %v, before a trial could: another is asked for", mine.Left.Round(time.Second)))
		case mine.Runs():
			b.lasts(mine)
			return mine, nil
		case mine.ID != "":
			asked, silent = mine.ID, 0
			b.say("its allocation waits in the queue: " + queued(mine))
		case asked != "" && silent > 2:
			return mine, fmt.Errorf("its allocation, job %s, ended before it could be used", asked)
		case asked != "":
			silent++ // the controller may need a moment
		default:
			if asked, err = b.cluster.submit(ctx, b.request); err != nil {
				return mine, err
			}
			b.say(fmt.Sprintf("its allocation is asked for: job %s", asked))
			pause = 200 * time.Millisecond
		}
		if b.idle() > unwanted {
			for _, j := range jobs {
				_ = c.Cancel(ctx, j.ID)
			}
			return mine, errUnwanted
		}
		select {
		case <-ctx.Done():
			if asked != "" { // it has not begun, or nothing runs in it
				late, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepPatience)
				defer cancel()
				_ = c.Cancel(late, asked)
			}
			return mine, ctx.Err()
		case <-time.After(pause):
		}
		since = time.Now()
	}
}

// queued says how a job waits.
func queued(j slurm.Job) string {
	text := fmt.Sprintf("job %s is %s (%s)", j.ID, strings.ToLower(j.State), j.Reason)
	if remedy := j.Remedy(); remedy != "" {
		text += ": " + remedy
	}
	return text
}

// lasts notes when an allocation ends.
func (b *berth) lasts(j slurm.Job) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.end = time.Time{}
	if j.Left >= 0 {
		b.end = time.Now().Add(j.Left)
	}
}

// follow looks up when an allocation ends again and again: its time may be
// changed while it runs.
func (b *berth) follow(ctx context.Context, job string) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(lookEvery):
		}
		jobs, err := b.cluster.jobs(ctx, time.Now().Add(-lookEvery/2))
		if i := slices.IndexFunc(jobs, func(j slurm.Job) bool { return j.ID == job && j.Runs() }); err == nil && i >= 0 {
			b.lasts(jobs[i])
		}
	}
}

// idle is how long no trial has been to run.
func (b *berth) idle() time.Duration {
	b.mu.Lock()
	n, last := b.node, b.last
	b.mu.Unlock()
	if n != nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.idle.IsZero() {
			return 0
		}
		if n.idle.After(last) {
			last = n.idle
		}
	}
	return time.Since(last)
}

// enter starts a host in an allocation and hears what it has for trials.
func (c *cluster) enter(ctx context.Context, job slurm.Job, seat string) (s *step, n *node, found *hostHello, ended chan error, err error) {
	if s, err = c.start(job.ID); err != nil {
		return nil, nil, nil, nil, err
	}
	o := c.options
	n = newNode(s.in, o.LogLimit)
	hello := make(chan *hostHello, 1)
	ended = make(chan error, 1)
	go func() { ended <- n.listen(s.out, hello) }()
	err = n.say(hostRequest{Op: "begin", Setup: &setup{
		Protocol: protocol, Owner: o.Owner + ":" + seat, Python: o.Python, Cache: o.Cache, Needs: o.Needs, LogLimit: o.LogLimit, Processes: o.Processes,
		Memory: o.Memory, Room: min(1, o.Room), Confine: o.Confine, Closed: o.Closed, Overlap: o.Overlap,
		Sandbox: o.Asked, Shared: o.Shared, Deny: o.Deny,
	}})
	patience := time.NewTimer(greeting)
	defer patience.Stop()
	if err != nil {
		err = s.fault(err)
	} else {
		select {
		case found = <-hello:
			if len(found.Faults) > 0 {
				err = badNode{fmt.Errorf("no trial can run on %s: %s", found.Host, strings.Join(found.Faults, "; "))}
			}
		case err = <-ended:
			err = fmt.Errorf("the step on %s did not begin: %w", job.Node, s.fault(err))
		case <-patience.C:
			err = badNode{fmt.Errorf("the step on %s has not begun within %v: %w", job.Node, greeting, s.fault(errors.New("it said nothing")))}
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err != nil {
		n.fail(err)
		s.end()
		return nil, nil, nil, nil, err
	}
	return s, n, found, ended, nil
}

// attend runs a host in an allocation until it is over, and returns why.
func (b *berth) attend(ctx context.Context, job slurm.Job) error {
	b.say(fmt.Sprintf("a step begins on %s: job %s", job.Node, job.ID))
	late, cancel := context.WithTimeout(ctx, stepPatience)
	err := b.cluster.slurm.End(late, job.ID) // what an earlier daemon left
	cancel()
	if err != nil {
		return &surrender{err}
	}
	s, n, found, ended, err := b.cluster.enter(ctx, job, b.seat)
	if err != nil {
		return &surrender{err}
	}
	defer func() {
		b.mu.Lock()
		b.node = nil
		b.mu.Unlock()
		s.end()
	}()
	if apart := time.Since(found.Now); apart.Abs() > time.Minute {
		b.log.Warn("a node's clock is not this machine's", "host", found.Host, "apart", apart.Round(time.Second), "remedy", "run chronyd or systemd-timesyncd there: munge refuses what is five minutes apart")
	}
	b.mu.Lock()
	b.node, b.said = n, ""
	b.last = time.Now()
	b.mu.Unlock()
	followed, leave := context.WithCancel(ctx)
	defer leave()
	go b.follow(followed, job.ID)
	b.log.Info("a node is there", "host", found.Host, "device", found.Device, "kind", found.Kind, "job", found.Job, "sandbox", found.Sandbox)
	b.woken()

	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrClosed) {
				err = s.fault(errors.New("its step ended"))
			}
			err = fmt.Errorf("%s on %s was lost: %w", b.seat, found.Host, err)
			n.fail(err)
			return n.why(err)
		case <-n.over:
			return n.why(nil)
		case <-ctx.Done():
			n.fail(ctx.Err())
			return ctx.Err()
		case <-tick.C:
			n.mu.Lock()
			silent := time.Since(n.heard)
			n.mu.Unlock()
			switch {
			case silent > lease:
				n.fail(fmt.Errorf("%s on %s has not been heard for %v", b.seat, found.Host, silent.Round(time.Second)))
			case b.idle() > unwanted:
				n.fail(errUnwanted)
			default:
				_ = n.say(hostRequest{Op: "alive"})
			}
		}
	}
}

// gone reports whether it is over.
func (n *node) gone() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lost != nil
}

// why is why it is over; else, if nobody has said that before.
func (n *node) why(otherwise error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lost != nil {
		return n.lost
	}
	return otherwise
}
