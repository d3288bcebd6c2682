package lineage

import (
	"context"
	"strings"
)

// Branches lists the branches whose names begin with a prefix that ends in a
// slash, and the commits at which they stand.
func (r *Repo) Branches(ctx context.Context, prefix string) (map[string]string, error) {
	out, err := r.git(ctx, nil, "for-each-ref", "--format=%(objectname) %(refname)", "refs/heads/"+prefix)
	if err != nil {
		return nil, err
	}
	branches := map[string]string{}
	for line := range strings.Lines(string(out)) {
		commit, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		branches[strings.TrimPrefix(name, "refs/heads/")] = commit
	}
	return branches, nil
}

// CreateBranch makes a branch at a commit; ErrMoved: there is one of that name
// already, at another.
func (r *Repo) CreateBranch(ctx context.Context, name, commit string) error {
	return r.move(ctx, "refs/heads/"+name, commit, "")
}
