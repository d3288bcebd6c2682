package lineage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Stored is what git holds of a commit that the journal names.
type Stored struct {
	Commit  string
	Parents []string
	Message string
	Program []byte // its train.py
	Lacks   string // "commit" or "train.py" where git does not have it; "": it has all
}

// Stored reads commits, and calls each with what git holds of them, in their
// order. What git cannot read at all, such as a damaged object, is an error that
// says so.
func (r *Repo) Stored(ctx context.Context, commits []string, each func(Stored) error) error {
	var query strings.Builder
	for _, commit := range commits {
		if err := checkHash(commit); err != nil {
			return err
		}
		fmt.Fprintf(&query, "%s\n%s:%strain.py\n", commit, commit, r.prefix)
	}
	if query.Len() == 0 {
		return nil
	}
	err := r.stream(ctx, time.Unix(0, 0), strings.NewReader(query.String()), func(stdout io.Reader) error {
		in := bufio.NewReader(stdout)
		for _, commit := range commits {
			s := Stored{Commit: commit}
			text, ok, err := object(in, "commit")
			if err != nil {
				return err
			}
			program, has, err := object(in, "blob")
			if err != nil {
				return err
			}
			switch {
			case !ok:
				s.Lacks = "commit"
			case !has:
				s.Lacks = "train.py"
			}
			head, message, _ := strings.Cut(string(text), "\n\n")
			for line := range strings.Lines(head) {
				if parent, ok := strings.CutPrefix(line, "parent "); ok {
					s.Parents = append(s.Parents, strings.TrimSpace(parent))
				}
			}
			s.Message, s.Program = message, program
			if err := each(s); err != nil {
				return err
			}
		}
		return nil
	}, "cat-file", "--batch")
	var failed *gitError
	if errors.As(err, &failed) {
		return fmt.Errorf("%w: look with `git -C %s fsck`", err, Quote(r.workspace))
	}
	return err
}

// object reads one answer of git cat-file --batch; false where git does not
// have the object, or it is of another kind.
func object(in *bufio.Reader, kind string) ([]byte, bool, error) {
	header, err := in.ReadString('\n')
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, false, err
	}
	fields := strings.Fields(header)
	if len(fields) < 3 || fields[len(fields)-1] == "missing" || fields[len(fields)-1] == "ambiguous" {
		return nil, false, nil
	}
	size, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil || size > maxFile {
		return nil, false, fmt.Errorf("read an object: git says %q", strings.TrimSpace(header))
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(in, data); err != nil {
		return nil, false, err
	}
	_, err = in.Discard(1)
	return data, fields[1] == kind, err
}
