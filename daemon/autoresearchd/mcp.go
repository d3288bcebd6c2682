package main

import (
	"context"
	"fmt"
	"net/http"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"autoresearchd/daemon/httpd"
	"autoresearchd/daemon/httpd/api"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/mcp"
	"autoresearchd/daemon/modelserver"
	"autoresearchd/daemon/study"
	"autoresearchd/daemon/supervisor"
)

func (g *globals) mcpCommand() *cobra.Command {
	var control bool
	c := &cobra.Command{Use: "mcp", Short: "the record for coding agents, as an MCP server on standard input and output", Args: cobra.NoArgs,
		Long: `The study as a server of the Model Context Protocol on standard input and
output, for coding agents: its status, trials, diffs, logs, constants and
suggestions. It reads beside a running daemon and without one, and changes
nothing unless --control is given, which adds pause, resume, suggest and
drop_suggestion. An agent's own configuration names the command, such as

  autoresearchd --state /var/lib/autoresearch mcp`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			state, err := g.stateDir()
			if err != nil {
				return err
			}
			r, err := journal.OpenReader(state)
			if err != nil {
				return err
			}
			defer r.Close()
			s := mcp.Study{
				Version: version,
				Read:    func() (http.Handler, func(), error) { return g.recordAPI(state, r) },
				Waiting: func() ([]journal.Suggestion, error) { return unclaimed(r) },
			}
			if control {
				s.Daemon = func() (mcp.Daemon, error) { return httpd.Dial(state) }
			}
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			if err := mcp.Serve(ctx, s); err != nil {
				return fmt.Errorf("serve MCP: %w", err)
			}
			return nil
		}}
	c.Flags().BoolVar(&control, "control", false, "offer the tools that change the study, too")
	return c
}

// recordAPI is the API of a study as its record is now. What runs is what the
// daemon says, if there is one.
func (g *globals) recordAPI(state string, r *journal.Reader) (http.Handler, func(), error) {
	board, err := supervisor.Read(r)
	if err != nil {
		return nil, nil, err
	}
	about, _, err := r.Study()
	if err != nil {
		return nil, nil, err
	}
	o := api.Options{
		Loop: recordLoop{board, state}, Journal: r, Version: version,
		Folder: func(id int64) string { return study.Folder(state, id) },
		Spent:  func() (modelserver.Sums, error) { return modelserver.Read(state) },
	}
	if repo, err := g.workspace(context.Background(), about); err == nil { // a record may be all that is left
		o.Start = func(ctx context.Context) ([]byte, error) { return repo.ReadFile(ctx, about.BaseCommit, "train.py") }
	}
	a := api.New(o)
	return a, a.Close, nil
}

// recordLoop is a study of which another process may run the trials.
type recordLoop struct {
	*supervisor.Board
	state string
}

// Now asks the daemon, or knows the record alone.
func (l recordLoop) Now() supervisor.Status {
	client, err := httpd.Dial(l.state)
	if err != nil {
		return l.Board.Now()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var now supervisor.Status
	if err := client.Status(ctx, &now); err != nil {
		return l.Board.Now()
	}
	return now
}

// unclaimed are the suggestions that no trial has taken, the oldest first.
func unclaimed(r *journal.Reader) ([]journal.Suggestion, error) {
	all, err := r.Suggestions()
	return slices.DeleteFunc(all, func(s journal.Suggestion) bool { return s.Trial != 0 }), err
}
