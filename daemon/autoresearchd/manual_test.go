package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestManual finds every command and flag in the manual page, and no line that
// troff would take for a request of its own.
func TestManual(t *testing.T) {
	t.Parallel()
	root := newRoot()
	var b strings.Builder
	manual(&b, root, "2026-11-30")
	page := b.String()
	if !strings.HasPrefix(page, `.TH AUTORESEARCHD 1 "2026-11-30" `) {
		t.Errorf("it begins with %.60q", page)
	}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if !c.IsAvailableCommand() {
			return
		}
		name := strings.TrimPrefix(c.CommandPath(), root.Name()+" ")
		if !strings.Contains(page, "\n.SS "+roff(name)) {
			t.Errorf("no section for %s", name)
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && f.Name != "help" && !strings.Contains(page, roff("--"+f.Name)+`\fR`) {
				t.Errorf("%s: no --%s", name, f.Name)
			}
		})
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	for _, c := range root.Commands() {
		walk(c)
	}
	request := regexp.MustCompile(`^\.(TH|SH|SS|TP|PP|B|I|BR|RI|br|EX|EE)\b`)
	for i, line := range strings.Split(page, "\n") {
		if strings.HasPrefix(line, "'") || strings.HasPrefix(line, ".") && !request.MatchString(line) {
			t.Errorf("line %d is taken for a request: %s", i+1, line)
		}
	}
	if strings.Contains(page, "trainer\n") || strings.Contains(page, ".SS manual") {
		t.Error("it names what is hidden")
	}
}

func TestRoff(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`a\b`: `a\eb`, ".br": `\&.br`, "'so": `\(aqso`, "--set": `\-\-set`, "`best`": `\(gabest\(ga`,
	} {
		if got := roff(text); got != want {
			t.Errorf("%s became %s, want %s", text, got, want)
		}
	}
}
