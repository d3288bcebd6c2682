package main

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/hide"
	"autoresearchd/daemon/trainer"
)

// hideSecrets closes to trials what only the daemon is to know, as far as this
// machine allows, and says of what that is not so. It comes after the secrets
// of the environment have been read.
func hideSecrets(c *config.Config, o *trainer.Options, log *slog.Logger) error {
	closed, open := secretFiles(c)
	if err := hide.Variables(trainer.SecretVariables(o.Secrets)...); err != nil {
		return err
	}
	if c.Trial.Isolation == "inprocess" {
		if len(closed)+len(open) > 0 || c.LLM.Enabled {
			log.Warn(`trials can read the daemon's secrets, since isolation "inprocess" runs them in it`)
		}
		return nil // and CUDA in the daemon does not bear hide.Self
	}
	if err := hide.Self(); err != nil {
		return err
	}
	if err := hide.Supported(); err != nil {
		if len(closed) > 0 {
			log.Warn("trials can read files that hold secrets", "files", strings.Join(closed, ", "), "reason", err)
		}
		return nil
	}
	for _, words := range open {
		log.Warn(words)
	}
	o.Confine, o.Closed = c.LLM.Enabled || c.Notify.Enabled() || len(closed)+len(open) > 0, closed
	return nil
}

// secretFiles are the files and folders that hold the daemon's secrets: those
// that a trial can be kept from, and why the others cannot.
func secretFiles(c *config.Config) (closed, open []string) {
	cache, _ := c.CacheDir()
	for _, s := range secretPaths(c) {
		made := hide.Exposed(s[1], os.Getenv("HOME"), os.TempDir(), c.Study.State, c.Study.Workspace, cache)
		if made == "" {
			closed = append(closed, s[1])
		} else {
			open = append(open, fmt.Sprintf("trials can read %s %s, since they make files in %s too: keep it where this user makes none, such as /etc/autoresearch, or give it to the unit by LoadCredential=", s[0], s[1], made))
		}
	}
	return closed, open
}

// secretPaths are the files and folders that hold the daemon's secrets, each
// behind what names it.
func secretPaths(c *config.Config) [][2]string {
	return slices.DeleteFunc([][2]string{
		{"the unit's credentials in", os.Getenv("CREDENTIALS_DIRECTORY")}, {"llm.key_file", c.LLM.KeyFile}, {"notify.webhook_file", c.Notify.WebhookFile},
	}, func(s [2]string) bool { return s[1] == "" })
}

// examineSecrets says what trials can read of what only the daemon is to know.
func examineSecrets(c *config.Config, ok func(string, string, ...any), note func(string, string, string)) {
	const part = "secrets"
	closed, open := secretFiles(c)
	why := hide.Supported()
	switch {
	case c.Trial.Isolation == "inprocess" && (c.LLM.Enabled || len(closed)+len(open) > 0):
		note(part, "trials run in the daemon and can read its secrets", `use isolation = "process"`)
	case why != nil && len(closed) > 0:
		note(part, fmt.Sprintf("trials can read %s: %v", strings.Join(closed, ", "), why), "give the key by llm.key_env, or use Linux 5.19 or later")
	case len(closed) > 0:
		ok(part, "%s: closed to trials", strings.Join(closed, ", "))
	}
	for _, words := range open {
		note(part, words, "")
	}
}
