package searchtest

import "autoresearchd/search/simulate"

// The simulated studies are the program's own, as `autoresearchd simulate` runs
// them; tests know them by these names.
type (
	Line  = simulate.Line
	Task  = simulate.Task
	Study = simulate.Study
)

var (
	Upstream = simulate.Upstream
	Source   = simulate.Source
	Apply    = simulate.Apply
	NewTask  = simulate.Hopper
	Cpu      = simulate.CPU
	Values   = simulate.Values
	NewStudy = simulate.NewStudy
	Simulate = simulate.Simulate
)
