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
