package openai

import (
	"encoding/json"
	"strings"

	"autoresearchd/search/llm/loose"
)

// completion is a reply, as far as one was found.
type completion struct {
	found             bool // the answer has the shape of a reply, even if an empty one
	text, reasoning   string
	refusal, finish   string
	tool              string
	prompt, generated float64
	fault             any  // what a choice says of a failure
	failed            bool // it says no more than that it has
}

// encode writes what the library decodes.
func (a *completion) encode() ([]byte, error) {
	type message struct {
		Role      string `json:"role"`
		Content   string `json:"content"`
		Refusal   string `json:"refusal,omitempty"`
		Reasoning string `json:"reasoning_content,omitempty"`
	}
	type choice struct {
		Message message `json:"message"`
		Finish  string  `json:"finish_reason"`
	}
	out := struct {
		Choices []choice       `json:"choices"`
		Usage   map[string]int `json:"usage"`
	}{[]choice{}, map[string]int{"prompt_tokens": int(a.prompt), "completion_tokens": int(a.generated)}}
	if a.text+a.reasoning+a.refusal+a.finish+a.tool != "" {
		out.Choices = append(out.Choices, choice{message{"assistant", a.text, a.refusal, a.reasoning}, a.finish})
	}
	return json.Marshal(out)
}

// completionOf puts a reply together out of an answer's values.
func completionOf(values []any) completion {
	var a completion
	for _, v := range values {
		m := object(v)
		if list, ok := v.([]any); ok && len(list) > 0 { // TGI, and proxies that wrap
			m = object(list[0])
		}
		if m == nil {
			continue
		}
		for _, k := range []string{"result", "data", "response", "output", "chunk"} { // an envelope
			if in := object(m[k]); in != nil && m["choices"] == nil && m["message"] == nil {
				m = in
				break
			}
		}
		before := len(a.text)
		a.add(m)
		if before > 0 && len(a.text) > before && !continues(m) {
			a.text = a.text[:before] // a second whole answer: the first counts
		}
	}
	return a
}

// continues reports whether an object is a piece of a stream.
func continues(m map[string]any) bool {
	if _, ok := m["done"]; ok {
		return true
	}
	if kind := text(m["type"]); strings.Contains(kind, "delta") {
		return true
	}
	if c := firstChoice(m); c != nil {
		if _, ok := c["message"]; ok {
			return false
		}
		_, delta := c["delta"]
		return delta || text(m["object"]) == "text_completion"
	}
	return false
}

func firstChoice(m map[string]any) map[string]any {
	list, _ := m["choices"].([]any)
	if list == nil {
		return object(m["choices"])
	}
	for _, v := range list {
		if c := object(v); c != nil {
			if i, ok := loose.Number(c["index"]); !ok || i == 0 {
				return c
			}
		}
	}
	for _, v := range list {
		if c := object(v); c != nil {
			return c
		}
	}
	return nil
}

// add takes what one object holds of a reply.
func (a *completion) add(m map[string]any) {
	if u := object(m["usage"]); u != nil {
		a.count(u)
	} else if u := object(object(m["x_groq"])["usage"]); u != nil {
		a.count(u)
	} else {
		a.count(m)
	}
	if choices, ok := m["choices"]; ok {
		list, some := choices.([]any)
		a.found = a.found || choices == nil || some && len(list) == 0
	}
	if m["done"] == true {
		a.finish = "stop"
	}
	for _, k := range []string{"finish_reason", "done_reason", "stop_reason", "stopReason", "finishReason"} {
		a.finished(m[k])
	}
	if c := firstChoice(m); c != nil {
		if e := c["error"]; weighty(e) {
			a.fault = map[string]any{"error": e}
			return
		}
		for _, k := range []string{"finish_reason", "stop_reason", "finishReason"} {
			a.finished(c[k])
		}
		message := c["message"]
		if message == nil {
			message = c["delta"]
		}
		if message == nil {
			if list, ok := c["messages"].([]any); ok && len(list) > 0 {
				message = list[len(list)-1]
			}
		}
		a.message(message)
		if piece := text(c["text"]); piece != "" && strings.TrimSpace(text(object(message)["content"])) == "" {
			a.found = true
			a.text += piece
		} else if _, ok := c["text"].(string); ok {
			a.found = true
		}
		a.reason(c)
		return
	}
	if m["choices"] != nil {
		return
	}
	switch {
	case m["message"] != nil && object(m["message"]) != nil: // Ollama
		a.message(m["message"])
	case m["output"] != nil: // OpenAI's responses
		list, _ := m["output"].([]any)
		for _, v := range list {
			if o := object(v); text(o["type"]) == "reasoning" {
				a.reasoning += words(o["summary"], 0) + parts(o["content"])
			} else if o["content"] != nil {
				a.message(o)
			}
		}
		if s, ok := m["output"].(string); ok {
			a.found, a.text = true, a.text+s
		}
	case object(m["delta"]) != nil: // Anthropic
		a.message(m["delta"])
	case m["content"] != nil && !troubled(m):
		a.message(m)
	default:
		for _, k := range []string{"response", "generated_text", "output_text", "completion"} {
			if s, ok := m[k].(string); ok {
				a.found, a.text = true, a.text+s
				return
			}
		}
	}
}

// message takes a message, or a piece of one.
func (a *completion) message(v any) {
	if s, ok := v.(string); ok {
		a.found, a.text = true, a.text+s
		return
	}
	m := object(v)
	if m == nil {
		return
	}
	a.found = true
	a.reason(m)
	a.refusal += text(m["refusal"])
	said := parts(m["content"])
	if said == "" {
		said = text(m["text"])
	}
	a.text += said
	list, _ := m["content"].([]any)
	for _, v := range list {
		part := object(v)
		a.refusal += text(part["refusal"])
		if kind := text(part["type"]); strings.Contains(kind, "think") || strings.Contains(kind, "reason") {
			for _, k := range []string{"thinking", "reasoning", "text", "summary", "content"} {
				a.reasoning += parts(part[k])
			}
		}
	}
	calls, _ := m["tool_calls"].([]any)
	for _, v := range calls {
		a.tool = text(object(object(v)["function"])["name"])
	}
	if call := object(m["function_call"]); call != nil {
		a.tool = text(call["name"])
	}
}

// reason takes what a field of reasoning holds. Servers repeat it under several names.
func (a *completion) reason(m map[string]any) {
	for _, k := range []string{"reasoning_content", "reasoning", "thinking", "reasoning_text", "thought", "thoughts", "reasoning_details"} {
		if said := parts(m[k]); said != "" {
			a.reasoning += said
			return
		}
	}
}

// parts is the text of a content: a string, an object with one, a list of them.
func parts(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []any:
		var b strings.Builder
		for _, part := range v {
			if kind := text(object(part)["type"]); kind == "" || strings.Contains(kind, "text") || strings.HasPrefix(kind, "reasoning.") {
				b.WriteString(parts(part))
			}
		}
		return b.String()
	case map[string]any:
		for _, k := range []string{"text", "content", "value", "summary"} {
			if said := parts(v[k]); said != "" {
				return said
			}
		}
	}
	return ""
}

// finished takes the word for why a reply ended.
func (a *completion) finished(v any) {
	switch said := strings.ToLower(text(v)); {
	case said == "" || said == "null" || said == "none":
	case said == "length" || said == "max_tokens" || said == "max_output_tokens" || said == "model_length" || said == "max_length" || said == "token limit" || said == "truncated":
		a.finish = "length"
	case strings.Contains(said, "filter") || said == "safety" || said == "recitation" || said == "prohibited_content" || said == "blocklist" || said == "spii" || said == "sensitive" || said == "refusal":
		a.finish = "content_filter"
	case said == "error":
		a.failed = true
	default:
		a.finish = "stop"
	}
}

// count takes the numbers of tokens, where they are numbers.
func (a *completion) count(u map[string]any) {
	for _, k := range []string{"prompt_tokens", "input_tokens", "prompt_eval_count", "promptTokenCount"} {
		if n, ok := loose.Number(u[k]); ok && n > 0 && n < 1e9 {
			a.prompt = n
		}
	}
	for _, k := range []string{"completion_tokens", "output_tokens", "eval_count", "candidatesTokenCount"} {
		if n, ok := loose.Number(u[k]); ok && n > 0 && n < 1e9 {
			a.generated = n
		}
	}
}
