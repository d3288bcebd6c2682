package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/daemon/terminal"
)

// watchStatus shows a study until it is interrupted, whether a daemon runs or
// not: on a terminal as lines that move, elsewhere a line for each change.
func watchStatus(ctx context.Context, state string, out *os.File) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	r, err := journal.OpenReader(state)
	if err != nil {
		return err
	}
	defer r.Close()
	study, _, err := r.Study()
	if err != nil {
		return err
	}
	t := terminal.Open(out)
	block := t.Block()
	v := view{budget: study.Budget}
	counted, said := -1, ""
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		asked, cancel := context.WithTimeout(ctx, 5*time.Second)
		now, err := statusOf(asked, state)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil: // a daemon that is just ending or starting; it is asked again
			now = v.now
			now.State, now.Seats = "cannot be asked: "+err.Error(), nil
		}
		v.now = now
		if now.Runs != counted {
			all, err := r.Trials()
			if err != nil {
				return err
			}
			v.read(all)
			counted = now.Runs
		}
		if t.Live {
			block.Draw(v.watched(t))
		} else if line := watchLine(now); line != said {
			fmt.Fprintln(out, line)
			said = line
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-resized:
		}
	}
}

// watched are the moving lines with a headline above and the last candidates below,
// as many as the window has room for.
func (v *view) watched(t *terminal.Terminal) []terminal.Line {
	width, height := t.Size()
	out := []terminal.Line{{{Text: "study " + foreign(v.now.Study.Tag), Style: terminal.Bold}, {Text: ", strategy " + foreign(v.now.Study.Strategy)}}}
	if v.now.Study.Strategy == "" { // no daemon runs
		out[0] = out[0][:1]
	}
	out = append(out, v.lines(t, width, height-1)...)
	if room := min(height-1-len(out)-1, len(v.rows)); room > 0 {
		out = append(out, candidateTable(v.rows[len(v.rows)-room:], v.took, width-1)...)
	}
	return out
}

// watchLine is what is said where nothing can move: what changes slowly.
func watchLine(now supervisor.Status) string {
	line := tried(now)
	if c := now.Champion; c != nil {
		line += fmt.Sprintf("; best %.6f by candidate %d", c.ValBPB, c.ID)
	}
	switch running := now.Running(); {
	case len(now.Seats) > 1:
		return line + "; " + countSeats(now.Seats)
	case len(running) > 0:
		r := running[0]
		return line + fmt.Sprintf("; trial %d%s: %s (%s)", r.ID, aside(r), r.Phase, foreign(r.Description))
	}
	return line + "; " + foreign(now.State)
}
