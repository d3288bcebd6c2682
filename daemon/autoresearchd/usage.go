package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/terminal"
)

// paper is how wide help is, whoever reads it.
const paper = 80

const aTrial = "a number, a commit or \"best\""

// wanted are the arguments of commands that take any: what one is, how many
// there may be, and an example.
var wanted = map[string]struct{ what, give, most, example string }{
	"show":      {"a trial", aTrial, "one trial", "show best"},
	"diff":      {"a trial", aTrial, "one trial or two", "diff best"},
	"log":       {"a trial", aTrial, "one trial", "log best"},
	"reproduce": {"a trial", aTrial, "one trial", "reproduce best"},
	"ablate":    {"a candidate", aTrial, "one candidate", "ablate best"},
	"cancel":    {"a trial", "a number or a device", "one trial or device", "cancel 12"},
	"suggest":   {"an idea", "words in quotes", "one idea", `suggest "a longer warmdown"`},
	"init":      {"a folder", "where to put the study", "one folder", "init demo"},
	"backup":    {"a file", "where to put the backup", "one file", "backup study.tar.gz"},
	"restore":   {"a backup", "a file that backup wrote, and a folder for the study", "a file and a folder", "restore study.tar.gz demo"},
	"import":    {"a folder", "the work tree of the study", "one folder", "import ."},
}

// misused says what is wrong with a command's arguments; err is cobra's word.
func misused(cmd *cobra.Command, args []string, err error) error {
	w, ok := wanted[cmd.Name()]
	switch {
	case !ok && len(args) > 0:
		return fmt.Errorf("%s takes no arguments, and got %q: see `autoresearchd %s --help`", cmd.Name(), args[0], cmd.Name())
	case !ok:
		return fmt.Errorf("%w: see `autoresearchd %s --help`", err, cmd.Name())
	case len(args) == 0:
		return fmt.Errorf("%s needs %s: %s, as in `autoresearchd %s`", cmd.Name(), w.what, w.give, w.example)
	}
	return fmt.Errorf("%s takes %s, and got %d: %s", cmd.Name(), w.most, len(args), strings.Join(args, " "))
}

// unknownCommand refuses a word that is none of root's commands.
func unknownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	if near := config.Nearest(args[0], names); near != "" {
		return usageError{fmt.Errorf("there is no command %q: did you mean `autoresearchd %s`?", args[0], near)}
	}
	return usageError{fmt.Errorf("there is no command %q: `autoresearchd --help` lists them", args[0])}
}

// misflagged says what is wrong with a flag.
func misflagged(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var empty *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	see := fmt.Sprintf(": see `%s --help`", cmd.CommandPath())
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		err = fmt.Errorf("%s has no flag -%.1s%s", cmd.Name(), unknown.GetSpecifiedName(), see)
	case errors.As(err, &unknown):
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := config.Nearest(unknown.GetSpecifiedName(), names); near != "" {
			see = fmt.Sprintf(": did you mean --%s?", near)
		}
		err = fmt.Errorf("%s has no flag --%s%s", cmd.Name(), unknown.GetSpecifiedName(), see)
	case errors.As(err, &empty):
		value, _ := pflag.UnquoteUsage(empty.GetFlag())
		err = fmt.Errorf("--%s needs a value: %s --%s %s", empty.GetFlag().Name, cmd.Name(), empty.GetFlag().Name, strings.ToUpper(value))
	case errors.As(err, &invalid) && strings.HasPrefix(invalid.GetFlag().Value.Type(), "int"):
		err = fmt.Errorf("--%s takes a whole number, and got %q", invalid.GetFlag().Name, invalid.GetValue())
	}
	return usageError{err}
}

// help is what `--help` prints.
func help(cmd *cobra.Command, _ []string) {
	about := cmd.Long
	if about == "" {
		about = cmd.Short
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s\n\n%s", terminal.Wrap(about, paper, ""), cmd.UsageString())
}

// usage is a command's help below its description, broken at 80 columns.
func usage(cmd *cobra.Command) error {
	w := cmd.OutOrStdout()
	fmt.Fprintf(w, "Usage:\n  %s\n", cmd.UseLine())
	if cmd.HasAvailableSubCommands() {
		if cmd.HasParent() {
			fmt.Fprintf(w, "  %s COMMAND\n", cmd.CommandPath())
		}
		fmt.Fprint(w, "\nCommands:\n")
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() || c.Name() == "help" {
				fmt.Fprintln(w, terminal.Wrap(fmt.Sprintf("  %-*s %s", c.NamePadding(), c.Name(), c.Short), paper, strings.Repeat(" ", c.NamePadding()+1)))
			}
		}
	}
	if cmd.HasExample() {
		fmt.Fprintf(w, "\nExamples:\n%s\n", cmd.Example)
	}
	for _, part := range []struct {
		title string
		flags *pflag.FlagSet
	}{{"Flags", cmd.LocalFlags()}, {"Global flags", cmd.InheritedFlags()}} {
		if part.flags.HasAvailableFlags() {
			fmt.Fprintf(w, "\n%s:\n%s", part.title, part.flags.FlagUsagesWrapped(paper))
		}
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(w, "\nRun `%s COMMAND --help` for the details of a command.\n", cmd.CommandPath())
	}
	return nil
}

// window is how many cells a line may take where w is a terminal, 0 elsewhere:
// what is read by programs is not broken.
func window(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	t := terminal.Open(f)
	if !t.Live {
		return 0
	}
	width, _ := t.Size()
	return width
}

// fold breaks a text for a terminal; elsewhere it stays as it is.
func fold(w io.Writer, text, indent string) string {
	if width := window(w); width > 0 {
		return terminal.Wrap(text, width, indent)
	}
	return text
}

// labelled prints lines that begin with a name in so many cells.
func labelled(w io.Writer, cells int) func(name, format string, args ...any) {
	return func(name, format string, args ...any) {
		text := fmt.Sprintf("%-*s %s", cells, name, terminal.Inert(fmt.Sprintf(format, args...)))
		if name == "" { // Wrap would take the blanks for the line's own
			text = strings.Repeat(" ", cells+1) + strings.TrimLeft(text, " ")
			fmt.Fprintln(w, fold(w, text, ""))
			return
		}
		fmt.Fprintln(w, fold(w, text, strings.Repeat(" ", cells+1)))
	}
}

// next says which command comes next: the program again, with the flags that
// it was found by.
func (g *globals) next(w io.Writer, command string) {
	flags := ""
	for _, f := range []struct{ name, value string }{{"config", g.config}, {"state", g.state}} {
		if f.value != "" {
			flags += fmt.Sprintf(" --%s %s", f.name, lineage.Quote(f.value))
		}
	}
	fmt.Fprintf(w, "next: autoresearchd%s %s\n", flags, command)
}
