package openai

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"autoresearchd/search"
)

// Probe asks the server for its models. It returns a line for people, and the
// configured models that the server does not list, each with the name that it
// may be meant for.
func (c *Client) Probe(ctx context.Context) (words string, missing []string, err error) {
	key, err := c.o.Key()
	if err != nil {
		return "", nil, err
	}
	limit, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	names, f := c.list(ctx, limit, key, c.o.BaseURL)
	if f != nil {
		if f.outcome == "timeout" {
			f.text = fmt.Sprintf("no answer within %v", connectTimeout)
		}
		if f.place {
			better := c.elsewhere(limit, key)
			if f.outcome == "not_found" && better == "" && !f.refusal.page {
				return "it answers, but does not list its models", nil, nil
			}
			f.text += better
		}
		return "", nil, errors.New(scrub(f.text, key))
	}
	for _, m := range c.o.Models {
		if !listed(names, m.Name) {
			text := m.Name
			if near := nearest(m.Name, names); near != "" {
				text += fmt.Sprintf(" (did you mean %s?)", line(near))
			}
			missing = append(missing, text)
		}
	}
	return fmt.Sprintf("it answers and lists %d models", len(names)), missing, nil
}

// list asks for the models at an address.
func (c *Client) list(ctx, limit context.Context, key, base string) ([]string, *fault) {
	n := &note{}
	list, err := c.client(key, base).ListModels(context.WithValue(limit, noteKey{}, n))
	if err != nil {
		return nil, c.explain(ctx, limit, err, n, key)
	}
	names := make([]string, len(list.Models))
	for i, m := range list.Models {
		names[i] = m.ID
	}
	return names, nil
}

// advise says what the list of models tells about a fault of a model or a
// path; empty: nothing.
func (c *Client) advise(ctx context.Context, f *fault, key, model string) string {
	path := f.path
	limit, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	names, f := c.list(ctx, limit, key, c.o.BaseURL)
	switch {
	case f != nil && (f.place || f.outcome == "malformed"):
		return c.elsewhere(limit, key)
	case f != nil || path:
		return ""
	case len(names) == 0:
		return "; it lists no models: load one there"
	case listed(names, model):
		return fmt.Sprintf("; it lists %s all the same: it may have to be loaded there first", line(model))
	}
	near := nearest(model, names)
	shown := slices.Clone(names[:min(len(names), 8)])
	text := "; it has " + line(strings.Join(shown, ", "))
	if len(names) > len(shown) {
		text += fmt.Sprintf(" and %d more", len(names)-len(shown))
	}
	if near != "" {
		text += fmt.Sprintf("; did you mean %s?", line(near))
	}
	return text
}

// elsewhere says with which llm.base_url the server lists models.
func (c *Client) elsewhere(ctx context.Context, key string) string {
	for _, base := range addresses(c.o.BaseURL) {
		if _, f := c.list(ctx, ctx, key, base); f == nil {
			u, err := url.Parse(base)
			if err != nil {
				continue
			}
			return fmt.Sprintf("; with llm.base_url = %q it answers", public(u))
		}
	}
	return ""
}

// addresses are what llm.base_url may be meant to be.
func addresses(base string) []string {
	u, err := url.Parse(base)
	if err != nil {
		return nil
	}
	var all []string
	try := func(path string) {
		v := *u
		v.Path, v.RawPath, v.RawQuery = strings.TrimRight(path, "/"), "", ""
		if s := v.String(); s != strings.TrimRight(base, "/") && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	path := strings.TrimRight(u.Path, "/")
	for _, end := range []string{"/chat/completions", "/completions", "/responses", "/models", "/chat"} {
		if short, ok := strings.CutSuffix(path, end); ok {
			try(short)
			path = short
		}
	}
	if !strings.HasSuffix(path, "/v1") {
		try(path + "/v1")
	} else {
		try(strings.TrimSuffix(path, "/v1")) // some have none, or one too many
	}
	try("/v1")
	try("/api/v1")
	try("/openai/v1")
	try(path + "/openai")
	return all[:min(len(all), 6)]
}

// listed reports whether a list of models has one: Ollama leaves out a tag,
// Gemini puts a folder before the name.
func listed(names []string, model string) bool {
	plain := func(s string) string { return strings.TrimSuffix(strings.TrimPrefix(s, "models/"), ":latest") }
	return slices.ContainsFunc(names, func(name string) bool { return plain(name) == plain(model) })
}

// nearest is the listed name that a model's name is most like; empty: none is.
func nearest(model string, names []string) string {
	plain := func(s string) string {
		s = strings.ToLower(s)
		return strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
				return r
			}
			return -1
		}, s[strings.LastIndexByte(s, '/')+1:])
	}
	want := plain(model)
	best, at := 0.5, ""
	for _, name := range names[:min(len(names), 1000)] {
		have := plain(name[:min(len(name), 200)]) // a server writes what it likes
		if want == "" || have == "" {
			continue
		}
		near := 1 - float64(search.EditDistance(want, have))/float64(max(len(want), len(have)))
		if strings.Contains(have, want) || strings.Contains(want, have) {
			near = max(near, 0.75)
		}
		if near > best {
			best, at = near, name
		}
	}
	return at
}
