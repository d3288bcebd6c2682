package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"autoresearchd/daemon/study"
	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
)

func (g *globals) logCommand() *cobra.Command {
	var follow bool
	tail := -1
	c := &cobra.Command{Use: "log ID", Short: "show what a trial printed", Args: cobra.ExactArgs(1), ValidArgsFunction: g.trialIDs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("tail") && tail < 0 {
				return usageError{fmt.Errorf("--tail %d: give a positive number", tail)}
			}
			if follow && g.json {
				return usageError{errors.New("--follow is for people: use it without --json")}
			}
			r, state, err := g.reader()
			if err != nil {
				return err
			}
			defer r.Close()
			rec, err := find(r, args[0])
			if err != nil {
				return err
			}
			path := filepath.Join(study.Folder(state, rec.Trial.ID), "run.log")
			f, err := os.Open(path)
			if err != nil {
				return fmt.Errorf("trial %d has no log: %w", rec.Trial.ID, err)
			}
			defer f.Close()
			out := cmd.OutOrStdout()
			// Progress is printed over itself, which only a terminal shows.
			clean := &plainWriter{w: out, split: window(out) == 0}
			if g.json || tail >= 0 {
				text, err := io.ReadAll(f)
				if err != nil {
					return err
				}
				if g.json {
					return printJSON(out, map[string]any{"id": rec.Trial.ID, "log": lastLines(string(text), tail)})
				}
				var all strings.Builder
				clean.w = &all
				_, _ = clean.Write(text) // a Builder takes everything
				clean.w = out
				if _, err := io.WriteString(out, lastLines(all.String(), tail)); err != nil {
					return err
				}
			}
			for {
				if _, err := io.Copy(clean, f); err != nil {
					return err
				}
				if !follow {
					return nil
				}
				now, err := r.Trial(rec.Trial.ID)
				if err != nil {
					return err
				}
				if now.Stage.Reached(search.StageEnded) {
					_, err := io.Copy(clean, f)
					return err
				}
				time.Sleep(300 * time.Millisecond)
			}
		}}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "keep printing until the trial ends")
	c.Flags().IntVar(&tail, "tail", -1, "show only the last `N` lines")
	c.Flags().Lookup("tail").DefValue = "0" // none is shown
	return g.reads(c)
}

// lastLines are the last n lines of a text, all of them for less than 0.
func lastLines(text string, n int) string {
	if n < 0 {
		return text
	}
	at := len(text)
	if n > 0 && strings.HasSuffix(text, "\n") {
		at-- // it ends the last line
	}
	for range n {
		if at = strings.LastIndexByte(text[:at], '\n'); at < 0 {
			return text
		}
	}
	return text[min(at+1, len(text)):]
}

// plainWriter makes escape sequences visible. With split, a line that is
// printed over another stands below it; else carriage returns stay.
type plainWriter struct {
	w     io.Writer
	split bool

	open, back bool // there is text on the line; the next goes over it
}

func (p *plainWriter) Write(text []byte) (int, error) {
	var b strings.Builder
	for line := range strings.SplitAfterSeq(string(text), "\n") {
		for piece := range strings.SplitAfterSeq(line, "\r") {
			body := strings.TrimRight(piece, "\r\n")
			end := piece[len(body):]
			if p.split {
				if body != "" && p.open && p.back {
					b.WriteByte('\n')
				}
				p.back = strings.HasSuffix(end, "\r") || p.back && piece == ""
				p.open = !strings.HasSuffix(end, "\n") && (p.open || body != "")
				end = strings.Trim(end, "\r")
			}
			b.WriteString(trainer.Inert(body) + end)
		}
	}
	if _, err := io.WriteString(p.w, b.String()); err != nil {
		return 0, err
	}
	return len(text), nil
}
