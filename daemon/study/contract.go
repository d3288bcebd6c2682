package study

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
)

// Examine inspects a train.py and returns why it cannot be a trial with this
// budget, or "". What it leaves to a module of the commit is looked up there: a
// helper may evaluate for it, or hand on what it has from prepare.
func Examine(ctx context.Context, repo *lineage.Repo, inspect Inspect, commit string, source []byte, budget search.Budget) (i trainer.Inspection, fault string, err error) {
	if i, err = inspect(ctx, source); err != nil || i.Error != "" {
		return i, i.Error, err
	}
	helper := func(module string) (trainer.Inspection, error) {
		at := places("train.py", module)
		for n := len(at) - 2; n >= 0; n -= 2 { // the innermost first
			for _, name := range at[n : n+2] {
				text, err := repo.ReadFile(ctx, commit, name)
				if errors.Is(err, fs.ErrNotExist) {
					continue
				}
				if err != nil {
					return trainer.Inspection{}, err
				}
				return inspect(ctx, text)
			}
		}
		return trainer.Inspection{}, nil
	}
	var claims []trainer.Claim
	for _, c := range i.Claims {
		if c.Module != "" && c.Stands(budget) {
			h, err := helper(c.Module)
			if err != nil {
				return i, "", err
			}
			if hands(h, c.Name) {
				continue
			}
		}
		claims = append(claims, c)
	}
	i.Claims = claims
	for n := 0; n < len(i.Modules) && !i.Evaluates; n++ {
		h, err := helper(i.Modules[n].Name)
		if err != nil {
			return i, "", err
		}
		i.Evaluates = h.Evaluates && !slices.ContainsFunc(h.Claims, func(c trainer.Claim) bool { return c.Name == "evaluate_bpb" })
	}
	return i, i.Fault(budget), nil
}

// hands reports whether a module hands on a name of prepare's as it is.
func hands(h trainer.Inspection, name string) bool {
	return (slices.Contains(h.Imports, name) || slices.Contains(h.Imports, "*")) &&
		!slices.ContainsFunc(h.Claims, func(c trainer.Claim) bool { return c.Name == name })
}
