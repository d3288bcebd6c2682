package portfolio

import (
	"bufio"
	"context"
	"fmt"
	"strings"
	"testing"

	"autoresearchd/search"
	"autoresearchd/search/agent"
	"autoresearchd/search/exec"
	"autoresearchd/search/searchtest"
	"autoresearchd/search/simulate"
)

// TestPrograms has arms that are programs, made from their tables with the
// portfolio, and ended with it.
func TestPrograms(t *testing.T) {
	var killed <-chan struct{}
	started := map[string]int{}
	tools := search.Tools{
		Options: func(name string) func(any) error {
			return func(v any) error {
				switch o := v.(type) {
				case *exec.Options:
					o.Command = []string{"search"}
				case *agent.Options:
					o.Command = []string{"agent"}
				}
				return nil
			}
		},
		Check: func(context.Context, []byte) ([]search.Constant, error) { return nil, nil },
		Start: searchtest.Start(func(g *searchtest.Program) error {
			started[g.Argv[0]]++
			if g.Argv[0] == "agent" {
				g.Write("train.py", append(g.File("train.py"), "# an edit\n"...))
				fmt.Fprintln(g.Stdout, "an edit")
				return nil
			}
			killed = g.Killed
			lines := bufio.NewScanner(g.Stdin)
			for lines.Scan() {
				switch {
				case strings.Contains(lines.Text(), `"hello"`):
					fmt.Fprintln(g.Stdout, `{"protocol": 1}`)
				case strings.Contains(lines.Text(), `"ask"`):
					fmt.Fprintln(g.Stdout, `{"id": 1, "constants": {"DEPTH": 9}}`)
				}
			}
			return nil
		}),
	}
	made, err := New(search.Environment{Seed: 1, Tools: tools, Table: func(v any) error {
		v.(*Options).Arms = []string{"exec", "agent", "random"}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	study, err := simulate.NewStudy(simulate.NewTask(1, 0), made, 1)
	if err != nil {
		t.Fatal(err)
	}
	made.(search.Preparer).Prepare(context.Background(), study.History)
	if started["agent"] != 1 {
		t.Errorf("started while a trial ran: %v", started)
	}
	said := map[string]string{}
	for _, a := range made.(*strategy).arms {
		p, err := a.strategy.Ask(context.Background(), study.History)
		if err != nil {
			t.Fatal(err)
		}
		said[p.Strategy] = p.Description
	}
	if len(said) != 3 || said["exec"] != "DEPTH 8 -> 9" || said["agent"] != "an edit" {
		t.Errorf("proposed %v", said)
	}
	made.(search.Closer).Close()
	<-killed
}
