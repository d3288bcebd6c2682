package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"autoresearchd/daemon/httpd/api"
	"autoresearchd/daemon/journal/journaltest"
)

// FuzzQuery: whatever is asked is answered with JSON, and never with a fault of
// the server's own.
func FuzzQuery(f *testing.F) {
	s, _ := open(f, journaltest.Options{Trials: 12})
	for _, seed := range []string{"status", "trials?decision=keep&limit=2", "candidates?order=-val_bpb&limit=3&cursor=x", "candidates/1", "candidates/best", "trials/3", "trials/-1", "trials/9223372036854775808", "compare?ids=1,2,2,",
		"staircase?points=-1", "timeline?from=x", "constants", "lineage", "strategies", "gpus", "candidates?q=%00%ff&strategy=tpe&verdict=keep&failure=crashed", "//status", "openapi.json", "trials/1/bundle"} {
		f.Add(seed, `"x"`)
	}
	f.Fuzz(func(t *testing.T, path, tag string) {
		where, err := url.ParseRequestURI(api.Prefix + path)
		if err != nil || where.Host != "" {
			return
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if strings.Contains(where.Path, "events") { // a stream would not end
			cancel()
		}
		r := httptest.NewRequestWithContext(ctx, "GET", where.String(), nil)
		r.Header.Set("If-None-Match", tag)
		r.Header.Set("Last-Event-ID", tag)
		w := httptest.NewRecorder()
		s.API.ServeHTTP(w, r)
		kind := w.Header().Get("Content-Type")
		if w.Code >= 500 && w.Code != http.StatusServiceUnavailable || kind == "application/json" && w.Body.Len() > 0 && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%q: %d %.300s", path, w.Code, w.Body)
		}
	})
}
