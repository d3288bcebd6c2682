package trainer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"autoresearchd/daemon/device"
	"autoresearchd/daemon/slurm"
	"autoresearchd/metrics"
)

// cluster is the place of the seats on a Slurm cluster. Each has a berth: an
// allocation that the daemon asks for when a trial is to run, and in it one step
// with a host. What becomes of one is nobody else's.
type cluster struct {
	options *Options
	slurm   slurm.Cluster
	binary  string // on the nodes too
	prefix  string // of the names of this study's allocations
	start   func(job string) (*step, error)

	mu      sync.Mutex
	berths  map[string]*berth
	avoided map[string]time.Time // until when no allocation is asked for there, by node

	listing sync.Mutex
	listed  []slurm.Job // of this study
	fault   error       // that there was instead
	asked   time.Time   // when the controller was last asked for them
}

// Berth is what a seat on a cluster asks for.
type Berth struct {
	Name    string // of the seat
	Request slurm.Request
}

const (
	// unwanted is how long an allocation is held for no trial.
	unwanted = 2 * time.Minute
	// stepPatience bounds the wait for the end of a step, after which the allocation goes too.
	stepPatience = 45 * time.Second
	// avoidance is how long a study keeps away from a node that is no good.
	avoidance = 10 * time.Minute
	// lookEvery is how often the end of an allocation is looked up.
	lookEvery = time.Minute
	// greeting bounds the wait for a host's hello: a node may read the venv from afar.
	greeting = 2 * time.Minute
)

func newCluster(o *Options, cgroups *Cgroups) *cluster {
	sum := sha256.Sum256([]byte(o.Owner))
	c := &cluster{options: o, slurm: slurm.Cluster{Env: Environment(o.Secrets)}, prefix: fmt.Sprintf("autoresearchd/%x/", sum[:4]), berths: map[string]*berth{}, avoided: map[string]time.Time{}}
	c.start = func(job string) (*step, error) { return startStep(cgroups, c, job) }
	return c
}

// Berths adds seats on a cluster; those that are there stay. woken is called
// when one has got a node.
func (p *Process) Berths(all []Berth, woken func()) error {
	c := p.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range all {
		if c.berths[b.Name] != nil {
			continue
		}
		if c.binary == "" {
			var err error
			if c.binary, err = os.Executable(); err != nil {
				return fmt.Errorf("find this program's file, which nodes are to run: %w", err)
			}
		}
		ctx, cancel := context.WithCancel(context.Background())
		own := &berth{
			cluster: c, seat: b.Name, known: c.prefix + b.Name + "/", request: b.Request, woken: woken, cancel: cancel, why: "it asks for an allocation",
			wanted: make(chan struct{}, 1), ended: make(chan struct{}), log: p.options.Log.With("seat", b.Name),
		}
		own.request.Name = own.known + p.options.Study
		c.berths[b.Name] = own
		go own.keep(ctx)
	}
	return nil
}

// ErrQueued says that an allocation was not there in time.
var ErrQueued = errors.New("its allocation waits in the queue")

// Site is what a step has found on a node.
type Site struct {
	Host, Device, Kind, Python, Sandbox string
	Apart                               time.Duration // this machine's clock less the node's
}

// Probe asks for what a seat would, runs a step there that looks around, and
// gives it back.
func (p *Process) Probe(ctx context.Context, b Berth) (Site, error) {
	c := p.cluster
	var err error
	if c.binary, err = os.Executable(); err != nil {
		return Site{}, err
	}
	b.Request.Name = c.prefix + "doctor"
	id, err := c.slurm.Submit(ctx, b.Request)
	if err != nil {
		return Site{}, err
	}
	defer func() {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepPatience)
		defer cancel()
		_ = c.slurm.Cancel(late, id)
	}()
	state := "job " + id + " is asked for"
	for {
		jobs, err := c.slurm.Jobs(ctx, b.Request.Name)
		i := slices.IndexFunc(jobs, func(j slurm.Job) bool { return j.ID == id })
		switch {
		case err != nil && ctx.Err() == nil:
			return Site{}, err
		case i < 0:
		case jobs[i].Runs() && jobs[i].Left >= 0 && jobs[i].Left < c.need():
			return Site{}, c.brief(jobs[i])
		case jobs[i].Runs():
			s, n, hello, _, err := c.enter(ctx, jobs[i], b.Name)
			if err != nil {
				return Site{}, err
			}
			apart := time.Since(hello.Now)
			n.fail(errUnwanted)
			s.end()
			return Site{hello.Host, hello.Device, hello.Kind, hello.Python, hello.Sandbox, apart}, nil
		case !jobs[i].Waits():
			return Site{}, fmt.Errorf("its allocation, job %s, is %s (%s)", id, strings.ToLower(jobs[i].State), jobs[i].Reason)
		default:
			state = queued(jobs[i])
		}
		select {
		case <-ctx.Done():
			return Site{}, fmt.Errorf("%w: %s", ErrQueued, state)
		case <-time.After(time.Second):
		}
	}
}

// Look says how a seat's device is now, with what has been found on its node,
// and why no trial can begin there; nil: one can. Asking makes the seat get an
// allocation.
func (p *Process) Look(d device.Device) (device.Device, *device.Unfit) {
	b := p.cluster.berth(d.Name)
	if b == nil {
		return d, nil
	}
	return b.look(d)
}

// Beside says how many bytes of a seat's device are in use on its node, by
// everybody; not ok: it is not known, or another trial there would not end before
// the allocation.
func (p *Process) Beside(seat string) (used int64, ok bool) {
	b := p.cluster.berth(seat)
	if b == nil {
		return 0, false
	}
	b.mu.Lock()
	n, end := b.node, b.end
	b.mu.Unlock()
	if n == nil || !end.IsZero() && time.Until(end) < p.cluster.need() {
		return 0, false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.used, n.used >= 0 && time.Since(n.measured) < 3*sampleEvery
}

// Remote says where the seats on a cluster are now, and what NVML says there.
func (p *Process) Remote() []metrics.Remote {
	var out []metrics.Remote
	p.cluster.mu.Lock()
	defer p.cluster.mu.Unlock()
	for _, b := range p.cluster.berths {
		n := b.here()
		if n == nil {
			continue
		}
		n.mu.Lock()
		r := metrics.Remote{Seat: b.seat, Host: n.hello.Host, Device: n.hello.Device, Class: n.hello.Kind}
		if time.Since(n.read) < 3*beat {
			r.GPUs = n.gpus
		}
		n.mu.Unlock()
		out = append(out, r)
	}
	return out
}

func (c *cluster) berth(seat string) *berth {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.berths[seat]
}

// jobs are this study's allocations as they were at the given time or later. All
// seats share the answer, so that the controller is asked no more often for many.
func (c *cluster) jobs(ctx context.Context, since time.Time) ([]slurm.Job, error) {
	c.listing.Lock()
	defer c.listing.Unlock()
	if c.asked.Before(since) {
		now := time.Now()
		all, err := c.slurm.Jobs(ctx, c.prefix)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		c.listed, c.fault, c.asked = all, err, now
	}
	return c.listed, c.fault
}

// badNode is a fault of a node, and not of the study or of Slurm.
type badNode struct{ error }

func (b badNode) Unwrap() error { return b.error }

// avoid keeps the study's next allocations away from a node for a while.
func (c *cluster) avoid(node string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.avoided[node] = time.Now().Add(avoidance)
}

// submit asks for an allocation, away from nodes that are no good as long as
// there are others.
func (c *cluster) submit(ctx context.Context, r slurm.Request) (string, error) {
	c.mu.Lock()
	maps.DeleteFunc(c.avoided, func(_ string, until time.Time) bool { return time.Now().After(until) })
	r.Avoid = slices.Sorted(maps.Keys(c.avoided))
	c.mu.Unlock()
	id, err := c.slurm.Submit(ctx, r)
	if err == nil || len(r.Avoid) == 0 || ctx.Err() != nil {
		return id, err
	}
	r.Avoid = nil
	return c.slurm.Submit(ctx, r)
}

// close gives every allocation back.
func (c *cluster) close() {
	c.mu.Lock()
	all := slices.Collect(maps.Values(c.berths))
	c.mu.Unlock()
	for _, b := range all {
		b.cancel()
	}
	for _, b := range all {
		<-b.ended
	}
}
