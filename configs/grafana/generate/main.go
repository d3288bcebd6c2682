// Command generate writes Grafana's dashboard for autoresearchd. Panels take
// the names of metrics from the package that the daemon takes them from:
//
//	go generate ./configs
package main

import (
	"bytes"
	"encoding/json"
	"log"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: generate FILE")
	}
	if err := os.WriteFile(os.Args[1], file(), 0o644); err != nil {
		log.Fatal(err)
	}
}

// file is the dashboard as Grafana's provisioning reads it.
func file() []byte {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(build()); err != nil {
		panic(err) // only a type that JSON lacks fails
	}
	return out.Bytes()
}
