package openai

import (
	"regexp"
	"strconv"
	"strings"

	api "github.com/sashabaranov/go-openai"

	"autoresearchd/search"
)

// habits are what requests to a model leave out or say in another way, as its
// server has refused them otherwise. They are kept for the client's life.
type habits struct {
	limit  string // the name of the longest reply's parameter; "": by the model's name; "none": not sent
	tried  [2]bool
	most   int  // longest reply that the server allows; 0: unknown
	needed bool // a longest reply must be named
	merged bool // the system prompt stands in the first turn
	stream bool // the server answers in pieces only
}

const (
	oldLimit = "max_tokens"
	newLimit = "max_completion_tokens"
	noLimit  = "none"
)

// limitOf names the parameter of the longest reply: newer models of OpenAI's
// refuse the one, other servers do not know the other.
func (h *habits) limitOf(model string) string {
	if h.limit != "" {
		return h.limit
	}
	for _, family := range []string{"o1", "o3", "o4", "gpt-5", "gpt-6"} {
		if strings.HasPrefix(model, family) {
			return newLimit
		}
	}
	return oldLimit
}

// tokens is the longest reply that a request asks for; 0: the server's own.
func (h *habits) tokens(tokens int) int {
	if h.needed && tokens == 0 {
		tokens = 8192
	}
	if h.most > 0 && tokens > 0 {
		tokens = min(tokens, h.most)
	}
	return tokens
}

func (h *habits) request(model string, p search.Prompt, tokens int) api.ChatCompletionRequest {
	r := api.ChatCompletionRequest{Model: model}
	if !h.merged {
		r.Messages = append(r.Messages, api.ChatCompletionMessage{Role: api.ChatMessageRoleSystem, Content: p.System})
	}
	for i, t := range p.Turns {
		role := api.ChatMessageRoleUser
		if i%2 == 1 {
			role = api.ChatMessageRoleAssistant
		}
		if i == 0 && h.merged {
			t = p.System + "\n\n" + t
		}
		r.Messages = append(r.Messages, api.ChatCompletionMessage{Role: role, Content: t})
	}
	switch h.limitOf(model) {
	case newLimit:
		r.MaxCompletionTokens = tokens
	case oldLimit:
		//lint:ignore SA1019 most servers know nothing else
		r.MaxTokens = tokens
	}
	return r
}

var (
	unwanted   = regexp.MustCompile(`unsupported|not (be )?(supported|permitted|allowed|accepted|recognized|enabled)|does ?n[o']t (support|accept|allow)|unrecognized|unknown|unexpected|extra|invalid|deprecated|not a valid|no longer|use '?"?max_`)
	limitName  = regexp.MustCompile(`max_completion_tokens|max_tokens|max_new_tokens|maxoutputtokens|max_output_tokens|completion tokens|output tokens|maximum tokens`)
	limitLarge = regexp.MustCompile(`too (large|high|big|long)|at most|less than|exceed|maximum|valid range|<=|\d > \d|up to|must be|between|however, you requested`)
	limitMiss  = regexp.MustCompile(`(max_tokens|max_completion_tokens).{0,40}(field required|is required|missing|required)|(missing|required).{0,40}(max_tokens|max_completion_tokens)`)
	systemRole = regexp.MustCompile(`(system|developer)['"]? ?(role|message|prompt|instruction)s?.{0,60}(not|n't|unsupported|unexpected|invalid|only)|role.{0,30}['"]?(system|developer)\b|(unsupported|unknown|invalid|unexpected|does not support|not support) .{0,40}\b(system|developer)\b|conversation roles must alternate|must alternate|['"](system|developer)['"].{0,30}(is not|not one of|does not)|should be 'user'|first message must be.{0,20}user`)
	streamOnly = regexp.MustCompile(`stream.{0,30}(must be|required|only|has to be|set to) .{0,12}(true|stream|mode)|only supports? stream|stream mode only|non-?streaming.{0,40}not (supported|allowed)|enable the stream`)
	allowed    = regexp.MustCompile(`(?:at most|less than or equal to|less than|<=?|>|up to|maximum(?: value)?(?: of| is| allowed is)?|limit of|range of [a-z_]+ is \[\d+,|between \d+ and|\[\d+,|allowed[a-z ]*|max(?:imum)? (?:output|completion) tokens(?: is| of|:)?)\s*['"` + "`" + `(]*(\d[\d,_]*)`)
	inContext  = regexp.MustCompile(`(?:context length|context window|max(?:imum)? model len(?:gth)?|context size)[a-z_ ()=]{0,20}?\s(\d+)`)
	inPrompt   = regexp.MustCompile(`(\d+) (?:input tokens|in the messages|tokens? (?:from|of|in) the (?:input|prompt|messages)|of text input)|prompt (?:contains|has|of) (?:at least )?(\d+)|(\d+) ` + "`?inputs`?" + ` tokens`)
)

// learn takes up what a refusal says of the request, and reports whether the
// next one will be another. tokens is the longest reply that was asked for.
func (h *habits) learn(r *refusal, model string, tokens, least int) bool {
	if r == nil || r.page || r.status == 401 || r.status == 403 || r.status == 404 || r.status == 429 || r.status == 402 {
		return false
	}
	about := r.about()
	names, large := limitName.MatchString(about), limitLarge.MatchString(about)
	if tokens > 0 && (names || strings.Contains(about, "in the completion") || strings.Contains(about, "in the output")) {
		if most := room(about, tokens); most >= least && most < tokens {
			h.most = most
			return true
		}
	}
	switch {
	case tokens == 0 && !h.needed && limitMiss.MatchString(about):
		h.needed = true
		return true
	case tokens > 0 && names && unwanted.MatchString(about) && h.limitOf(model) != noLimit && !(large && room(about, tokens) > 0):
		now := h.limitOf(model)
		h.tried[index(now)] = true
		switch {
		case now == oldLimit && !h.tried[1]:
			h.limit = newLimit
		case now == newLimit && !h.tried[0]:
			h.limit = oldLimit
		default:
			h.limit = noLimit
		}
		return true
	case tokens > 2*least && names && large && !r.tooLong():
		h.most = tokens / 2
		return true
	case !h.merged && systemRole.MatchString(about):
		h.merged = true
		return true
	case !h.stream && streamOnly.MatchString(about):
		h.stream = true
		return true
	}
	return false
}

func index(name string) int {
	if name == newLimit {
		return 1
	}
	return 0
}

// room is the longest reply that a server's words leave; 0: they do not say.
func room(about string, tokens int) int {
	number := func(s string) int {
		n, err := strconv.Atoi(strings.NewReplacer(",", "", "_", "").Replace(s))
		if err != nil {
			return 0
		}
		return n
	}
	if m := inContext.FindStringSubmatch(about); m != nil {
		for _, p := range inPrompt.FindAllStringSubmatch(about, 2) {
			if n := number(p[1] + p[2] + p[3]); n > 0 {
				return max(0, number(m[1])-n-16)
			}
		}
	}
	best := 0
	for _, m := range allowed.FindAllStringSubmatch(about, 8) {
		if n := number(m[1]); n < tokens {
			best = max(best, n)
		}
	}
	return best
}
