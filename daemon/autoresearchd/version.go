package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"autoresearchd/pyembed"
)

// about says which program this is.
type about struct {
	Version string `json:"version"`
	Python  string `json:"python"` // the CPython that is linked in
	Build   build  `json:"build"`
}

// build is how the program was made; what the Go command did not note is empty.
type build struct {
	Go       string `json:"go"`
	Platform string `json:"platform"` // "linux/amd64"
	Revision string `json:"revision"` // the commit of its source
	Time     string `json:"time"`     // of that commit
	Modified bool   `json:"modified"` // its source had changes beside the commit
}

func aboutThis() about {
	a := about{Version: version, Python: pyembed.Version(), Build: build{Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return a
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			a.Build.Revision = s.Value
		case "vcs.time":
			a.Build.Time = s.Value
		case "vcs.modified":
			a.Build.Modified = s.Value == "true"
		}
	}
	return a
}

func (g *globals) versionCommand() *cobra.Command {
	return g.reads(&cobra.Command{Use: "version", Short: "print the build and the CPython it embeds", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, w := aboutThis(), cmd.OutOrStdout()
			if g.json {
				return printJSON(w, a)
			}
			source := ""
			if a.Build.Revision != "" {
				source = fmt.Sprintf(", commit %.12s of %s", a.Build.Revision, a.Build.Time)
			}
			if a.Build.Modified {
				source += ", with changes beside it"
			}
			fmt.Fprintf(w, "autoresearchd %s\nCPython       %s\nbuild         %s, %s%s\n", a.Version, a.Python, a.Build.Go, a.Build.Platform, source)
			return nil
		}})
}
