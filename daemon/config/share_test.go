package config

import (
	"strings"
	"testing"
)

func TestShare(t *testing.T) {
	const hidden = "s3cret"
	text := `[study]
tag = "a" # a comment stays
[llm]
base_url = "http://ada:s3cret@server/v1"
key_env = "OPENAI_API_KEY"
key_file = "/etc/autoresearch/openai.key"
key_credential = "openai"
max_tokens = 7
[notify]
webhook = "https://hooks.example/s3cret\"x"
webhook_file = "hook"
[search]
strategy = "exec"
[search.exec]
env = ["MY_TOKEN"]
options = { depth = 3, access_token = 's3cret', "api_key" = """
s3cret""" }
`
	out, err := Share([]byte(text))
	if err != nil || strings.Contains(string(out), hidden) {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"# a comment stays", `base_url = "http://server/v1"`, `key_env = "OPENAI_API_KEY"`, `key_file = "/etc/autoresearch/openai.key"`, `key_credential = "openai"`,
		"max_tokens = 7", `webhook = ""`, `webhook_file = "hook"`, `env = ["MY_TOKEN"]`, "depth = 3",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("it lacks %s:\n%s", want, out)
		}
	}
	for _, bad := range []string{"[notify]\n\"web\\u0068ook\" = \"https://hooks.example/s3cret\"\n", "[notify"} {
		if out, err := Share([]byte(bad)); err == nil {
			t.Errorf("%q becomes %q", bad, out)
		}
	}
}

func TestPlace(t *testing.T) {
	for text, want := range map[string]string{
		"": "\n\n[study]\nworkspace = \"w\"\nstate = \"s\"\n",
		"[study]\ntag = \"a\"\nstate = \"/old\" # mine\n[trial]\nbudget = \"5s\"\n": "[study]\nworkspace = \"w\"\ntag = \"a\"\nstate = \"s\"\n[trial]\nbudget = \"5s\"\n",
		"[log]\nlevel = \"info\"\n": "[log]\nlevel = \"info\"\n\n[study]\nworkspace = \"w\"\nstate = \"s\"\n",
	} {
		if got, err := Place([]byte(text), "w", "s"); err != nil || string(got) != want {
			t.Errorf("%q becomes\n%s\nwant\n%s%v", text, got, want, err)
		}
	}
	if got, err := Place([]byte("study = { state = \"/old\" }\n"), "w", "s"); err == nil {
		t.Errorf("it becomes\n%s", got)
	}
}
