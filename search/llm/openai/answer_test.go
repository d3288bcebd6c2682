package openai

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"autoresearchd/search/llm/llmtest"
)

// TestAnswers proves that no field that the search can do without costs a
// reply, and that every way of saying something is understood.
func TestAnswers(t *testing.T) {
	const want = "DESCRIPTION: x\nCONSTANTS:\nDEPTH = 9"
	const said = `"DESCRIPTION: x\nCONSTANTS:\nDEPTH = 9"`
	whole := `{"choices": [{"index": 0, "message": {"role": "assistant", "content": ` + said + `}, "finish_reason": "stop"}]}`
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(z, whole)
	_ = z.Close()
	for name, body := range map[string]string{
		"usage in floats":         `{"id": "x", "created": 1, "choices": [{"message": {"content": ` + said + `}}], "usage": {"prompt_tokens": 5.0, "completion_tokens": 7.0}}`,
		"usage in strings":        `{"choices": [{"message": {"content": ` + said + `}}], "usage": {"prompt_tokens": "5", "completion_tokens": "many"}}`,
		"usage null":              `{"choices": [{"message": {"content": ` + said + `}}], "usage": null}`,
		"usage a list":            `{"choices": [{"message": {"content": ` + said + `}}], "usage": [1]}`,
		"usage huge and negative": `{"choices": [{"message": {"content": ` + said + `}}], "usage": {"prompt_tokens": 1e99, "completion_tokens": -4}}`,
		"id, created, model":      `{"id": 12, "created": "2026-01-01T00:00:00Z", "model": null, "object": 3, "system_fingerprint": {}, "choices": [{"message": {"content": ` + said + `}}]}`,
		"created a float":         `{"created": 1.75e9, "choices": [{"index": "0", "message": {"role": null, "content": ` + said + `}, "finish_reason": null, "logprobs": {"content": [1]}}]}`,
		"finish a number":         `{"choices": [{"message": {"content": ` + said + `}, "finish_reason": 0}]}`,
		"error null":              `{"error": null, "choices": [{"error": null, "message": {"content": ` + said + `}}]}`,
		"error empty":             `{"error": {"message": "", "code": 0}, "detail": [], "choices": [{"error": {}, "message": {"content": ` + said + `}}]}`,
		"parts":                   `{"choices": [{"message": {"content": [{"type": "text", "text": "DESCRIPTION: x\n"}, {"type": "text", "text": {"value": "CONSTANTS:\nDEPTH = 9"}}]}}]}`,
		"thinking parts":          `{"choices": [{"message": {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "DEPTH = 12"}]}, {"type": "text", "text": ` + said + `}]}}]}`,
		"parts of strings":        `{"choices": [{"message": {"content": ["DESCRIPTION: x\n", "CONSTANTS:\nDEPTH = 9"]}}]}`,
		"content null with text":  `{"choices": [{"text": ` + said + `, "message": {"role": "assistant", "content": null}}]}`,
		"message.text":            `{"choices": [{"message": {"content": null, "text": ` + said + `}}]}`,
		"legacy completion":       `{"object": "text_completion", "choices": [{"text": ` + said + `, "index": 0}]}`,
		"message a string":        `{"choices": [{"message": ` + said + `}]}`,
		"choices an object":       `{"choices": {"message": {"content": ` + said + `}}}`,
		"the second choice first": `{"choices": [{"index": 1, "message": {"content": "other"}}, {"index": 0, "message": {"content": ` + said + `}}]}`,
		"tool calls beside":       `{"choices": [{"message": {"content": ` + said + `, "tool_calls": [{"function": {"arguments": {}}}], "function_call": null, "annotations": [], "audio": null}}]}`,
		"reasoning beside":        `{"choices": [{"message": {"content": ` + said + `, "reasoning_content": "DEPTH = 12", "reasoning_details": [{"type": "reasoning.text", "text": "y"}]}}]}`,
		"NaN":                     `{"choices": [{"logprobs": [NaN, -Infinity], "message": {"content": ` + said + `}}]}`,
		"raw line ends":           "{\"choices\": [{\"message\": {\"content\": \"DESCRIPTION: x\nCONSTANTS:\nDEPTH = 9\"}}]}",
		"BOM":                     "\ufeff" + whole,
		"keep-alive blanks":       "\n\n \n" + whole + "\n",
		"keep-alive comments":     ": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n" + whole,
		"words behind":            whole + "\nbye",
		"twice":                   whole + whole,
		"gzip":                    zipped.String(),
		"events": "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n: ping\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"DESCRIPTION: x\\nCONST\"}}]}\n\n" +
			"data: {\"choices\":[{\"delta\":{\"content\":\"ANTS:\\nDEPTH = 9\"},\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":5}}\n\ndata: [DONE]\n\n",
		"events without blanks": "event: message\r\ndata:{\"choices\":[{\"delta\":{\"content\":\"DESCRIPTION: x\\n\"}}]}\r\ndata:{\"choices\":[{\"delta\":{\"content\":\"CONSTANTS:\\nDEPTH = 9\"}}]}\r\ndata:[DONE]\r\n",
		"one whole event":       "data: " + whole + "\n\n",
		"Ollama":                `{"model": "m", "message": {"role": "assistant", "content": ` + said + `}, "done": true, "done_reason": "stop", "prompt_eval_count": 5, "eval_count": 7}`,
		"Ollama in lines":       "{\"message\":{\"content\":\"DESCRIPTION: x\\nCONST\"},\"done\":false}\n{\"message\":{\"content\":\"ANTS:\\nDEPTH = 9\"},\"done\":false}\n{\"message\":{\"content\":\"\"},\"done\":true}\n",
		"Anthropic":             `{"type": "message", "content": [{"type": "thinking", "thinking": "DEPTH = 12"}, {"type": "text", "text": ` + said + `}], "stop_reason": "end_turn", "usage": {"input_tokens": 5, "output_tokens": 7}}`,
		"responses":             `{"object": "response", "error": null, "output": [{"type": "reasoning", "summary": []}, {"type": "message", "content": [{"type": "output_text", "text": ` + said + `}]}], "usage": {"input_tokens": 5}}`,
		"TGI":                   `[{"generated_text": ` + said + `}]`,
		"an envelope":           `{"success": true, "errors": [], "messages": [], "result": {"response": ` + said + `}}`,
		"a cut one before":      `{"choices": [{"message": {"content": ` + said + `}, "finish_reason": "stop"}]}` + "\n{\"choi",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				llm, o := client(t, llmtest.New(llmtest.Raw(body)), nil)
				reply, err := llm.Complete(t.Context(), prompt)
				if err != nil || strings.TrimSpace(reply.Text) != want || reply.Reasoning || reply.Truncated {
					t.Fatalf("%q, %v", reply.Text, err)
				}
				if reply.PromptTokens <= 0 || reply.ReplyTokens <= 0 || reply.Dollars <= 0 || reply.Dollars > 1 || strings.Join(o.outcomes, " ") != "ok" {
					t.Errorf("%+v %v", reply, o.outcomes)
				}
			})
		})
	}
}

// TestReasoningOnly proves that a text that stands in a field of reasoning
// alone is handed on, and marked.
func TestReasoningOnly(t *testing.T) {
	for name, message := range map[string]string{
		"vLLM":       `{"content": null, "reasoning_content": "the answer"}`,
		"vLLM later": `{"content": "", "reasoning": "the answer"}`,
		"Ollama":     `{"content": "", "thinking": "the answer"}`,
		"OpenRouter": `{"content": " \n", "reasoning": null, "reasoning_details": [{"type": "reasoning.text", "text": "the answer"}]}`,
		"Mistral":    `{"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "the answer"}]}]}`,
	} {
		llm, _ := client(t, llmtest.New(llmtest.Raw(`{"choices": [{"message": `+message+`, "finish_reason": "stop"}]}`)), nil)
		if reply, err := llm.Complete(t.Context(), prompt); err != nil || reply.Text != "the answer" || !reply.Reasoning {
			t.Errorf("%s: %+v, %v", name, reply, err)
		}
		llm, _ = client(t, llmtest.New(llmtest.Raw(`{"choices": [{"message": `+message+`, "finish_reason": "length"}]}`)), nil)
		if _, err := llm.Complete(t.Context(), prompt); err == nil || !strings.Contains(err.Error(), "while the model was still reasoning: raise llm.max_tokens") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// say answers with a status and a body.
func say(status int, body string, headers ...string) llmtest.Step {
	return func(w http.ResponseWriter, _ *http.Request, _ llmtest.Request) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// TestRefusals sends the failures of servers that people use, in the shapes in
// which they come, and looks at what a person is told, and at how often the
// server was asked.
func TestRefusals(t *testing.T) {
	const path, models, money, long = "check llm.base_url, which often ends in /v1", "check llm.models", "the account has no money left", "the prompt is too long for the model"
	for _, c := range []struct {
		name   string
		status int
		body   string
		asked  int
		want   []string
	}{
		{"LM Studio, no /v1", 200, `{"error": "Unexpected endpoint or method. (POST /chat/completions)"}`, 1, []string{path, "Unexpected endpoint or method. (POST /chat/completions)"}},
		{"LM Studio, nothing loaded", 404, `{"error": {"message": "No models loaded. Please load a model in the developer page", "type": "invalid_request_error", "param": "model", "code": "model_not_found"}}`, 1, []string{models, "No models loaded"}},
		{"LM Studio, context", 400, `{"error": "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens, which is not enough."}`, 1, []string{long, "prompt_bytes", "only 4096 tokens"}},
		{"Ollama, error a string", 404, `{"error": "model \"m\" not found, try pulling it first"}`, 1, []string{models, `model "m" not found, try pulling it first`}},
		{"Ollama, an object", 404, `{"error":{"message":"model 'm' not found","type":"not_found_error","param":null,"code":null}}`, 1, []string{models, "model 'm' not found"}},
		{"Ollama, at its root", 404, `404 page not found`, 1, []string{path, "404 page not found"}},
		{"Ollama, memory", 500, `{"error": "model requires more system memory (9.8 GiB) than is available (7.2 GiB)"}`, 4, []string{"the server failed (500)", "more system memory"}},
		{"vLLM, model", 404, `{"object":"error","message":"The model ` + "`m`" + ` does not exist.","type":"NotFoundError","param":null,"code":404}`, 1, []string{models, "does not exist"}},
		{"vLLM, path", 404, `{"detail":"Not Found"}`, 1, []string{path, "Not Found"}},
		{"vLLM, method", 405, `{"detail":"Method Not Allowed"}`, 1, []string{path, "Method Not Allowed"}},
		{"vLLM, context", 400, `{"object":"error","message":"This model's maximum context length is 8192 tokens. However, you requested 20000 tokens in the messages, Please reduce the length of the messages.","type":"BadRequestError","param":null,"code":400}`, 1, []string{long, "8192 tokens"}},
		{"FastAPI, a list", 422, `{"detail":[{"type":"extra_forbidden","loc":["body","seed"],"msg":"Extra inputs are not permitted","input":1}]}`, 1, []string{"the server refuses the request (422)", "body.seed: Extra inputs are not permitted"}},
		{"Mistral", 422, `{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","n"],"msg":"Extra inputs are not permitted"}]},"type":"invalid_request_error","param":null,"code":null}`, 1, []string{"body.n: Extra inputs are not permitted"}},
		{"Mistral, JSON in JSON", 422, `{"object":"error","message":"{\"detail\":[{\"loc\":[\"body\",\"n\"],\"msg\":\"Extra inputs\"}]}","type":"internal_error_proxy"}`, 1, []string{"body.n: Extra inputs"}},
		{"Mistral, unauthorized", 401, `{"message":"Unauthorized","request_id":"7"}`, 1, []string{"the server refuses the key (401): check llm.key_env OPENAI_API_KEY: Unauthorized"}},
		{"Mistral, model", 400, `{"object":"error","message":"Invalid model: m","type":"invalid_model","param":null,"code":"1500"}`, 1, []string{models, "Invalid model: m"}},
		{"Gemini, a list", 400, `[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}]`, 1, []string{"the server refuses the key (400)", "API key not valid."}},
		{"Gemini, model", 404, `[{"error":{"code":404,"message":"models/m is not found for API version v1main, or is not supported for generateContent. Call ListModels.","status":"NOT_FOUND"}}]`, 1, []string{models, "models/m is not found"}},
		{"Gemini, context", 400, `[{"error":{"code":400,"message":"The input token count (2000000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}]`, 1, []string{long, "exceeds the maximum"}},
		{"Anthropic, context", 400, `{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 215000 tokens > 200000 maximum"}}`, 1, []string{long, "215000"}},
		{"Anthropic, money", 400, `{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}`, 1, []string{money, "credit balance"}},
		{"Anthropic, overloaded", 529, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, 4, []string{"the server failed (529): Overloaded"}},
		{"Anthropic, model", 404, `{"type":"error","error":{"type":"not_found_error","message":"model: m"}}`, 1, []string{models, "model: m"}},
		{"OpenAI, quota", 429, `{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}`, 1, []string{money + " (429)"}},
		{"OpenAI, country", 403, `{"error":{"code":"unsupported_country_region_territory","message":"Country, region, or territory not supported","param":null,"type":"request_forbidden"}}`, 1, []string{"(403)", "Country, region, or territory not supported"}},
		{"DeepSeek, money", 402, `{"error":{"message":"Insufficient Balance","type":"unknown_error","param":null,"code":"invalid_request_error"}}`, 1, []string{money + " (402)", "Insufficient Balance"}},
		{"DeepSeek, model", 400, `{"error":{"message":"Model Not Exist","type":"invalid_request_error"}}`, 1, []string{models}},
		{"OpenRouter, in the choice", 200, `{"id":"g","choices":[{"error":{"code":502,"message":"Provider disconnected"},"message":{"content":"DEPTH = 1"},"finish_reason":"error"}]}`, 4, []string{"the server failed (502, in an answer whose status is 200): Provider disconnected"}},
		{"OpenRouter, raw", 400, `{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":"{\"error\":{\"message\":\"Model 'k' supports no images\"}}","provider_name":"X"}},"user_id":"u"}`, 1, []string{"Provider returned error", "Model 'k' supports no images"}},
		{"OpenRouter, money", 402, `{"error":{"message":"This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only afford 900.","code":402}}`, 1, []string{money, "llm.max_tokens"}},
		{"OpenRouter, 429 within 200", 200, `{"error":{"message":"Rate limit exceeded: free-models-per-min.","code":429}}`, 4, []string{"too many requests (429, in an answer whose status is 200)"}},
		{"OpenRouter, in events", 200, ": OPENROUTER PROCESSING\n\ndata: {\"error\":{\"code\":\"server_error\",\"message\":\"Provider disconnected\"},\"choices\":[{\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}]}\n\n", 4, []string{"Provider disconnected"}},
		{"OpenRouter, model", 400, `{"error":{"message":"m is not a valid model ID","code":400},"user_id":"u"}`, 1, []string{models, "m is not a valid model ID"}},
		{"LiteLLM", 400, `{"error":{"message":"/chat/completions: Invalid model name passed in model=m. Call /v1/models to view available models for your key.","type":"invalid_request_error","param":"model","code":"400"}}`, 1, []string{models, "Invalid model name"}},
		{"Groq", 413, `{"error":{"message":"Request too large for model m on tokens per minute (TPM): Limit 6000, Requested 10000, please reduce your message size and try again.","type":"tokens","code":"rate_limit_exceeded"}}`, 1, []string{long, "Limit 6000"}},
		{"Together", 422, `{"id":"o","error":{"message":"Input validation error: inputs tokens + max_new_tokens must be <= 8193. Given: 9000 inputs tokens and 0 max_new_tokens","type":"invalid_request_error","param":null,"code":null}}`, 1, []string{long}},
		{"TGI", 422, `{"error":"Input validation error: inputs must have less than 1024 tokens. Given: 5000","error_type":"validation"}`, 1, []string{long, "Given: 5000"}},
		{"SGLang", 400, `{"object":"error","message":"The input (40000 tokens) is longer than the model's context length (8192 tokens).","type":"BadRequestError","code":400}`, 1, []string{long}},
		{"llama.cpp, context", 400, `{"error":{"code":400,"message":"the request exceeds the available context size, try increasing it","type":"exceed_context_size_error","n_prompt_tokens":9000,"n_ctx":4096}}`, 1, []string{long}},
		{"llama.cpp, loading", 503, `{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}`, 4, []string{"the server is still loading the model (503)"}},
		{"llama.cpp, key", 401, `{"error":{"code":401,"message":"Invalid API Key","type":"authentication_error"}}`, 1, []string{"the server refuses the key (401)"}},
		{"Azure", 404, `{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}`, 1, []string{models, "does not exist"}},
		{"Azure, path", 404, `{"error":{"code":"404","message":"Resource not found"}}`, 1, []string{path, "Resource not found"}},
		{"problem+json", 400, `{"type":"about:blank","title":"Bad Request","status":400,"detail":"temperature is too hot"}`, 1, []string{"Bad Request", "temperature is too hot"}},
		{"errors", 400, `{"errors":[{"code":5007,"message":"No such thing"},{"message":"nor that"}],"success":false}`, 1, []string{"No such thing; nor that"}},
		{"Cloudflare in 200", 200, `{"success":false,"errors":[{"code":7003,"message":"Could not route to x"}],"result":null}`, 2, []string{"Could not route to x"}},
		{"MiniMax in 200", 200, `{"choices":null,"base_resp":{"status_code":1004,"status_msg":"login fail: token not valid"}}`, 2, []string{"login fail"}},
		{"message deep", 400, `{"error":{"message":{"error":{"message":"deep down"}}}}`, 1, []string{"deep down"}},
		{"errors by field", 400, `{"error":{"code":3,"errors":{"message":"by field"}}}`, 1, []string{"by field"}},
		{"Go's own", 500, `{"error":"request exceeded its time: context deadline exceeded"}`, 4, []string{"the server failed (500)"}},
		{"a token of a grammar", 400, `{"error":"invalid token in grammar"}`, 1, []string{"the server refuses the request (400)"}},
		{"plain text", 418, "I'm a teapot\x1b[31m\u202e", 1, []string{"the server refuses the request (418): I'm a teapot"}},
		{"no words", 400, "", 1, []string{"the server refuses the request (400)"}},
		{"number", 500, "7", 4, []string{"the server failed (500)"}},
		{"HTML 404", 404, "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body><h1>404 Not Found</h1><hr>nginx</body></html>", 1, []string{path, "404 Not Found", "nginx"}},
		{"HTML 502", 502, "<html><head><title>502 Bad Gateway</title></head></html>", 4, []string{"the server failed (502): 502 Bad Gateway"}},
		{"HTML 403", 403, "<!DOCTYPE html><title>Just a moment...</title>", 1, []string{"(403)", "Just a moment..."}},
		{"HTML 200", 200, "\n<!doctype html>\n<html lang=en><head><title>Ollama &amp; friends</title><script>let x</script></head><body><div id=root></div></body></html>", 1, []string{path, "Ollama & friends"}},
		{"TLS wanted", 400, "Client sent an HTTP request to an HTTPS server.\n", 1, []string{"let llm.base_url begin with https://"}},
		{"nginx, TLS wanted", 400, "<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head></html>", 1, []string{"let llm.base_url begin with https://"}},
		{"key echoed", 400, `{"error":"bad key ` + key + `"}`, 1, []string{"[key]"}},
		{"proxy", 407, "", 1, []string{"HTTPS_PROXY"}},
		{"greeting", 200, "Ollama is running", 2, []string{"the answer is not a whole chat completion", path}},
		{"a tool", 200, `{"choices":[{"message":{"content":null,"tool_calls":[{"function":{"name":"edit_file","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}`, 2, []string{"a call of the tool edit_file"}},
		{"cut stream", 200, "data: {\"choices\":[{\"delta\":{\"content\":\"DEPTH = \"}}]}\n\n", 2, []string{"not a whole chat completion"}},
		{"filtered", 200, `{"choices":[{"message":{"content":""},"finish_reason":"SAFETY"}]}`, 1, []string{"content filter"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := llmtest.New()
				server.Then = say(c.status, c.body)
				llm, _ := client(t, server, nil)
				_, err := llm.Complete(t.Context(), prompt)
				if err == nil {
					t.Fatal("a reply")
				}
				for _, want := range c.want {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("%v\nlacks %q", err, want)
					}
				}
				if text := err.Error(); strings.ContainsAny(text, "\n\r\x1b\u202e") || strings.Contains(text, key) || len(text) > 900 {
					t.Errorf("the line is %q", text)
				}
				if n := len(server.Asked()); n != c.asked {
					t.Errorf("asked %d times, want %d: %v", n, c.asked, err)
				}
			})
		})
	}
}

// TestWaits proves where the time is read that a server asks to be left alone.
func TestWaits(t *testing.T) {
	for _, c := range []struct {
		body    string
		headers []string
		want    time.Duration
	}{
		{"", []string{"Retry-After", "17"}, 17 * time.Second},
		{"", []string{"Retry-After", "Sat, 01 Jan 2000 00:00:30 GMT"}, 30 * time.Second},
		{"", []string{"Retry-After-Ms", "2500"}, 2500 * time.Millisecond},
		{"", []string{"X-RateLimit-Remaining-Tokens", "0", "X-RateLimit-Reset-Tokens", "1m2.5s", "X-RateLimit-Remaining-Requests", "9", "X-RateLimit-Reset-Requests", "1h"}, 62500 * time.Millisecond},
		{"", []string{"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "946684820000"}, 20 * time.Second},
		{"", []string{"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "946684820"}, 20 * time.Second},
		{`{"error":{"message":"Rate limit reached for m. Please try again in 1m3s. Visit us."}}`, nil, 63 * time.Second},
		{`{"error":{"message":"Please retry after 20 seconds."}}`, nil, 20 * time.Second},
		{`[{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details.","details":[{"@type":"RetryInfo","retryDelay":"34s"}]}}]`, nil, 34 * time.Second},
		{`{"error":{"message":"slow","metadata":{"retry_after":5}}}`, nil, 5 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			server := llmtest.New(say(429, c.body, c.headers...), llmtest.Say("fine"))
			llm, _ := client(t, server, nil)
			begin := time.Now()
			if _, err := llm.Complete(t.Context(), prompt); err != nil || time.Since(begin) != c.want {
				t.Errorf("%s %v: waited %v, want %v, %v", c.body, c.headers, time.Since(begin), c.want, err)
			}
		})
	}
}

// picky is a server that refuses what a test names, in its own words, and
// replies to everything else.
func picky(refuse func(body map[string]any) (string, bool)) llmtest.Step {
	return func(w http.ResponseWriter, r *http.Request, q llmtest.Request) {
		if words, no := refuse(q.Body); no {
			say(400, words)(w, r, q)
			return
		}
		if q.Body["stream"] == true {
			say(200, "data: {\"choices\":[{\"delta\":{\"content\":\"fine\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")(w, r, q)
			return
		}
		llmtest.Say("fine")(w, r, q)
	}
}

// TestHabits proves that a parameter that is refused is left out or replaced,
// once, and remembered.
func TestHabits(t *testing.T) {
	has := func(name, words string) func(map[string]any) (string, bool) {
		return func(b map[string]any) (string, bool) { _, ok := b[name]; return words, ok }
	}
	over := func(most float64, words string) func(map[string]any) (string, bool) {
		return func(b map[string]any) (string, bool) { n, _ := b["max_tokens"].(float64); return words, n > most }
	}
	system := func(words string) func(map[string]any) (string, bool) {
		return func(b map[string]any) (string, bool) {
			first := b["messages"].([]any)[0].(map[string]any)
			return words, first["role"] == "system"
		}
	}
	for _, c := range []struct {
		name   string
		model  string
		refuse func(map[string]any) (string, bool)
		asked  int
	}{
		{"max_tokens", "small", has("max_tokens", `{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.","type":"invalid_request_error","param":"max_tokens","code":"unsupported_parameter"}}`), 2},
		{"max_completion_tokens", "gpt-5-x", has("max_completion_tokens", `{"detail":[{"type":"extra_forbidden","loc":["body","max_completion_tokens"],"msg":"Extra inputs are not permitted","input":8192}]}`), 2},
		{"both", "small", func(b map[string]any) (string, bool) {
			for _, name := range []string{"max_tokens", "max_completion_tokens"} {
				if _, ok := b[name]; ok {
					return `{"error":"unknown field ` + name + `"}`, true
				}
			}
			return "", false
		}, 3},
		{"OpenAI's most", "small", over(4096, `{"error":{"message":"max_tokens is too large: 20000. This model supports at most 4096 completion tokens, whereas you provided 20000.","param":"max_tokens","code":"invalid_value"}}`), 2},
		{"DeepSeek's most", "small", over(8192, `{"error":{"message":"Invalid max_tokens value, the valid range of max_tokens is [1, 8192]"}}`), 2},
		{"Groq's most", "small", over(8192, "{\"error\":{\"message\":\"`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens` is less than the `context_window` for this model\"}}"), 2},
		{"Anthropic's most", "small", over(8192, `{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: 20000 > 8192, which is the maximum allowed number of output tokens for m"}}`), 2},
		{"vLLM's room", "small", over(7492, `{"object":"error","message":"This model's maximum context length is 8192 tokens. However, you requested 20700 tokens (700 in the messages, 20000 in the completion). Please reduce the length of the messages or completion.","code":400}`), 2},
		{"vLLM's room later", "small", over(7492, `{"error":{"message":"'max_tokens' or 'max_completion_tokens' is too large: 20000. This model's maximum context length is 8192 tokens and your request has 700 input tokens (20000 > 8192 - 700).","code":400}}`), 2},
		{"too large without a number", "small", over(6000, `{"error":"max_tokens too large"}`), 3},
		{"Gemma's template", "small", system(`{"object":"error","message":"System role not supported","type":"BadRequestError","code":400}`), 2},
		{"LM Studio's template", "small", system(`{"error":"Error rendering prompt with jinja template: \"System role not supported\"."}`), 2},
		{"Mistral's template", "small", system(`{"message":"Conversation roles must alternate user/assistant/user/assistant/..."}`), 2},
		{"o1-mini", "small", system(`{"error":{"message":"Unsupported value: 'messages[0].role' does not support 'system' with this model.","param":"messages[0].role","code":"unsupported_value"}}`), 2},
		{"Gemini's Gemma", "small", system(`[{"error":{"code":400,"message":"Developer instruction is not enabled for models/gemma-3-27b-it","status":"INVALID_ARGUMENT"}}]`), 2},
		{"stream", "small", func(b map[string]any) (string, bool) {
			return `{"error":{"message":"This model only support stream mode, please enable the stream parameter to access the model."}}`, b["stream"] != true
		}, 2},
		{"two at once", "small", func(b map[string]any) (string, bool) {
			if words, no := system(`{"error":"System role not supported"}`)(b); no {
				return words, no
			}
			return has("max_tokens", `{"error":{"message":"Unsupported parameter: max_tokens"}}`)(b)
		}, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := llmtest.New()
				server.Then = picky(c.refuse)
				llm, _ := client(t, server, func(o *Options) { o.Models[0].Name, o.MaxTokens = c.model, 20000 })
				begin := time.Now()
				for range 2 {
					if reply, err := llm.Complete(t.Context(), prompt); err != nil || reply.Text != "fine" {
						t.Fatalf("%q, %v", reply.Text, err)
					}
				}
				if n := len(server.Asked()); n != c.asked+1 {
					t.Errorf("asked %d times, want %d and once more", n, c.asked)
				}
				if took := time.Since(begin); took != 0 {
					t.Errorf("it took %v", took)
				}
				for _, q := range server.Asked()[c.asked:] {
					all := fmt.Sprint(q.Body["messages"])
					if !strings.Contains(all, "be brief") || !strings.Contains(all, "hello") {
						t.Errorf("the prompt became %s", all)
					}
				}
			})
		})
	}
}

// TestStubborn proves that a server that refuses everything is not asked for ever.
func TestStubborn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := llmtest.New()
		server.Then = say(400, `{"error":"Unsupported parameter: max_tokens, max_completion_tokens; system role not supported; stream must be true"}`)
		llm, _ := client(t, server, func(o *Options) { o.MaxTokens = 20000 })
		if _, err := llm.Complete(t.Context(), prompt); err == nil || len(server.Asked()) > lessons+1 {
			t.Errorf("asked %d times, %v", len(server.Asked()), err)
		}
		llm, _ = client(t, server, func(o *Options) { o.MaxCost = 1 })
		if _, err := llm.Complete(t.Context(), prompt); err == nil || !strings.Contains(err.Error(), "llm.max_cost cannot be kept") {
			t.Errorf("%v", err)
		}
	})
}

// TestAdvice proves that a wrong model and a wrong address are told with what
// would be right.
func TestAdvice(t *testing.T) {
	models := `{"data":[{"id":"qwen3:8b"},{"id":"gpt-oss:20b"}]}`
	at := func(root string, mux map[string]string) roundTripper {
		server := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if body, ok := mux[r.Method+" "+strings.TrimPrefix(r.URL.Path, root)]; ok && strings.HasPrefix(r.URL.Path, root) {
				_, _ = io.WriteString(w, body)
				return
			}
			w.WriteHeader(404)
			_, _ = io.WriteString(w, mux["404"])
		})
		return llmtest.Handler(server)
	}
	for _, c := range []struct {
		base, root, model string
		mux               map[string]string
		want              string
	}{
		{"http://h/v1", "/v1", "qwen3", map[string]string{"GET /models": models, "404": `{"error":"model 'qwen3' not found"}`}, "check llm.models: model 'qwen3' not found; it has qwen3:8b, gpt-oss:20b; did you mean qwen3:8b?"},
		{"http://h/v1", "/v1", "claude", map[string]string{"GET /models": models, "404": `{"error":"model 'claude' not found"}`}, "it has qwen3:8b, gpt-oss:20b"},
		{"http://h/v1", "/v1", "claude", map[string]string{"GET /models": `{"data":[]}`, "404": `{"error":"model 'claude' not found"}`}, "it lists no models: load one there"},
		{"http://h", "/v1", "qwen3:8b", map[string]string{"GET /models": models, "404": "404 page not found"}, `with llm.base_url = "http://h/v1" it answers`},
		{"http://h/", "/v1", "qwen3:8b", map[string]string{"GET /models": models, "404": "<html>Not Found</html>"}, `with llm.base_url = "http://h/v1" it answers`},
		{"http://h/api", "/v1", "qwen3:8b", map[string]string{"GET /models": models, "404": "404 page not found"}, `with llm.base_url = "http://h/v1" it answers`},
		{"http://h/v1/chat/completions", "/v1", "qwen3:8b", map[string]string{"GET /models": models, "404": "404 page not found"}, `with llm.base_url = "http://h/v1" it answers`},
		{"http://h/v1", "/api/v1", "qwen3:8b", map[string]string{"GET /models": models, "404": "<html>"}, `with llm.base_url = "http://h/api/v1" it answers`},
	} {
		llm, _ := client(t, at(c.root, c.mux), func(o *Options) { o.BaseURL, o.Models = c.base, []Model{{Name: c.model}} })
		if _, err := llm.Complete(t.Context(), prompt); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %s", c.base, err, c.want)
		}
		_, missing, err := llm.Probe(t.Context())
		if said := fmt.Sprint(err, missing); strings.Contains(c.want, "base_url = ") && !strings.Contains(said, c.want) || strings.Contains(c.want, "did you mean") && !strings.Contains(said, "qwen3 (did you mean qwen3:8b?)") {
			t.Errorf("%s: the probe says %s", c.base, said)
		}
	}
}

// FuzzAnswer proves that no answer brings the reader down, and that what it
// says is one line without the key.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{`{"choices":[{"message":{"content":"x"}}]}`, `{"error":{"message":["a",{"b":1}]}}`, "data: {\"choices\":[{\"delta\":{}}]}\n\ndata: [DONE]", "<html><title>x", "[[[[]]]]",
		`{"choices":[{"message":{"content":[{"text":{"value":"y"}}]}}],"usage":{"prompt_tokens":"1e400"}}`, "\x1f\x8b\x08", ": c\n{\"a\":NaN,}", `{"error":"` + key + `"}`} {
		f.Add(200, seed)
		f.Add(400, seed)
	}
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 200 || status > 599 || status/100 == 3 {
			return
		}
		server := llmtest.New()
		server.Then = say(status, body)
		llm, _ := client(t, server, nil)
		_, _, err := llm.once(t.Context(), llm.o.Models[0], prompt)
		if err != nil && (strings.ContainsAny(err.Error(), "\n\r\x1b\x00") || strings.Contains(err.Error(), key) || len(err.Error()) > 900) {
			t.Errorf("%q", err)
		}
		if status >= 400 && err == nil {
			t.Errorf("a reply out of %d", status)
		}
	})
}

// TestNetwork proves that a server that is spoken to in the wrong way, or is
// not there, is told with what would be right.
func TestNetwork(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) })
	plain, secure := httptest.NewServer(handler), httptest.NewUnstartedServer(handler)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer plain.Close()
	defer secure.Close()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	go func() {
		for {
			c, err := mute.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 4096))                      // as a server does, it answers what it was asked
			_, _ = c.Write([]byte("\x15\x03\x01\x00\x02\x02\x16")) // a TLS alert
			_ = c.Close()
		}
	}()
	gone := httptest.NewServer(handler)
	gone.Close()
	for base, want := range map[string]string{
		strings.Replace(plain.URL, "http:", "https:", 1) + "/v1":  "let llm.base_url begin with http://",
		strings.Replace(secure.URL, "https:", "http:", 1) + "/v1": "let llm.base_url begin with https://",
		"http://" + mute.Addr().String() + "/v1":                  "let llm.base_url begin with https://",
		secure.URL + "/v1":                                        "SSL_CERT_FILE",
		gone.URL + "/v1":                                          "start it, or check host and port in llm.base_url, " + strings.TrimPrefix(gone.URL, "http://"),
		"http://no-such-host.invalid/v1":                          "the server cannot be reached: ",
	} {
		llm, _ := client(t, nil, func(o *Options) { o.BaseURL, o.Random = base, func() float64 { return 0 } })
		if _, _, err := llm.Probe(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant %s", base, err, want)
		}
	}
}
