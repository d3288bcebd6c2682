package main

import (
	"context"
	"fmt"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"autoresearchd/daemon/httpd"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/mcp"
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
			record, err := g.recordAPI(state, r)
			if err != nil {
				return err
			}
			defer record.Close()
			s := mcp.Study{
				Version: version, API: record,
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

// unclaimed are the suggestions that no trial has taken, the oldest first.
func unclaimed(r *journal.Reader) ([]journal.Suggestion, error) {
	all, err := r.Suggestions()
	return slices.DeleteFunc(all, func(s journal.Suggestion) bool { return s.Trial != 0 }), err
}
