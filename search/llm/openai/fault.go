package openai

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	api "github.com/sashabaranov/go-openai"

	"autoresearchd/search"
)

// fault is why a request has no reply.
type fault struct {
	outcome  string
	text     string
	tries    int           // requests in all before it is given up
	after    time.Duration // the server's own wish
	lasting  bool          // only a person can mend it
	place    bool          // llm.base_url or llm.models may be wrong: the list of models says more
	path     bool          // it is llm.base_url
	harmless bool          // it says nothing of the next request
	mark     error         // what callers may ask for; nil: nothing
	refusal  *refusal      // what the server said; nil: nothing
}

func (f *fault) Error() string { return f.text }

// What a server's words are about, where its status leaves that open.
var (
	aboutMoney   = regexp.MustCompile(`insufficient[_ ](quota|balance|credits?|funds)|credit balance|exceeded your (current )?quota|out of credits|no (more )?credits|more credits|payment required|can only afford|billing|spend(ing)? limit`)
	aboutKey     = regexp.MustCompile(`(invalid|incorrect|missing|no|expired|wrong|malformed|provide an?|valid) (api|access|auth)[- _]?(key|token)|(invalid|incorrect|missing|expired)[_ ](api[_ ]key|credential|(?:access|auth|bearer) token)|api key (not|is not|is) (valid|invalid|missing|required|expired)|unauthorized|authentication`)
	aboutContext = regexp.MustCompile(`context[_ ](length|window|size)[_ ]?exceeded|exceed_context_size|(exceeds?|exceeded|longer than|larger than|greater than|over|beyond|too (long|large) for)[^.]{0,80}(context|maximum (input|prompt|number of tokens)|input token|max(imum)? (sequence|model) len)|(maximum|max) (model |input |prompt )?(context|prompt|input) ?(length|size)?[^.]{0,60}(exceed|however|\d)|context (length|window|size|limit)[^.]{0,80}(exceed|too|overflow|not enough|only|reached)|(prompt|inputs?|messages?|conversation|request) (is |are |was )?too (long|large|many tokens)|reduce (the length|your (message|prompt|input))|context (the )?overflow|too many (input )?tokens|must have less than \d+ tokens|<= \d+\. given|n_ctx`)
	aboutModel   = regexp.MustCompile(`(model|deployment)\b.{0,80}\b(not (be )?found|does ?n[o']t exist|not exist|not available|not supported|not loaded|not a valid|unknown|decommissioned|deprecated|no longer)|(unknown|invalid|no such|unsupported|nonexistent|not a valid) model|no models? (is |are )?(loaded|found|running|named|called)|\bno model\b|model_not_found|(?m:^model: )|deploymentnotfound|pull(ing)? it|not a valid model|model not exist`)
	aboutPath    = regexp.MustCompile(`unexpected endpoint|(no|unknown|invalid|unsupported) (such )?(path|endpoint|route|url|api)\b|invalid url|(path|endpoint|route|url|page)\b.{0,60}\b(not found|does ?n[o']t exist|unknown|invalid)|cannot (post|get) /|method not allowed|(?m:^not found$)|404 page not found|resource not found`)
	aboutLoading = regexp.MustCompile(`load(ing)? (the |a )?model|model (is )?(currently )?(still )?(loading|starting)|warming up|not ready`)
	aboutBusy    = regexp.MustCompile(`rate[_ ]?limit|too many requests|overloaded|at capacity|resource[_ ]exhausted|server is busy|over capacity|try again later`)
	aboutTLS     = regexp.MustCompile(`http request (was sent )?to an? https|plain http request|request to an https server`)
)

// explain says in one line what went wrong, and whether it may pass.
func (c *Client) explain(ctx, limit context.Context, err error, n *note, key string) *fault {
	var r *refusal
	switch {
	case errors.Is(err, errRedirect):
		f := &fault{outcome: "bad_request", text: "the server answers with a redirection: set llm.base_url to where it leads", tries: 1, lasting: true}
		var to *redirection
		if errors.As(err, &to) {
			where := to.where
			for _, end := range []string{"/chat/completions", "/models"} {
				where = strings.TrimSuffix(where, end)
			}
			f.text += ": " + line(where)
		}
		return f
	case errors.As(err, &r):
		return c.refused(r, key)
	case ctx.Err() != nil:
		return &fault{outcome: "cancelled", text: "nobody waited for the reply", tries: 1}
	case limit.Err() != nil:
		return &fault{outcome: "timeout", text: fmt.Sprintf("no reply within %v", c.o.Timeout), tries: 2}
	case errors.Is(err, api.ErrReasoningModelMaxTokensDeprecated):
		return &fault{outcome: "bad_request", text: line(err.Error()), tries: 1, refusal: &refusal{status: 400, words: "max_tokens is not supported: use max_completion_tokens"}}
	case n.sent:
		return &fault{outcome: "malformed", text: "the answer is not a whole chat completion: " + line(err.Error()), tries: 2}
	}
	return c.unreachable(err)
}

// refused reads a status, or the words where that says nothing.
func (c *Client) refused(r *refusal, key string) *fault {
	f := &fault{tries: 1, refusal: r, after: r.retryAfter(time.Now())}
	said := line(r.words)
	if said != "" {
		said = ": " + said
	}
	about := r.about()
	status := r.status
	in := fmt.Sprintf("(%d)", status)
	if r.inside {
		in = "(in an answer whose status is 200)"
		if status != 0 {
			in = fmt.Sprintf("(%d, in an answer whose status is 200)", status)
		}
	}
	hint := c.o.KeyHint
	if hint == "" {
		hint = "the key"
	}
	if status == 0 && r.inside { // the words decide
		switch {
		case aboutBusy.MatchString(about):
			status = 429
		case aboutLoading.MatchString(about):
			status = 503
		case aboutModel.MatchString(about), aboutPath.MatchString(about):
			status = 404
		case aboutKey.MatchString(about):
			status = 401
		case strings.Contains(about, "server_error") || strings.Contains(about, "internal") || strings.Contains(about, "timed out") || strings.Contains(about, "timeout"):
			status = 500
		}
	}
	failure := status == 408 || status == 409 || status == 425 || status >= 500 && status != 501 && status != 505
	money := status == 402 || strings.Contains(about, "insufficient_quota") || f.after == 0 && status/100 == 4 && aboutMoney.MatchString(about)
	switch {
	case r.broken != nil && !r.page:
		f.outcome, f.text, f.tries = "malformed", "the answer is not a whole chat completion"+said, 2
		if len(r.words) > 0 && !strings.ContainsAny(r.words[:1], "{[\"") {
			f.text += "; check llm.base_url, which often ends in /v1"
		}
	case r.page && status < 400:
		f.outcome, f.text, f.lasting, f.place = "malformed", "the server answers with a web page, not with a reply: check llm.base_url, which often ends in /v1"+said, true, true
		f.path = true
	case aboutTLS.MatchString(about):
		f.outcome, f.text, f.lasting = "bad_request", fmt.Sprintf("the server wants TLS %s: let llm.base_url begin with https://%s", in, said), true
	case status == 407:
		f.outcome, f.text, f.lasting = "unauthorized", fmt.Sprintf("the proxy wants a name and a password %s: check HTTPS_PROXY and HTTP_PROXY%s", in, said), true
	case money && status != 503:
		f.outcome, f.text, f.lasting = "rate_limited", fmt.Sprintf("the account has no money left %s%s", in, said), true
		if strings.Contains(about, "afford") || strings.Contains(about, "fewer max_tokens") {
			f.text += "; a lower llm.max_tokens may be affordable"
		}
	case status == 401 || status == 400 && aboutKey.MatchString(about):
		f.outcome, f.lasting = "unauthorized", true
		f.text = fmt.Sprintf("the server refuses the key %s: check %s%s", in, hint, said)
		if key == "" {
			f.text = fmt.Sprintf("the server wants a key %s, and none was sent: check %s%s", in, hint, said)
		}
	case status == 403 && !aboutModel.MatchString(about):
		f.outcome, f.lasting = "unauthorized", true
		f.text = fmt.Sprintf("the server refuses the key, or what it may do %s: check %s, and whether the account may use the models of llm.models%s", in, hint, said)
	case r.tooLong():
		f.outcome, f.harmless, f.mark = "bad_request", true, search.ErrPromptTooLong
		f.text = fmt.Sprintf("the prompt is too long for the model %s: lower search.llm.prompt_bytes, or give the model a longer context%s", in, said)
	case status == 429:
		f.outcome, f.text, f.tries = "rate_limited", "the server has had too many requests "+in+said, 4
	case status == 503 && aboutLoading.MatchString(about):
		f.outcome, f.text, f.tries = "server_error", "the server is still loading the model "+in+said, 4
	case failure:
		f.outcome, f.text, f.tries = "server_error", "the server failed "+in+said, 4
		if r.page {
			f.text += "; a web page answered: check llm.base_url if that lasts"
		}
	case aboutModel.MatchString(about) && !aboutPath.MatchString(about) && (status == 400 || status == 403 || status == 404 || status == 422):
		f.outcome, f.text, f.lasting, f.place = "not_found", fmt.Sprintf("the server has no such model %s: check llm.models%s", in, said), true, true
	case status == 404 || status == 405 || status == 410 || status == 501:
		f.outcome, f.lasting, f.place = "not_found", true, true
		f.text = fmt.Sprintf("the server knows no such model or path %s: check llm.models, and llm.base_url, which often ends in /v1%s", in, said)
		if f.path = r.page || status == 405 || aboutPath.MatchString(about); f.path {
			f.text = fmt.Sprintf("the server knows no such path %s: check llm.base_url, which often ends in /v1%s", in, said)
		}
	case r.inside:
		f.outcome, f.text = "bad_request", fmt.Sprintf("the server reports a failure %s%s", in, said)
		if f.tries = 1; r.status == 0 {
			f.tries = 2
		}
	default:
		f.outcome, f.text = "bad_request", fmt.Sprintf("the server refuses the request %s%s", in, said)
		if r.page {
			f.text += "; a web page answered: check llm.base_url, which often ends in /v1"
			f.place, f.path, f.lasting = true, true, true
		}
	}
	return f
}

// about is what a refusal says, for the expressions above: the words and the
// codes, each on a line.
func (r *refusal) about() string {
	return strings.Join(strings.Fields(strings.ToLower(r.words)), " ") + "\n" + r.codes
}

// tooLong reports whether the prompt does not fit, as far as the words tell.
func (r *refusal) tooLong() bool {
	about := r.about()
	if r.status == 429 || r.status == 401 || strings.Contains(about, "context deadline") || strings.Contains(about, "context cancel") {
		return false
	}
	return r.status == 413 || aboutContext.MatchString(about)
}

// redirection is a redirect that was not followed.
type redirection struct{ where string }

func (r *redirection) Error() string { return errRedirect.Error() + " to " + r.where }
func (r *redirection) Unwrap() error { return errRedirect }

// public is an address without what may be secret in it.
func public(u *url.URL) string {
	clean := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return clean.String()
}

// unreachable says why nobody answers, and what can be done.
func (c *Client) unreachable(err error) *fault {
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	f := &fault{outcome: "unreachable", tries: 3}
	said, remedy := line(err.Error()), ""
	base, _ := url.Parse(c.o.BaseURL)
	lasting := func(words string) { remedy, f.lasting, f.tries = words, true, 1 }
	var dns *net.DNSError
	var record tls.RecordHeaderError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch low := strings.ToLower(said); {
	case strings.Contains(low, "proxyconnect"), strings.Contains(low, "proxy authentication"), strings.Contains(low, "socks connect"):
		remedy = "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
	case strings.Contains(low, "server gave http response to https client"), errors.As(err, &record), strings.Contains(low, "first record does not look like a tls handshake"):
		lasting("let llm.base_url begin with http://, as the server speaks no TLS")
	case strings.Contains(low, "malformed http response") && strings.Contains(low, `\x15\x03`), strings.Contains(low, "malformed http version") && strings.Contains(low, `\x15`):
		lasting("let llm.base_url begin with https://, as the server speaks TLS")
	case strings.Contains(low, "malformed http"):
		lasting("llm.base_url leads to what is no HTTP server")
	case errors.As(err, &unknown):
		lasting("its certificate is signed by nobody known here: name the authority's file in SSL_CERT_FILE")
	case errors.As(err, &name), errors.As(err, &invalid), strings.Contains(low, "x509:"):
		lasting("its certificate is not for the host of llm.base_url, or not valid now")
	case errors.As(err, &dns) && dns.IsNotFound:
		remedy = fmt.Sprintf("check the host in llm.base_url, %s", base.Hostname())
	case errors.Is(err, syscall.ECONNREFUSED), strings.Contains(low, "connection refused"):
		remedy = fmt.Sprintf("start it, or check host and port in llm.base_url, %s", base.Host)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), strings.Contains(low, "connection reset"):
		remedy = "it may want https:// or http:// the other way round in llm.base_url"
	case strings.Contains(low, "unsupported protocol scheme"):
		lasting("let llm.base_url begin with http:// or https://")
	}
	f.text = "the server cannot be reached: " + said
	if remedy != "" {
		f.text += "; " + remedy
	}
	return f
}

var (
	again = regexp.MustCompile(`(?i)(?:try again|retry|wait|reset)[a-z ]{0,24}\s((?:\d+(?:\.\d+)?\s*(?:milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|h)\b?[\s,]*)+)`)
	span  = regexp.MustCompile(`(?i)(\d+(?:\.\d+)?)\s*(milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|h)`)
)

// retryAfter is how long the server asks to be left alone: by a header, in
// its answer's fields, or in its words.
func (r *refusal) retryAfter(now time.Time) time.Duration {
	h := r.header
	if ms, err := strconv.ParseFloat(strings.TrimSpace(h.Get("Retry-After-Ms")), 64); err == nil && ms > 0 && ms < 1e9 {
		return time.Duration(ms * float64(time.Millisecond))
	}
	for _, s := range []string{h.Get("Retry-After"), r.wait} {
		if d := wait(s, now); d > 0 {
			return d
		}
	}
	if r.status != 429 && r.status != 503 {
		return 0
	}
	var longest time.Duration
	for _, kind := range []string{"", "-Requests", "-Tokens"} {
		if left := strings.TrimSpace(h.Get("X-Ratelimit-Remaining" + kind)); left == "0" {
			longest = max(longest, wait(h.Get("X-Ratelimit-Reset"+kind), now))
		}
	}
	if longest > 0 {
		return longest
	}
	if m := again.FindStringSubmatch(r.words); m != nil {
		return wait(m[1], now)
	}
	return 0
}

// wait reads seconds, a date, a duration or a point in time.
func wait(s string, now time.Time) time.Duration {
	const longest = 24 * time.Hour
	s = strings.TrimSpace(s)
	if n, err := strconv.ParseFloat(s, 64); err == nil && n > 0 && !math.IsInf(n, 0) {
		switch {
		case n > 1e11: // milliseconds since 1970
			n = n/1000 - float64(now.UnixMilli())/1000
		case n > 5e8:
			n -= float64(now.UnixMilli()) / 1000
		}
		return max(0, min(time.Duration(math.Min(n, 86400)*float64(time.Second)), longest))
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(0, min(at.Sub(now), longest))
	}
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		return max(0, min(at.Sub(now), longest))
	}
	var sum float64
	for _, m := range span.FindAllStringSubmatch(s, 8) {
		n, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			continue
		}
		switch unit := strings.ToLower(m[2]); {
		case strings.HasPrefix(unit, "ms") || strings.HasPrefix(unit, "milli"):
			n /= 1000
		case unit[0] == 'm':
			n *= 60
		case unit[0] == 'h':
			n *= 3600
		}
		sum += n
	}
	return min(time.Duration(math.Min(sum, 86400)*float64(time.Second)), longest)
}

// line makes one short line of what a server said.
func line(s string) string {
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "\ufffd"), func(r rune) bool {
		return r <= ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
	}), " ")
	if len(s) > 240 {
		s = strings.ToValidUTF8(s[:240], "") + "…"
	}
	return s
}

// scrub takes the key out of what a server said: some repeat it.
func scrub(s, key string) string {
	if len(key) < 4 {
		return s
	}
	s = strings.ReplaceAll(s, key, "[key]")
	return strings.ReplaceAll(s, url.QueryEscape(key), "[key]")
}
