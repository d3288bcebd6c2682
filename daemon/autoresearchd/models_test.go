package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/modelserver"
	"autoresearchd/search"
	"autoresearchd/search/llm/llmtest"
)

// TestExamineModels proves what doctor says of a model server, and that it
// never says the key.
func TestExamineModels(t *testing.T) {
	const secret = "sk-very-secret-0123456789"
	t.Setenv("DOCTOR_KEY", secret)
	web := httptest.NewServer(llmtest.New())
	gone := httptest.NewServer(llmtest.New())
	gone.Close()
	defer web.Close()
	for name, c := range map[string]struct {
		change func(*config.LLM)
		want   string
	}{
		"off":         {func(l *config.LLM) { l.Enabled = false }, "note llm.enabled is false"},
		"well":        {func(*config.LLM) {}, "ok " + web.URL + "/v1: it answers and lists 1 models"},
		"unknown":     {func(l *config.LLM) { l.Models[0].Name = "large" }, "note " + web.URL + "/v1: it answers and lists 1 models, but not large"},
		"gone":        {func(l *config.LLM) { l.BaseURL = gone.URL + "/v1" }, "fault " + gone.URL + "/v1: the server cannot be reached: "},
		"no key":      {func(l *config.LLM) { l.KeyEnv = "NO_SUCH_KEY" }, "note the variable NO_SUCH_KEY (llm.key_env) is not set here"},
		"no key file": {func(l *config.LLM) { l.KeyFile = t.TempDir() + "/gone" }, "gone cannot be read: no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			conf := config.Default()
			conf.LLM.Enabled, conf.LLM.BaseURL, conf.LLM.KeyEnv, conf.LLM.Models = true, web.URL+"/v1", "DOCTOR_KEY", []config.Model{{Name: "small"}}
			c.change(&conf.LLM)
			var said strings.Builder
			examineModels(t.Context(), conf,
				func(_, format string, args ...any) { fmt.Fprintf(&said, "ok "+format+"\n", args...) },
				func(_, text, _ string) { fmt.Fprintln(&said, "note", text) },
				func(_ string, err error, _ string) { fmt.Fprintln(&said, "fault", err) })
			if !strings.Contains(said.String(), c.want) || strings.Contains(said.String(), secret) {
				t.Errorf("doctor says\n%swant %s", said.String(), c.want)
			}
		})
	}
}

// TestModels proves that clients of one daemon count into one ledger.
func TestModels(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(llmtest.New(llmtest.Say("one"), llmtest.Say("two")))
	defer web.Close()
	conf := config.Default()
	conf.Study.State = t.TempDir()
	conf.LLM.Enabled, conf.LLM.BaseURL, conf.LLM.Models = true, web.URL, []config.Model{{Name: "small", OutputPrice: 1e6}}
	conf.LLM.MaxTokens, conf.LLM.MaxCost = 3, 5
	ledger := modelserver.NewLedger(conf.Study.State)
	build := models(modelserver.ReadKey(conf.LLM), ledger, &lateMeter{}, slog.New(slog.DiscardHandler))
	ask := func() error {
		m, err := build(conf)
		if err == nil {
			_, err = m.Complete(context.Background(), search.Prompt{Turns: []string{"x"}})
		}
		return err
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	for name, l := range map[string]*modelserver.Ledger{"the same": ledger, "after a restart": modelserver.NewLedger(conf.Study.State)} {
		if dollars, ok := l.Spent(); !ok || dollars != 1 {
			t.Errorf("%s: $%g are spent (%v), want the one token's $1", name, dollars, ok)
		}
	}
	conf.LLM.MaxCost = 3
	if err := ask(); err == nil || !strings.Contains(err.Error(), "llm.max_cost is reached") {
		t.Errorf("a reload forgets what was spent: %v", err)
	}
}
