package httpd

import (
	"context"
	"encoding/json"
	"math"
	"net/http/httptest"
	"strings"
	"testing"

	"autoresearchd/search"
)

// taker takes every suggestion that reaches it.
type taker struct {
	Controller
	values map[string]search.Value
	text   string
}

func (k *taker) Suggest(_ context.Context, values map[string]search.Value) (string, error) {
	k.values = values
	return "taken", nil
}

func (k *taker) SuggestText(_ context.Context, text string) (string, error) {
	k.text = text
	return "taken", nil
}

// FuzzSuggestion: what reaches the controller is values or words, never both,
// and no number that is none.
func FuzzSuggestion(f *testing.F) {
	for _, seed := range []string{`{"set": {"DEPTH": 8}}`, `{"text": "wider"}`, `{"set": {"A": [1e400]}}`, `{"set": {"A": null}, "text": ""}`, `{"set": {}, "text": "x"} {}`, `{"sett": 1}`, "[", "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		k := &taker{}
		w := httptest.NewRecorder()
		control(k).ServeHTTP(w, httptest.NewRequest("POST", "/v1/suggest", strings.NewReader(body)))
		if !json.Valid(w.Body.Bytes()) || w.Code >= 500 || (w.Code == 200) != (len(k.values) > 0 || k.text != "") || len(k.values) > 0 && k.text != "" {
			t.Errorf("%q: %d %s, %v, %q", body, w.Code, w.Body, k.values, k.text)
		}
		for name, v := range k.values {
			if v.Kind() == search.Float && (math.IsNaN(v.Number()) || math.IsInf(v.Number(), 0)) {
				t.Errorf("%q sets %s to %s", body, name, v)
			}
		}
	})
}
