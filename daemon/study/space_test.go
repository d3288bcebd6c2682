package study

import (
	"strings"
	"testing"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
)

func TestNothingToPropose(t *testing.T) {
	var c config.Config
	c.Search.Strategy = "evolution"
	others := []trainer.Other{{Name: "DEPTH", Line: 5, Why: "line 8 sets it again"}}
	if err := canPropose(&c, search.Space{}, others); err == nil || !strings.Contains(err.Error(), "DEPTH: line 8 sets it again") {
		t.Errorf("evolution: %v", err)
	}
	c.Search.Strategy, c.LLM.Enabled = "llm", true
	if err := canPropose(&c, search.Space{}, others); err != nil {
		t.Errorf("llm: %v", err)
	}
}
