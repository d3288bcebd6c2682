package openai

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"autoresearchd/search/llm/loose"
)

// reader stands between the library and a server: it makes of whatever the
// server sends the answer that the library decodes, and of everything else a
// refusal. So no field that nobody needs can cost a reply.
type reader struct{ http.RoundTripper }

type noteKey struct{}

// note is what is known of a request beside its answer.
type note struct {
	sent   bool   // the server has seen the request
	stream bool   // the server answers in no other way
	tool   string // what the reply calls in the place of saying something
}

// refusal is what a server said where it should have replied.
type refusal struct {
	status int         // of HTTP, or the one that the words name
	inside bool        // HTTP's status was no failure
	header http.Header // of the answer
	words  string      // the server's own
	codes  string      // its codes, types and parameters, in lower case
	wait   string      // how long it says to wait
	page   bool        // it is an HTML page
	broken error       // why it is no answer at all; nil if it is one
}

func (r *refusal) Error() string { return r.words }

var (
	errRedirect = errors.New("the server redirects")
	errTooLong  = errors.New("the answer is longer than 8 MiB")
)

// RoundTrip implements http.RoundTripper.
func (r *reader) RoundTrip(req *http.Request) (*http.Response, error) {
	n, ok := req.Context().Value(noteKey{}).(*note)
	if !ok {
		n = &note{}
	}
	if n.stream {
		var err error
		if req, err = streamed(req); err != nil {
			return nil, err
		}
	}
	res, err := r.RoundTripper.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	n.sent = true
	if res.StatusCode/100 == 3 && res.Header.Get("Location") != "" {
		return res, nil // the client says no to it
	}
	body, err := content(res)
	if err != nil {
		return nil, err
	}
	body, err = plain(req.URL.Path, res, body, n)
	if err != nil {
		return nil, err
	}
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return res, nil
}

// streamed is a request that asks for its answer in pieces.
func streamed(req *http.Request) (*http.Request, error) {
	if req.Body == nil {
		return req, nil
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	_ = req.Body.Close()
	body = bytes.Replace(body, []byte(`"stream":false`), []byte(`"stream":true`), 1)
	req = req.Clone(req.Context())
	req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	req.GetBody = nil
	return req, nil
}

// content reads an answer, at most maxBody of it.
func content(res *http.Response) ([]byte, error) {
	defer res.Body.Close()
	body, err := bounded(res.Body)
	if err != nil {
		return nil, err
	}
	switch encoding := strings.ToLower(res.Header.Get("Content-Encoding")); {
	case bytes.HasPrefix(body, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		return bounded(z)
	case encoding == "deflate":
		if z, err := zlib.NewReader(bytes.NewReader(body)); err == nil {
			return bounded(z)
		}
	}
	return body, nil
}

func bounded(r io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	if len(body) > maxBody {
		return nil, errTooLong
	}
	return body, err
}

// plain makes of an answer what the library decodes.
func plain(path string, res *http.Response, body []byte, n *note) ([]byte, error) {
	refused := &refusal{status: res.StatusCode, header: res.Header}
	text := strings.TrimSpace(strings.TrimPrefix(strings.ToValidUTF8(string(body), "\ufffd"), "\ufeff"))
	failed := res.StatusCode < 200 || res.StatusCode > 299
	if markup(text) {
		refused.page, refused.words = true, pageWords(text)
		return nil, refused
	}
	values, err := pieces(text)
	if !failed && len(values) > 0 {
		if strings.HasSuffix(path, "/models") {
			if list, ok := modelList(values[0]); ok {
				return json.Marshal(list)
			}
		} else if a := completionOf(values); a.fault != nil {
			values = []any{a.fault}
		} else if a.failed && !slices.ContainsFunc(values, troubled) {
			values = []any{map[string]any{"error": "the reply ended with an error"}}
		} else if a.failed {
			// The values say why.
		} else if a.found && (err == nil || a.text != "" && a.finish != "") && (a.text+a.reasoning+a.refusal != "" || !slices.ContainsFunc(values, troubled)) {
			n.tool = a.tool
			return a.encode()
		}
	}
	for _, v := range values {
		if failed || troubled(v) {
			refused.take(v)
		}
	}
	switch {
	case refused.words != "":
		refused.inside = !failed
	case failed:
		if len(values) == 0 {
			refused.words = text
		}
	case err != nil:
		refused.broken, refused.words = err, fmt.Sprintf("%v: %s", err, text)
	case text == "":
		refused.broken, refused.words = io.ErrUnexpectedEOF, "it is empty"
	default:
		refused.broken, refused.words = errors.New("unknown shape"), text
	}
	if refused.inside && refused.status < 400 {
		refused.status = 0
		for _, v := range values {
			if s := statusOf(v, 0); s != 0 {
				refused.status = s
				break
			}
		}
	}
	return nil, refused
}

// take adds what a JSON value says of a failure.
func (r *refusal) take(v any) {
	if said := words(v, 0); said != "" && r.words == "" {
		r.words = said
	}
	r.codes = strings.TrimSpace(r.codes + "\n" + strings.ToLower(strings.Join(codes(v, 0), "\n")))
	if r.wait == "" {
		r.wait = waitOf(v, 0)
	}
}

// pieces are the JSON values of an answer: one as a rule, several where it
// comes in events or lines.
func pieces(text string) ([]any, error) {
	if i := strings.IndexAny(text, "{["); i > 0 && !strings.Contains(text[:i], "data:") && strings.HasPrefix(text, ":") {
		text = text[i:] // comments that keep the connection alive
	}
	if !event.MatchString(text) {
		if !strings.HasPrefix(text, "{") && !strings.HasPrefix(text, "[") {
			return nil, nil // words
		}
		const most = 1 << 16
		values, err := loose.Values([]byte(text), most)
		if n := len(values); n > 0 && err == nil && object(values[n-1])["done"] == false {
			err = io.ErrUnexpectedEOF
		}
		return values, err
	}
	var values []any
	var data []string
	fault := io.ErrUnexpectedEOF // until the end is seen
	end := func() {
		joined := strings.TrimSpace(strings.Join(data, "\n"))
		data = nil
		if joined == "[DONE]" && errors.Is(fault, io.ErrUnexpectedEOF) {
			fault = nil
		}
		if joined == "" || joined == "[DONE]" {
			return
		}
		vs, err := loose.Values([]byte(joined), 16)
		values = append(values, vs...)
		if err != nil {
			fault = err
		}
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if rest, ok := strings.CutPrefix(line, "data:"); ok {
			// Some servers leave out the empty line between events.
			if rest = strings.TrimPrefix(rest, " "); len(data) > 0 && (strings.HasPrefix(rest, "{") || strings.HasPrefix(rest, "[DONE]")) {
				end()
			}
			data = append(data, rest)
		} else if strings.TrimSpace(line) == "" {
			end()
		} else if strings.HasPrefix(line, "{") { // a failure in the middle of a stream
			end()
			data = append(data, line)
		}
	}
	end()
	return values, fault
}

var event = regexp.MustCompile(`^(?::[^\n]*\n\s*)*(?:data|event|id|retry):`)

// markup reports whether a text is a page for browsers.
func markup(text string) bool {
	head := strings.ToLower(text[:min(len(text), 512)])
	return strings.HasPrefix(head, "<!doctype") || strings.HasPrefix(head, "<html") || strings.HasPrefix(head, "<?xml") || strings.HasPrefix(head, "<head") ||
		strings.HasPrefix(head, "<") && strings.Contains(head, "<html")
}

var (
	pageTitle = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title>`)
	pageCode  = regexp.MustCompile(`(?is)<(script|style|head)\b.*?</(?:script|style|head)>|<!--.*?-->`)
	pageTag   = regexp.MustCompile(`(?s)<[^>]*>`)
)

// pageWords are a page's title and its first words.
func pageWords(text string) string {
	text = text[:min(len(text), 64<<10)]
	title := ""
	if m := pageTitle.FindStringSubmatch(text); m != nil {
		title = strings.Join(strings.Fields(html.UnescapeString(pageTag.ReplaceAllString(m[1], ""))), " ")
	}
	body := strings.Join(strings.Fields(html.UnescapeString(pageTag.ReplaceAllString(pageCode.ReplaceAllString(text, " "), " "))), " ")
	body = strings.TrimSpace(strings.TrimPrefix(body, title))
	switch {
	case title == "":
		return body
	case body == "":
		return title
	}
	return title + ": " + body
}

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

// modelList is a list of models as the library decodes it.
func modelList(v any) (map[string]any, bool) {
	list, ok := v.([]any)
	if m := object(v); m != nil {
		for _, k := range []string{"data", "models", "result", "items"} {
			if list, ok = m[k].([]any); ok {
				break
			}
		}
	}
	if !ok {
		return nil, false
	}
	data := []any{}
	for _, v := range list {
		name := text(v)
		for _, k := range []string{"id", "name", "model", "model_name"} {
			if name == "" {
				name = text(object(v)[k])
			}
		}
		if name != "" {
			data = append(data, map[string]any{"id": name})
		}
	}
	return map[string]any{"object": "list", "data": data}, true
}

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
