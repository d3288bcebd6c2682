package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/modelserver"
	"autoresearchd/search"
	_ "autoresearchd/search/llm"
	"autoresearchd/search/llm/openai"
)

// models returns what makes the client of a configuration's model server. All
// of them have the same key and count into the same ledger.
func models(key *modelserver.Key, ledger openai.Ledger, meter openai.Observer, log *slog.Logger) func(*config.Config) (search.Model, error) {
	return func(c *config.Config) (search.Model, error) {
		return modelserver.New(c.LLM, modelserver.Options{Key: key, Ledger: ledger, Observer: meter, Log: log})
	}
}

// examineModels asks the model server for its models.
func examineModels(ctx context.Context, c *config.Config, ok func(string, string, ...any), note func(string, string, string), fault func(string, error, string)) {
	const part = "model server"
	if !c.LLM.Enabled {
		note(part, "llm.enabled is false", "the search works without models; their proposals make it better")
		return
	}
	if open := modelserver.Open(c.LLM); open != "" {
		note(part, open, "chmod 600 "+c.LLM.KeyFile)
	}
	if c.LLM.KeyCredential != "" && os.Getenv("CREDENTIALS_DIRECTORY") == "" {
		note(part, "the key is the unit's credential "+c.LLM.KeyCredential+", which systemd gives to the daemon alone: the server is not asked from here", "`systemctl status autoresearchd` and the log show how requests are going")
		return
	}
	client, err := modelserver.New(c.LLM, modelserver.Options{})
	if err != nil {
		fault(part, err, "")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	words, missing, err := client.Probe(ctx)
	switch {
	case err != nil:
		fault(part, fmt.Errorf("%s: %w", c.LLM.BaseURL, err), "start it, or correct [llm]; until then the search continues without it")
	case len(missing) > 0:
		note(part, fmt.Sprintf("%s: %s, but not %s", c.LLM.BaseURL, words, strings.Join(missing, ", ")), "correct llm.models if requests fail")
	default:
		ok(part, "%s: %s", c.LLM.BaseURL, words)
	}
	if c.LLM.KeyEnv != "" && c.LLM.KeyFile == "" && c.LLM.KeyCredential == "" && os.Getenv(c.LLM.KeyEnv) == "" {
		note(part, "the variable "+c.LLM.KeyEnv+" (llm.key_env) is not set here", "a server that wants no key needs none")
	}
}
