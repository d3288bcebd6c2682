package main

import (
	"fmt"
	"io"

	"autoresearchd/search"
)

// printStrategies lists the plugins with their options and defaults.
func printStrategies(w io.Writer, asJSON bool) error {
	type entry struct {
		Name    string `json:"name"`
		Options any    `json:"options"`
	}
	var all []entry
	for _, name := range search.Default.Names() {
		all = append(all, entry{name, search.Default.Options(name)})
	}
	if asJSON {
		return printJSON(w, all)
	}
	for _, e := range all {
		fmt.Fprintln(w, search.Default.TOML(e.Name))
	}
	return nil
}
