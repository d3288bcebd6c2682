package config

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// What a file may hold that only its owner is to know: the value of a key that
// is named so, and a password in an address.
var (
	secretValue = regexp.MustCompile(`(?i)(\b[\w-]*(?:webhook|token|secret|password|credential|api_?key)\b["']?\s*=\s*)(?:"""(?s:.*?)"""|'''(?s:.*?)'''|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')`)
	secretUser  = regexp.MustCompile(`://[^/\s"'@]+@`)
)

// Share returns the text of a configuration without the secrets that it holds,
// for others to see; the names of files, variables and credentials that hold
// some stay. It is an error where one is left.
func Share(text []byte) ([]byte, error) {
	out := secretValue.ReplaceAllStringFunc(string(text), func(all string) string {
		m := secretValue.FindStringSubmatch(all)
		if strings.Contains(strings.ToLower(m[1]), "key_credential") {
			return all
		}
		return m[1] + `""`
	})
	out = secretUser.ReplaceAllString(out, "://")
	c, err := parse("autoresearch.toml", []byte(out), nil)
	if c == nil {
		return nil, fmt.Errorf("leave the secrets out of the configuration: %w", err)
	}
	if c.Notify.Webhook != "" || strings.Contains(c.LLM.BaseURL, "@") {
		return nil, fmt.Errorf("leave the secrets out of the configuration: notify.webhook or llm.base_url is written in a way that is not recognised: use notify.webhook_file")
	}
	return []byte(out), nil
}

// Place returns the text of a configuration with other places for workspace and
// state. It is an error where they cannot be put there.
func Place(text []byte, workspace, state string) ([]byte, error) {
	out := string(text)
	section := studyTable.FindString(out)
	changed := section
	if section == "" {
		changed = "[study]\n"
	}
	for _, p := range []struct{ key, value string }{{"state", state}, {"workspace", workspace}} {
		line := fmt.Sprintf("%s = %q", p.key, p.value)
		is := regexp.MustCompile(`(?m)^[ \t]*` + p.key + `[ \t]*=.*$`)
		if is.MatchString(changed) {
			changed = is.ReplaceAllLiteralString(changed, line)
			continue
		}
		head, rest, _ := strings.Cut(changed, "\n")
		changed = head + "\n" + line + "\n" + rest
	}
	if section == "" {
		out = strings.TrimRight(out, "\n") + "\n\n" + changed
	} else {
		out = strings.Replace(out, section, changed, 1)
	}
	const file = "/x/autoresearch.toml"
	c, err := parse(file, []byte(out), nil)
	if c == nil || c.Study.Workspace != resolve(filepath.Dir(file), workspace) || c.Study.State != resolve(filepath.Dir(file), state) {
		return nil, fmt.Errorf("give the configuration another workspace and state: %w", err)
	}
	return []byte(out), nil
}
