package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"autoresearchd/daemon/httpd"
	"autoresearchd/daemon/httpd/api"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/terminal"
)

func (g *globals) serveCommand() *cobra.Command {
	var states []string
	address := "127.0.0.1:9797"
	c := &cobra.Command{Use: "serve [DIR]...", Short: "the page of finished studies, or of several", Args: cobra.ArbitraryArgs,
		Long: `The page and the read-only API of a study that nobody runs, or of several at
once with a list to choose from. It changes nothing and needs no workspace: a
state directory is enough, also on a read-only file system. A study that a daemon
runs meanwhile is shown as it goes on.

  autoresearchd serve --state old/state --state new/state`,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			all, err := g.shelved(slices.Concat(states, args))
			for _, s := range all {
				defer s.close()
			}
			if err != nil {
				return err
			}
			return serveRecords(ctx, cmd.OutOrStdout(), address, all)
		}}
	c.Flags().StringArrayVar(&states, "state", nil, "state `DIR` (default [study] state); may be given again, for several studies")
	c.Flags().StringVar(&address, "listen", address, "`ADDR`ess of the page")
	if err := c.MarkFlagDirname("state"); err != nil {
		panic(err) // the flag is there
	}
	return c
}

// shelf is a study that is served from its record.
type shelf struct {
	state, tag string
	api        *api.API
	reader     *journal.Reader
}

func (s *shelf) close() {
	if s.api != nil {
		s.api.Close()
	}
	s.reader.Close()
}

// shelved opens the studies of state directories, or of the one that commands
// find without any. The error joins what is wrong with each; those that were
// opened are to be closed all the same.
func (g *globals) shelved(states []string) (all []*shelf, err error) {
	if len(states) == 0 {
		state, err := g.stateDir()
		if err != nil {
			return nil, err
		}
		states = []string{state}
	}
	var faults []error
	of := map[string]string{} // state directory, by tag
	for _, state := range states {
		s, err := g.shelve(state)
		if s != nil {
			all = append(all, s)
		}
		switch other, taken := "", false; {
		case err != nil:
			faults = append(faults, err)
		default:
			if other, taken = of[s.tag]; taken && other == s.state {
				faults = append(faults, usageError{fmt.Errorf("%s is named twice: name each state directory once", s.state)})
			} else if taken {
				faults = append(faults, usageError{fmt.Errorf("%s and %s both hold a study %q, and the address of its page is made of its tag: serve one of them on its own, with another --listen", other, s.state, s.tag)})
			}
			of[s.tag] = s.state
		}
	}
	return all, errors.Join(faults...)
}

func (g *globals) shelve(state string) (*shelf, error) {
	abs, err := filepath.Abs(state)
	if err != nil {
		return nil, err
	}
	r, err := journal.OpenReader(abs)
	if err != nil {
		return nil, err
	}
	s := &shelf{state: abs, reader: r}
	about, ok, err := r.Study()
	if err == nil && !ok {
		err = fmt.Errorf("%w in %s yet: start one with `autoresearchd run`, or name its directory with --state", journal.ErrNoStudy, abs)
	}
	if err == nil {
		s.tag = about.Tag
		s.api, err = g.recordAPI(abs, r)
	}
	return s, err
}

// serveRecords shows studies until ctx ends.
func serveRecords(ctx context.Context, w io.Writer, address string, all []*shelf) error {
	var shown []httpd.Record
	for _, s := range all {
		shown = append(shown, httpd.Record{Tag: s.tag, API: s.api})
	}
	server, err := httpd.ListenRecords(address, shown, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer server.Close()
	for _, s := range all { // the server waits for its streams
		defer s.api.Close()
	}
	at := pageAt(server.Addr())
	fmt.Fprintf(w, "page: %s\n", at)
	if len(all) > 1 {
		for _, s := range all {
			fmt.Fprintf(w, "  %s%s  %s\n", at[:len(at)-1], httpd.At(s.tag), terminal.Inert(s.state))
		}
	}
	fmt.Fprintln(w, "read-only, until Ctrl-C")
	select {
	case <-ctx.Done():
		return nil
	case err := <-server.Done():
		return err
	}
}
