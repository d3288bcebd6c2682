package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// manualCommand prints the manual page: what --help says of every command, in
// one page. Its date is SOURCE_DATE_EPOCH's where that is set, else none.
func manualCommand() *cobra.Command {
	return &cobra.Command{Use: "manual", Short: "print the manual page", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			date := ""
			if epoch, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
				date = time.Unix(epoch, 0).UTC().Format(time.DateOnly)
			}
			manual(cmd.OutOrStdout(), cmd.Root(), date)
			return nil
		}}
}

// manual writes a page of section 1 in man(7)'s macros.
func manual(w io.Writer, root *cobra.Command, date string) {
	fmt.Fprintf(w, ".TH %s 1 %q %q \"User Commands\"\n", strings.ToUpper(root.Name()), date, root.Name()+" "+version)
	short := strings.TrimSuffix(root.Short, ".")
	fmt.Fprintf(w, ".SH NAME\n%s \\- %s\n", root.Name(), roff(strings.ToLower(short[:1])+short[1:]))
	fmt.Fprintf(w, ".SH SYNOPSIS\n.B %s\n.RI [ FLAGS ]\n.I COMMAND\n.RI [ ARGUMENTS ]\n", root.Name())
	fmt.Fprint(w, ".SH DESCRIPTION\n"+paragraphs(root))
	fmt.Fprint(w, ".SH GLOBAL FLAGS\n")
	flagList(w, root.PersistentFlags())
	fmt.Fprint(w, ".SH COMMANDS\n")
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			section(w, c)
		}
	}
	fmt.Fprintf(w, `.SH EXIT STATUS
0 is done, 1 failed, 2 a fault of the command line or of the configuration. A
service that was refused for good ends with %d.
.SH FILES
.TP
.I %s
The configuration, where neither
.B \-\-config
nor ./autoresearch.toml names another; every key is explained in it.
.TP
.I /var/lib/autoresearch
The state of the installed service: journal, results.tsv and a folder per trial.
.TP
.I /var/cache/autoresearch
Its data, tokenizer and compile caches.
.SH SEE ALSO
.BR systemctl (1),
.BR journalctl (1)
`, refusedStatus, systemConfig)
}

// section is a command with its flags, and those below it.
func section(w io.Writer, c *cobra.Command) {
	_, line, _ := strings.Cut(c.UseLine(), " ") // without the program's name
	fmt.Fprintf(w, ".SS %s\n%s", roff(line), paragraphs(c))
	flagList(w, c.LocalNonPersistentFlags())
	if c.HasExample() {
		fmt.Fprint(w, ".PP\n.EX\n")
		for line := range strings.Lines(c.Example) {
			fmt.Fprintln(w, roff(strings.TrimSpace(line)))
		}
		fmt.Fprint(w, ".EE\n")
	}
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			section(w, sub)
		}
	}
}

// paragraphs are what a command's help says above its usage.
func paragraphs(c *cobra.Command) string {
	about := c.Long
	if about == "" {
		about = c.Short
	}
	out := ""
	for i, p := range strings.Split(strings.TrimSpace(about), "\n\n") {
		if i > 0 {
			out += ".PP\n"
		}
		for line := range strings.Lines(p) {
			if line[0] == '\t' || strings.HasPrefix(line, "  ") { // an example keeps its line
				out += ".br\n"
			}
			out += roff(strings.TrimSpace(line)) + "\n"
		}
	}
	return out
}

func flagList(w io.Writer, flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		value, text := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		fmt.Fprintf(w, ".TP\n%s\n", strings.TrimSpace(`\fB`+roff(name)+`\fR `+roff(value)))
		if d := f.DefValue; d != "" && d != "false" && d != "0" && d != "[]" {
			text += fmt.Sprintf(" (default %s)", d)
		}
		fmt.Fprintln(w, roff(text))
	})
}

// roff takes from a line what troff would take for its own.
func roff(line string) string {
	line = strings.NewReplacer(`\`, `\e`, "-", `\-`, "`", `\(ga`, "'", `\(aq`, "…", "...").Replace(line)
	if strings.HasPrefix(line, ".") {
		line = `\&` + line
	}
	return line
}
