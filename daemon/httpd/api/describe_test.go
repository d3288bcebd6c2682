package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"autoresearchd/daemon/httpd/api"
	"autoresearchd/daemon/httpd/api/apitest"
	"autoresearchd/daemon/journal/journaltest"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/search"
)

// described is openapi.json with what validates against its schemas.
type described struct {
	t        *testing.T
	compiler *jsonschema.Compiler
	doc      map[string]any
}

func describe(t *testing.T) described {
	t.Helper()
	data, err := os.ReadFile("openapi.json")
	must(t, err)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	must(t, err)
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	must(t, c.AddResource("openapi.json", doc))
	return described{t, c, doc.(map[string]any)}
}

// check validates JSON against the schema at a JSON pointer.
func (d described) check(what, pointer string, body []byte) {
	d.t.Helper()
	schema, err := d.compiler.Compile("openapi.json#" + pointer)
	if err != nil {
		d.t.Errorf("%s: %v", what, err)
		return
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err == nil {
		err = schema.Validate(v)
	}
	if err != nil {
		d.t.Errorf("%s: %v\n%.600s", what, err, body)
	}
}

// answer validates an answer to a path of the description.
func (d described) answer(path string, code int, kind string, body []byte) {
	d.t.Helper()
	escape := strings.NewReplacer("~", "~0", "/", "~1").Replace
	pointer := fmt.Sprintf("/paths/%s/get/responses/%d/content/%s/schema", escape(path), code, escape(kind))
	if kind != "application/json" {
		body, _ = json.Marshal(string(body))
	}
	d.check(fmt.Sprintf("%s: %d", path, code), pointer, body)
}

// TestDescribed asks every path of the description of three studies, and holds
// each answer against it.
func TestDescribed(t *testing.T) {
	d := describe(t)
	ids := map[string][]string{
		"/status": {""}, "/staircase": {""}, "/constants": {""}, "/strategies": {""}, "/openapi.json": {""},
		"/candidates":               {"", "?limit=3&order=asc&verdict=kept", "?failure=out+of+memory", "?verdict=x"},
		"/search":                   {"", "?q=memory", "?failure=x"},
		"/trials":                   {"", "?limit=3&order=asc&decision=keep", "?q=nothing+has+this", "?limit=x"},
		"/lineage":                  {"", "?all=1", "?all=x"},
		"/compare":                  {"?ids=1,2", "?ids=3,7,12,11", "?ids=1", "?ids=1,40000"},
		"/timeline":                 {"", "?last=3", "?format=chrome", "?last=0", "?format=x"},
		"/gpus":                     {""},
		"/trials/{id}/files/{name}": {"4/llm-reply-1.txt", "4/none"},
	}
	for i := range 46 {
		ids["/trials/{id}"] = append(ids["/trials/{id}"], fmt.Sprint(i+1))
		ids["/candidates/{id}"] = append(ids["/candidates/{id}"], fmt.Sprint(i+1))
	}
	asked := 0
	for name, o := range map[string]journaltest.Options{"45": {Trials: 45, Running: true}, "hostile": {Trials: 45, Hostile: true}, "none": {}} {
		t.Run(name, func(t *testing.T) {
			d := d
			d.t = t
			s, _ := open(t, o)
			s.Loop.Edit(func(now *supervisor.Status) {
				left := 12.5
				trial := supervisor.RunningStatus{ID: 46, Candidate: 46, Run: 1, Strategy: "tpe", Description: journaltest.Hostile[0], Phase: search.Train, PhaseSeconds: 3, Seconds: 9, Progress: 0.5, Step: 400,
					Loss: 3.25, TokPerSec: 1.6e6, Budget: search.Budget{Seconds: 300}, SecondsLeft: &left, Curve: [][2]float64{{0.1, 5}, {0.5, 3.25}}}
				ready := trial
				ready.ID, ready.Phase, ready.SecondsLeft, ready.Curve = 47, search.Startup, nil, nil
				now.Seats = []supervisor.SeatStatus{{Name: "cuda:0", Device: "cuda:0", State: supervisor.SeatRunning, Trial: &trial, Next: &ready},
					{Name: "node7/cuda:1", Host: "node7", Device: "cuda:1", State: supervisor.SeatQuarantined, Why: journaltest.Hostile[1]}}
			})
			paths := d.doc["paths"].(map[string]any)
			for path := range paths {
				if path == "/events" {
					continue // TestStream
				}
				if ids[path] == nil {
					t.Errorf("%s is described and not tested", path)
				}
				for _, how := range ids[path] {
					at := path + how
					if id, name, ok := strings.Cut(how, "/"); ok {
						at = strings.NewReplacer("{id}", id, "{name}", name).Replace(path)
					} else if strings.Contains(path, "{id}") {
						at = strings.Replace(path, "{id}", how, 1)
					}
					w := ask(t, s.API, strings.TrimPrefix(at, "/"))
					d.answer(path, w.Code, w.Header().Get("Content-Type"), w.Body.Bytes())
					asked++
				}
			}
			events := streamOf(t, s)
			d.check("status event", "/components/schemas/StatusEvent", []byte(events))
		})
	}
	if asked < 150 {
		t.Errorf("only %d answers were looked at", asked)
	}
}

// streamOf returns the data of a stream's first status event.
func streamOf(t *testing.T, s *apitest.Study) string {
	t.Helper()
	c := watch(t, serveOn(t, s.API), "")
	e := c.until("status")
	return e.data
}

// TestRoutes wants a description of whatever is answered.
func TestRoutes(t *testing.T) {
	d := describe(t)
	s, _ := open(t, journaltest.Options{Trials: 2})
	var served map[string]any
	must(t, json.Unmarshal(ask(t, s.API, "openapi.json").Body.Bytes(), &served))
	if len(served) != len(d.doc) || served["openapi"] != "3.1.0" {
		t.Error("openapi.json is another one than the file")
	}
	var have []string
	for path := range d.doc["paths"].(map[string]any) {
		have = append(have, strings.TrimSuffix(api.Prefix, "/")+path)
	}
	slices.Sort(have)
	routes := api.Routes(s.API)
	slices.Sort(routes)
	if !slices.Equal(have, routes) {
		t.Errorf("described are %q\nanswered are  %q", have, routes)
	}
}

// TestWords has the description know every state of a seat, phase, verdict and failure.
func TestWords(t *testing.T) {
	schemas := describe(t).doc["components"].(map[string]any)["schemas"].(map[string]any)
	for at, want := range map[string]any{"Seat state": supervisor.SeatStates, "Running phase": search.Phases, "Verdict": search.Standings, "Failure": search.Statuses[1:]} {
		schema, property, inside := strings.Cut(at, " ")
		about := schemas[schema].(map[string]any)
		if inside {
			about = about["properties"].(map[string]any)[property].(map[string]any)
		}
		have := about["enum"]
		if fmt.Sprint(have) != fmt.Sprint(want) {
			t.Errorf("%s is one of %v, described are %v", at, want, have)
		}
	}
}
