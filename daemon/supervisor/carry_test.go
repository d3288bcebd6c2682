package supervisor

import (
	"compress/gzip"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/study"
	"autoresearchd/search"
)

// carry puts a study in place of which the last program that knew of trials only
// ran ten: its journal, its repository, its results.tsv and its folders. The
// last trial, a second run of a promising one, was interrupted.
func (p *play) carry(string) error {
	state, work := filepath.Join(p.dir, "state"), filepath.Join(p.dir, "workspace")
	bundle, err := filepath.Abs("testdata/version1.bundle")
	if err != nil {
		return err
	}
	if _, err := gitIn(work, "fetch", "-q", "--update-head-ok", bundle, "refs/autoresearch/*:refs/autoresearch/*", "refs/heads/*:refs/heads/*"); err != nil {
		return err
	}
	packed, err := os.Open("../journal/testdata/version1.db.gz")
	if err != nil {
		return err
	}
	defer packed.Close()
	unpacked, err := gzip.NewReader(packed)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(unpacked)
	if err != nil {
		return err
	}
	table, err := os.ReadFile("testdata/version1.tsv")
	if err != nil {
		return err
	}
	file := filepath.Join(state, "journal.db")
	if err := errors.Join(os.MkdirAll(state, 0o755), os.WriteFile(file, data, 0o644), os.WriteFile(filepath.Join(state, "results.tsv"), table, 0o644)); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", file)
	if err != nil {
		return err
	}
	_, err = db.Exec("UPDATE study SET workspace = ?", work)
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	r, err := journal.OpenReader(state)
	if err != nil {
		return err
	}
	defer r.Close()
	about, _, err := r.Study()
	if err != nil {
		return err
	}
	return r.Replay(func(rec journal.Record) error {
		dir, constants := study.Folder(state, rec.Trial.ID), map[string]search.Value{}
		for _, c := range rec.Trial.Constants {
			constants[c.Name] = c.Value
		}
		text, err := json.MarshalIndent(constants, "", "  ")
		if err != nil {
			return err
		}
		environment := fmt.Sprintf(`{"base_commit": %q, "seed": %d}`, about.BaseCommit, rec.Trial.Seed)
		err = os.MkdirAll(dir, 0o755)
		for name, content := range map[string]string{"train.py": string(rec.Trial.Source), "constants.json": string(text) + "\n", "environment.json": environment} {
			err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
		}
		return err
	})
}
