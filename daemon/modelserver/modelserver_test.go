package modelserver

import (
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"autoresearchd/daemon/config"
	"autoresearchd/search"
	"autoresearchd/search/llm/llmtest"
	"autoresearchd/search/llm/openai"
)

const secret = "sk-very-secret-0123456789"

func write(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestKey(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("MY_KEY", secret)
	t.Setenv("NO_KEY", "")
	t.Setenv("TORN_KEY", secret+"\n"+secret)
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	file := write(t, filepath.Join(dir, "key"), secret+"\n", 0o600)
	empty := write(t, filepath.Join(dir, "empty"), "\n", 0o600)
	for _, c := range []struct {
		llm         config.LLM
		want, fault string
	}{
		{config.LLM{KeyEnv: "MY_KEY"}, secret, ""},
		{config.LLM{KeyEnv: "NO_KEY"}, "", ""},
		{config.LLM{}, "", ""},
		{config.LLM{KeyEnv: "MY_KEY", KeyFile: file}, secret, ""},
		{config.LLM{KeyEnv: "NO_KEY", KeyCredential: "key"}, secret, ""},
		{config.LLM{KeyEnv: "TORN_KEY"}, "", "the variable of llm.key_env, TORN_KEY does not hold a key"},
		{config.LLM{KeyFile: empty}, "", "is empty"},
		{config.LLM{KeyFile: filepath.Join(dir, "gone")}, "", "cannot be read: no such file"},
	} {
		got, err := ReadKey(c.llm).Get()
		if got != c.want || (err != nil) != (c.fault != "") || err != nil && (!strings.Contains(err.Error(), c.fault) || strings.Contains(err.Error(), secret)) {
			t.Errorf("%+v: %q, %v", c.llm, got, err)
		}
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if _, err := ReadKey(config.LLM{KeyCredential: "key"}).Get(); err == nil || !strings.Contains(err.Error(), "LoadCredential=key:") {
		t.Errorf("%v", err)
	}
	if Open(config.LLM{KeyFile: file}) != "" || Open(config.LLM{KeyFile: write(t, filepath.Join(dir, "open"), secret, 0o644)}) == "" {
		t.Error("who can read the key's file")
	}
}

// TestKeyIsReadAgain proves that a key is read at the start and at a reload, and
// that a file that is gone by then takes nothing away.
func TestKeyIsReadAgain(t *testing.T) {
	t.Setenv("MY_KEY", secret)
	k := ReadKey(config.LLM{KeyEnv: "MY_KEY"})
	t.Setenv("MY_KEY", "")
	if err := k.Reload(config.LLM{KeyEnv: "MY_KEY"}); err != nil {
		t.Error(err)
	}
	if got, err := k.Get(); got != secret || err != nil {
		t.Errorf("the variable's key is %q, %v", got, err)
	}
	file := write(t, filepath.Join(t.TempDir(), "key"), "first\n", 0o600)
	c := config.LLM{KeyFile: file}
	k = ReadKey(c)
	write(t, file, "second\n", 0o600)
	if got, _ := k.Get(); got != "first" {
		t.Errorf("without a reload it is %q", got)
	}
	if err := k.Reload(c); err != nil {
		t.Error(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := k.Reload(c); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a file that is gone: %v", err)
	}
	if got, err := k.Get(); got != "second" || err != nil {
		t.Errorf("after the reloads it is %q, %v", got, err)
	}
}

// TestLedger proves that what was spent and what was under way outlives the
// process, and that a damaged file is no licence to spend.
func TestLedger(t *testing.T) {
	state := t.TempDir()
	l := NewLedger(state)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(l.Reserve(0.4, 1))
	must(l.Settle("small", 0.4, 0.1, 1000, 200))
	must(l.Reserve(0.4, 1))
	if err := l.Reserve(0.6, 1); !errors.Is(err, openai.ErrCap) || !strings.Contains(err.Error(), "$0.1000 of $1 are spent") {
		t.Errorf("%v", err)
	}
	l = NewLedger(state) // killed while a request was under way
	if err := l.Reserve(0.6, 1); !errors.Is(err, openai.ErrCap) || !strings.Contains(err.Error(), "$0.5000 of $1 are spent") {
		t.Errorf("%v", err)
	}
	must(l.Reserve(0.6, 0))
	must(l.Settle("large", 0.6, 0.6, 1, 1))
	if math.Abs(l.sums.Dollars-1.1) > 1e-9 || l.sums.Reserved > 1e-9 || l.sums.Requests != 3 || l.sums.PromptTokens != 1001 {
		t.Errorf("%+v", l.sums)
	}
	again, err := Read(state)
	must(err)
	if want := map[string]Use{"small": {0.1, 1, 1000, 200}, "large": {0.6, 1, 1, 1}}; !maps.Equal(again.Models, want) {
		t.Errorf("by model %+v, want %+v", again.Models, want)
	}
	for _, text := range []string{"", "{", `{"dollars": -5}`, "null7"} {
		write(t, filepath.Join(state, File), text, 0o640)
		if err := NewLedger(state).Reserve(0, 0); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if err := NewLedger(filepath.Join(state, "gone")).Reserve(0, 0); err == nil {
		t.Error("spent without a record")
	}
}

func TestNew(t *testing.T) {
	t.Setenv("MY_KEY", secret)
	server := llmtest.New(llmtest.Say("hello"), llmtest.Betray())
	c := config.Default().LLM
	c.BaseURL, c.KeyEnv, c.Models = "http://models.test/v1", "MY_KEY", []config.Model{{Name: "small", InputPrice: 1, OutputPrice: 1}}
	state := t.TempDir()
	client, err := New(c, Options{Ledger: NewLedger(state), Transport: server})
	if err != nil {
		t.Fatal(err)
	}
	prompt := search.Prompt{System: "s", Turns: []string{"u"}}
	if reply, err := client.Complete(t.Context(), prompt); err != nil || reply.Text != "hello" || server.Asked()[0].Key != secret {
		t.Errorf("%+v, %v", reply, err)
	}
	if _, err := client.Complete(t.Context(), prompt); err == nil || !strings.Contains(err.Error(), "check the variable of llm.key_env, MY_KEY") || strings.Contains(err.Error(), secret) {
		t.Errorf("%v", err)
	}
	if data, err := os.ReadFile(filepath.Join(state, File)); err != nil || strings.Contains(string(data), secret) || !strings.Contains(string(data), `"requests":2`) {
		t.Errorf("%s, %v", data, err)
	}
}
