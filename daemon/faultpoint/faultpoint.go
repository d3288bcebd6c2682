// Package faultpoint names the places at which a crash must lose nothing.
// A test starts the program with AUTORESEARCH_FAULTPOINT=name (or name#3, the
// third time that it comes by) and it kills itself there with SIGKILL. Without
// the variable a point costs one comparison.
package faultpoint

import (
	"os"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// Variable is the environment variable that arms a point.
const Variable = "AUTORESEARCH_FAULTPOINT"

// Point is one named place. Declare it as a package-level variable.
type Point struct {
	name string
	hits atomic.Int64
}

var (
	registered = map[string]*Point{} // filled while packages are initialised
	armed, at  = parse(os.Getenv(Variable))
)

func parse(s string) (string, int64) {
	name, count, found := strings.Cut(s, "#")
	if n, err := strconv.ParseInt(count, 10, 64); found && err == nil && n > 0 {
		return name, n
	}
	return name, 1
}

// New registers a point. It panics when the name is taken, which is a mistake
// in the program's source.
func New(name string) *Point {
	if registered[name] != nil {
		panic("faultpoint: two points are named " + name)
	}
	p := &Point{name: name}
	registered[name] = p
	return p
}

// Hit ends the process at once, as SIGKILL does, when this point is armed.
func (p *Point) Hit() {
	if armed != p.name {
		return
	}
	if p.hits.Add(1) != at {
		return
	}
	for {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
}

// Names returns every registered name that starts with prefix, sorted. The tests
// that crash at each point have their list from it.
func Names(prefix string) []string {
	var names []string
	for name := range registered {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}
