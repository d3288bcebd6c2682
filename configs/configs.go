// Package configs holds what an operator installs: the starter workspace that
// `autoresearchd init` writes, and beside it, not in the binary, the files for
// systemd, Prometheus, Alertmanager and Grafana.
package configs

import (
	"embed"
	"io/fs"
)

// The files are named one by one: a linter's cache beside them is not theirs.
//
//go:embed workspace/.gitignore workspace/*.py workspace/*.md workspace/*.toml workspace/*.lock
var files embed.FS

// Workspace holds the starter: train.py, prepare.py, program.md,
// pyproject.toml, requirements.lock, .gitignore, and profiles.toml, which is
// for init and not for the workspace.
func Workspace() fs.FS {
	f, err := fs.Sub(files, "workspace")
	if err != nil {
		panic(err) // only an invalid path fails
	}
	return f
}

//go:generate go run ./grafana/generate grafana/dashboards/autoresearchd.json
