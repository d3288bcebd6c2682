package search

// Space is filled in by the search work; see there.
type Space struct{}
