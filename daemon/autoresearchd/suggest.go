package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"autoresearchd/daemon/httpd"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/terminal"
	"autoresearchd/search"
)

func (g *globals) suggestCommand() *cobra.Command {
	var set []string
	var drop int64
	var list bool
	c := &cobra.Command{Use: `suggest "TEXT" | --set NAME=VALUE… | --list | --drop N`, Short: "suggest an idea, or values of constants, for the next proposal", Args: cobra.MaximumNArgs(1),
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			dropping, w := cmd.Flags().Changed("drop"), cmd.OutOrStdout()
			asked := 0
			for _, given := range []bool{len(args) > 0, len(set) > 0, list, dropping} {
				if given {
					asked++
				}
			}
			switch {
			case asked == 0:
				return usageError{errors.New("suggest needs an idea: words in quotes, or values, as in `autoresearchd suggest --set MATRIX_LR=0.05`; --list shows those that wait")}
			case len(args) > 0 && len(set) > 0:
				return usageError{errors.New("suggest words or values, not both at once")}
			case asked > 1:
				return usageError{errors.New("suggest does one thing at a time: an idea, --list or --drop")}
			case g.json && !list:
				return usageError{errors.New("--json goes with --list")}
			}
			values, err := assignments(set)
			if err != nil {
				return usageError{err}
			}
			state, err := g.stateDir()
			if err != nil {
				return err
			}
			if list {
				return g.listSuggestions(w)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			client, err := httpd.Dial(state)
			words := ""
			switch {
			case err != nil && dropping:
				words, err = dropOffline(state, drop)
			case err != nil:
			case dropping:
				words, err = client.Drop(ctx, drop)
			case len(args) > 0:
				words, err = client.SuggestText(ctx, args[0])
			default:
				words, err = client.Suggest(ctx, values)
			}
			if err != nil {
				return err
			}
			for line := range strings.SplitSeq(words, "\n") {
				fmt.Fprintln(w, fold(w, terminal.Inert(line), "  "))
			}
			if !dropping {
				g.next(w, "suggest --list")
			}
			return nil
		}}
	c.Flags().StringArrayVar(&set, "set", nil, "`NAME=VALUE`, a Python literal; 2**18 is one")
	c.Flags().BoolVar(&list, "list", false, "list the suggestions that no trial has taken yet")
	c.Flags().Int64Var(&drop, "drop", 0, "withdraw suggestion `N`")
	c.Flags().Lookup("drop").DefValue = "0" // none is shown
	_ = c.RegisterFlagCompletionFunc("drop", func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var ids []cobra.Completion
		if r, _, err := g.reader(); err == nil {
			defer r.Close()
			all, _ := unclaimed(r) // what cannot be read completes nothing
			for _, s := range all {
				ids = append(ids, cobra.CompletionWithDesc(strconv.FormatInt(s.ID, 10), terminal.Cut(foreign(s.Text), 60)))
			}
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	})
	return g.reads(c)
}

// waiting is a line of `suggest --list --json`.
type waiting struct {
	ID     int64                   `json:"id"`
	Kind   string                  `json:"kind"` // "values" or "text"
	Text   string                  `json:"text"`
	Values map[string]search.Value `json:"values,omitempty"`
	At     time.Time               `json:"at"`
}

// listSuggestions shows what no trial has taken, the next one first.
func (g *globals) listSuggestions(w io.Writer) error {
	r, _, err := g.reader()
	if err != nil {
		return err
	}
	defer r.Close()
	all, err := unclaimed(r)
	if err != nil {
		return err
	}
	if g.json {
		out := make([]waiting, 0, len(all))
		for _, s := range all {
			out = append(out, waiting{s.ID, s.Kind, s.Text, s.Values, s.At})
		}
		return printJSON(w, out)
	}
	if len(all) == 0 {
		fmt.Fprintln(w, "no suggestions are waiting")
		return nil
	}
	var rows []terminal.Line
	for _, s := range all {
		rows = append(rows, terminal.Line{{Text: strconv.FormatInt(s.ID, 10)}, {Text: s.At.Local().Format("2 Jan 15:04")}, {Text: foreign(s.Text)}})
	}
	for _, line := range terminal.Table([]terminal.Column{{Title: "ID", Right: true}, {Title: "SINCE"}, {Title: "SUGGESTION"}}, rows, window(w), 24) {
		fmt.Fprintln(w, strings.TrimRight(terminal.Open(os.Stdout).Render(line), " "))
	}
	return nil
}

// dropOffline takes a suggestion back that the next daemon would read.
func dropOffline(state string, id int64) (string, error) {
	r, err := journal.OpenReader(state) // says where there is no study
	if err != nil {
		return "", err
	}
	r.Close()
	j, err := journal.Open(state)
	if err != nil {
		return "", err
	}
	defer j.Close()
	g, err := j.Drop(id)
	if err != nil {
		return "", err
	}
	return "dropped: " + g.Text, nil
}

// assignments reads NAME=VALUE.
func assignments(set []string) (map[string]search.Value, error) {
	values := map[string]search.Value{}
	for _, s := range set {
		name, text, ok := strings.Cut(s, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("--set %q: write NAME=VALUE", s)
		}
		v, err := typed(text)
		if err != nil {
			return nil, fmt.Errorf("--set %q: %w", s, err)
		}
		values[strings.TrimSpace(name)] = v
	}
	return values, nil
}

// typed reads a Python literal as a person types it; a word needs no quotes.
func typed(s string) (search.Value, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return search.Value{}, errors.New("there is no value")
	}
	v, err := search.ParseLiteral(s)
	switch {
	case err == nil:
		return v, nil
	case word.MatchString(s):
		return search.StringValue(s), nil
	}
	return search.Value{}, fmt.Errorf("read %q: %w: write a number, True, (0.8, 0.95), or a text in quotes", s, err)
}

// word begins as no number does.
var word = regexp.MustCompile(`^[^-+.0-9"'()\[\]{}\x00-\x1f][^"'()\[\]{}\x00-\x1f]*$`)
