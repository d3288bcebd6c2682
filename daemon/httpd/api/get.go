package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// Get asks a handler of the API within this process, by a path and its query,
// and returns the body. What the API refuses is an error in its own words.
func Get(ctx context.Context, h http.Handler, target string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, err
	}
	a := answer{header: http.Header{}, code: http.StatusOK}
	h.ServeHTTP(&a, r)
	if a.code != http.StatusOK {
		var said struct {
			Error string `json:"error"`
		}
		if json.Unmarshal(a.body.Bytes(), &said) != nil || said.Error == "" {
			said.Error = fmt.Sprintf("%s answered %d", target, a.code)
		}
		return nil, errors.New(said.Error)
	}
	return a.body.Bytes(), nil
}

// answer keeps what a handler writes.
type answer struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(code int)        { a.code = code }
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }
