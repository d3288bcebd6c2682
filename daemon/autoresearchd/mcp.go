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
	c := &cobra.Command{Use: "mcp", Short: "serve the record to coding agents: an MCP server on standard input and output", Args: cobra.NoArgs,
		Long: `Serve the study to coding agents over the Model Context Protocol, on standard
input and output: its status, candidates, diffs, logs, constants and suggestions.
It works with or without a running daemon, and changes nothing unless you give
--control, which adds pause, resume, suggest and drop_suggestion. Have your
agent start it with a command such as

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
	c.Flags().BoolVar(&control, "control", false, "also offer the tools that change the study")
	return c
}

// unclaimed are the suggestions that no trial has taken, the oldest first.
func unclaimed(r *journal.Reader) ([]journal.Suggestion, error) {
	all, err := r.Suggestions()
	return slices.DeleteFunc(all, func(s journal.Suggestion) bool { return s.Trial != 0 }), err
}
