package search_test

import (
	"testing"

	"autoresearchd/search/searchtest"
)

// TestExampleConforms holds the strategy of the example to what every other passes.
func TestExampleConforms(t *testing.T) { searchtest.Run(t, newWalk) }
