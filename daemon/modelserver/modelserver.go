// Package modelserver makes the client of the model server that [llm] names:
// where its key comes from, and where what it has cost is kept.
package modelserver

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"autoresearchd/daemon/config"
	"autoresearchd/search/llm/openai"
)

// Options are what a client needs beside the configuration.
type Options struct {
	Key       *Key // nil: read now, for this client alone
	Ledger    openai.Ledger
	Observer  openai.Observer
	Transport http.RoundTripper // nil: the network
	Log       *slog.Logger
}

// New makes a client; it does not speak to the server.
func New(c config.LLM, o Options) (*openai.Client, error) {
	if o.Key == nil {
		o.Key = ReadKey(c)
	}
	models := make([]openai.Model, len(c.Models))
	for i, m := range c.Models {
		models[i] = openai.Model(m)
	}
	return openai.New(openai.Options{
		BaseURL: c.BaseURL, Models: models, Key: o.Key.Get, KeyHint: hint(c),
		MaxCost: c.MaxCost, MaxTokens: c.MaxTokens, Timeout: c.Timeout,
		Ledger: o.Ledger, Observer: o.Observer, Transport: o.Transport, Log: o.Log,
	})
}

// hint says where the key comes from.
func hint(c config.LLM) string {
	switch {
	case c.KeyCredential != "":
		return "llm.key_credential " + c.KeyCredential
	case c.KeyFile != "":
		return "llm.key_file " + c.KeyFile
	case c.KeyEnv != "":
		return "the variable of llm.key_env, " + c.KeyEnv
	}
	return "llm.key_env, key_file or key_credential, which are all empty"
}

// Key is the key of the model server. It is read once, and again at a reload, so
// that nothing need stay readable that trials could read too.
type Key struct {
	variable string // what llm.key_env named at the start

	mu   sync.Mutex
	text string
	err  error
}

// ReadKey reads the key where the configuration says. A variable that is not set
// means that the server wants none.
func ReadKey(c config.LLM) *Key {
	k := &Key{}
	if c.KeyEnv != "" {
		k.variable = os.Getenv(c.KeyEnv)
	}
	k.text, k.err = k.read(c)
	return k
}

// Get returns the key, or why there is none. Errors never hold any of it.
func (k *Key) Get() (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.text, k.err
}

// Reload reads the file or the credential again; where that fails, the key stays
// as it was. A variable stays what it was at the start.
func (k *Key) Reload(c config.LLM) error {
	text, err := k.read(c)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.text, k.err = text, nil
	return nil
}

func (k *Key) read(c config.LLM) (string, error) {
	path := c.KeyFile
	if c.KeyCredential != "" {
		dir := os.Getenv("CREDENTIALS_DIRECTORY")
		if dir == "" {
			return "", fmt.Errorf("%s: systemd has given this process no credentials: add LoadCredential=%s:/path/of/the/key to the unit", hint(c), c.KeyCredential)
		}
		path = filepath.Join(dir, c.KeyCredential)
	}
	text := k.variable
	if path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			var pe *os.PathError
			if errors.As(err, &pe) {
				err = pe.Err
			}
			return "", fmt.Errorf("%s cannot be read: %w", hint(c), err)
		}
		if text = string(data); strings.TrimSpace(text) == "" {
			return "", fmt.Errorf("%s is empty", hint(c))
		}
	}
	text = strings.TrimSpace(text)
	if len(text) > 8192 || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("%s does not hold a key: a key is one word on one line", hint(c))
	}
	return text, nil
}

// Open reports who else can read the file of the key, or "".
func Open(c config.LLM) string {
	if c.KeyFile == "" {
		return ""
	}
	info, err := os.Stat(c.KeyFile)
	if err != nil || info.Mode().Perm()&0o007 == 0 {
		return ""
	}
	return fmt.Sprintf("everybody on this machine can read %s (mode %04o)", c.KeyFile, info.Mode().Perm())
}
