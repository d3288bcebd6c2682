package openai

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"autoresearchd/search/llm/loose"
)

func object(v any) map[string]any { m, _ := v.(map[string]any); return m }

func text(v any) string { s, _ := v.(string); return s }

// weighty reports whether the value of an error says that there is one.
func weighty(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		s := strings.ToLower(strings.TrimSpace(v))
		return s != "" && s != "null" && s != "none" && s != "ok" && s != "success" && s != "false"
	case []any:
		return slices.ContainsFunc(v, weighty)
	case map[string]any:
		return words(v, 0) != "" || statusOf(v, 0) != 0
	}
	n, ok := loose.Number(v)
	return ok && n != 0
}

// troubled reports whether an object says that something failed.
func troubled(v any) bool {
	if list, ok := v.([]any); ok {
		return slices.ContainsFunc(list, troubled)
	}
	m := object(v)
	if m == nil {
		return false
	}
	for _, k := range []string{"error", "errors", "error_message", "errorMessage", "error_msg", "errmsg", "detail", "exception"} {
		if weighty(m[k]) {
			return true
		}
	}
	if base := object(m["base_resp"]); base != nil {
		n, _ := loose.Number(base["status_code"])
		return n != 0
	}
	if ok, said := m["success"].(bool); said && !ok {
		return true
	}
	if kind := strings.ToLower(text(m["object"]) + " " + text(m["type"])); strings.Contains(kind, "error") {
		return true
	}
	if status := strings.ToLower(text(m["status"])); status == "error" || status == "failed" || status == "fail" {
		return true
	}
	return m["choices"] == nil && (text(m["message"]) != "" || text(m["msg"]) != "" || text(m["title"]) != "")
}

// words are what a server says in a JSON value, in whatever shape it says so.
func words(v any, depth int) string {
	const deepest = 8
	if depth > deepest {
		return ""
	}
	switch v := v.(type) {
	case string:
		s := strings.TrimSpace(v)
		if strings.HasPrefix(s, "{") || strings.HasPrefix(s, "[{") { // JSON within JSON
			if values, err := loose.Values([]byte(s), 1); err == nil && len(values) == 1 {
				if said := words(values[0], depth+1); said != "" {
					return said
				}
			}
		}
		if markup(s) {
			return pageWords(s)
		}
		return s
	case []any:
		var all []string
		for _, e := range v {
			if said := words(e, depth+1); said != "" && !slices.Contains(all, said) && len(all) < 3 {
				all = append(all, said)
			}
		}
		return strings.Join(all, "; ")
	case map[string]any:
		if loc, ok := v["loc"].([]any); ok {
			var at []string
			for _, e := range loc {
				at = append(at, scalar(e))
			}
			return strings.Join(at, ".") + ": " + text(v["msg"])
		}
		said := ""
		for _, k := range []string{"message", "msg", "error_message", "errorMessage", "error_msg", "errmsg", "status_msg", "error_description", "title", "error", "errors",
			"detail", "details", "description", "reason", "exception", "metadata", "raw", "base_resp", "innererror", "cause"} {
			more := words(v[k], depth+1)
			switch low, have := strings.ToLower(more), strings.ToLower(said); {
			case more == "" || strings.Contains(have, low):
			case said == "" || strings.Contains(low, have):
				said = more
			case len(said) < 120:
				said += ": " + more
			}
		}
		if said == "" {
			for _, k := range []string{"code", "type", "status"} {
				if s := scalar(v[k]); s != "" && s != "error" {
					return s
				}
			}
		}
		return said
	}
	return ""
}

func scalar(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}

// codes are the words of a failure that are meant for programs.
func codes(v any, depth int) []string {
	if depth > 6 {
		return nil
	}
	var all []string
	switch v := v.(type) {
	case []any:
		for _, e := range v[:min(len(v), 8)] {
			all = append(all, codes(e, depth+1)...)
		}
	case map[string]any:
		for _, k := range []string{"code", "type", "param", "status", "reason"} {
			if s := scalar(v[k]); s != "" {
				all = append(all, s)
			}
		}
		if loc, ok := v["loc"].([]any); ok {
			for _, e := range loc {
				all = append(all, scalar(e))
			}
		}
		for _, k := range []string{"error", "errors", "detail", "details", "message", "innererror", "metadata", "raw"} {
			if s := text(v[k]); strings.HasPrefix(strings.TrimSpace(s), "{") {
				if values, err := loose.Values([]byte(s), 1); err == nil && len(values) == 1 {
					all = append(all, codes(values[0], depth+1)...)
				}
				continue
			}
			all = append(all, codes(v[k], depth+1)...)
		}
	}
	return all
}

// statusOf is the HTTP status that a failure names inside of its answer; 0: none.
func statusOf(v any, depth int) int {
	if depth > 6 {
		return 0
	}
	switch v := v.(type) {
	case []any:
		for _, e := range v[:min(len(v), 8)] {
			if s := statusOf(e, depth+1); s != 0 {
				return s
			}
		}
	case map[string]any:
		for _, k := range []string{"status", "status_code", "statusCode", "http_status", "code", "error_code"} {
			if n, ok := loose.Number(v[k]); ok && n >= 400 && n < 600 {
				return int(n)
			}
		}
		for _, k := range []string{"error", "errors", "detail", "base_resp", "metadata"} {
			if s := statusOf(v[k], depth+1); s != 0 {
				return s
			}
		}
	}
	return 0
}

// waitOf is the time that a failure says to wait, in its own writing.
func waitOf(v any, depth int) string {
	if depth > 6 {
		return ""
	}
	switch v := v.(type) {
	case []any:
		for _, e := range v[:min(len(v), 8)] {
			if s := waitOf(e, depth+1); s != "" {
				return s
			}
		}
	case map[string]any:
		for _, k := range []string{"retryDelay", "retry_after", "retry_after_seconds", "retryAfter", "Retry-After", "retry-after"} {
			if s := scalar(v[k]); s != "" {
				return s
			}
		}
		if n, ok := loose.Number(v["retry_after_ms"]); ok {
			return strconv.FormatFloat(n/1000, 'f', -1, 64)
		}
		for _, k := range []string{"error", "errors", "detail", "details", "metadata", "headers", "parameters"} {
			if s := waitOf(v[k], depth+1); s != "" {
				return s
			}
		}
	}
	return ""
}
