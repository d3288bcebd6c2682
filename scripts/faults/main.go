// Command faults keeps docs/faults.md: every fault that must be survived, how it
// is tried, and how the last try went. What is tried stands in table.go, results
// in docs/faults.jsonl, and no result is written by hand.
//
//	faults packages [NUMBER…]       the Go packages with their tests, a line each
//	faults tests < go-test.json     takes in what `go test -json` said
//	faults take FILE…               takes in what drills wrote
//	faults write                    writes the page again
package main

import (
	"errors"
	"fmt"
	"os"
)

const usage = "usage: faults packages [NUMBER…] | tests | take FILE… | write"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	switch args[0] {
	case "packages":
		return packages(os.Stdout, args[1:])
	case "tests":
		return keep(func(r *records) error { return r.tests(os.Stdin) })
	case "take":
		return keep(func(r *records) error {
			for _, name := range args[1:] {
				if err := r.read(name); err != nil {
					return err
				}
			}
			return nil
		})
	case "write":
		return keep(func(*records) error { return nil })
	}
	return errors.New(usage)
}

// keep adds to the records, and writes them and the page.
func keep(add func(*records) error) error {
	r := &records{of: map[string]record{}}
	if err := r.read(recordFile); err != nil && !os.IsNotExist(err) {
		return err
	}
	if err := add(r); err != nil {
		return err
	}
	if err := os.WriteFile(recordFile, r.lines(), 0o644); err != nil {
		return err
	}
	return os.WriteFile(pageFile, []byte(r.page()), 0o644)
}
