// Package configs holds what an operator installs: the starter workspace that
// `autoresearchd init` writes, the files for systemd, and beside them, not in
// the binary, those for Prometheus, Alertmanager and Grafana.
package configs

import (
	"embed"
	"io/fs"
)

// The files are named one by one: a linter's cache beside them is not theirs.
//
//go:embed workspace/.gitignore workspace/*.py workspace/*.md workspace/*.toml workspace/*.lock
//go:embed systemd/*
var files embed.FS

// Workspace holds the starter: train.py, prepare.py, program.md,
// pyproject.toml, requirements.lock, .gitignore, and profiles.toml, which is
// for init and not for the workspace.
func Workspace() fs.FS { return sub("workspace") }

//go:generate go run ./grafana/generate grafana/dashboards/autoresearchd.json

// Systemd holds the unit and its sysusers.d file.
func Systemd() fs.FS { return sub("systemd") }

func sub(dir string) fs.FS {
	f, err := fs.Sub(files, dir)
	if err != nil {
		panic(err) // only an invalid path fails
	}
	return f
}
