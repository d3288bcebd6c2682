package study

import (
	"fmt"
	"path/filepath"
	"strings"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
)

// canPropose returns an error where train.py holds nothing that the strategy could change.
func canPropose(c *config.Config, space search.Space, others []trainer.Other) error {
	if space.Len() > 0 || c.Edits() {
		return nil
	}
	return fmt.Errorf("%s has nothing for strategy %s to search%s: `autoresearchd check` says why of each name, and what line under [search.space] takes one in; else give it constants (NAME = 0.04 at the top of the module), or let a language model change its code (search.strategy = \"llm\" with llm.enabled = true)",
		filepath.Join(c.Study.Workspace, "train.py"), c.Search.Strategy, reasons(space, others))
}

// reasons are why the first few names are not searched, in brackets.
func reasons(space search.Space, others []trainer.Other) string {
	var all []string
	for _, u := range space.Unsearched() {
		all = append(all, u.Name+": "+u.Why)
	}
	for _, o := range others {
		all = append(all, o.Name+": "+o.Why)
	}
	if len(all) == 0 {
		return ""
	}
	if rest := len(all) - 3; rest > 0 {
		all = append(all[:3], fmt.Sprintf("%d more", rest))
	}
	return " (" + strings.Join(all, "; ") + ")"
}

// saySpace names once, at a study's start, what is not searched though nobody asked for that.
func (s *Study) saySpace(space search.Space, others []trainer.Other) {
	var names []string
	given := s.o.Config.Search.Space
	for _, u := range space.Unsearched() {
		constant, _, _ := strings.Cut(u.Name, "[")
		_, whole := given[constant]
		if _, own := given[u.Name]; !own && !whole {
			names = append(names, u.Name)
		}
	}
	for _, o := range others {
		names = append(names, o.Name)
	}
	if space.Len() == 0 {
		s.o.Log.Warn("train.py has no constant to search: only changes to its code can be proposed; `autoresearchd check` says why")
	}
	if len(names) > 0 {
		s.o.Log.Info("some of train.py's constants are not searched: `autoresearchd check` says why, and what takes one in", "names", strings.Join(names, " "))
	}
}
