package page

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"autoresearchd/daemon/httpd/api"
	"autoresearchd/daemon/record"
	"autoresearchd/daemon/trainer"
)

// view is what the page shows before, or without, JavaScript.
type view struct {
	Styles, Modules   []string
	Site              Site
	Title, Tag, Fault string
	Card              string
	State, StateNote  string
	Best, BestNote    string
	Gain, GainNote    string
	Tried, TriedNote  string
	Now, NowNote      string
	NowWhat           string
	Progress          float64
	Running           bool
	Rows              []row
}

type row struct {
	ID                                                int64
	Runs                                              int
	Score, Verdict, Outcome, Strategy, Change, Reason string
}

// status and candidates are what is read of the API's answers.
type status struct {
	Study struct {
		Tag       string     `json:"tag"`
		StartedAt time.Time  `json:"started_at"`
		ActiveAt  *time.Time `json:"active_at"`
		Baseline  float64    `json:"baseline_val_bpb"`
	} `json:"study"`
	Card     record.Card `json:"card"`
	State    string      `json:"state"`
	Waiting  string      `json:"waiting"`
	Champion *struct {
		ID          int64   `json:"id"`
		ValBPB      float64 `json:"val_bpb"`
		Claim       string  `json:"claim"`
		Description string  `json:"description"`
	} `json:"champion"`
	Seats []struct {
		State string `json:"state"`
		Trial *struct {
			ID          int64   `json:"id"`
			Strategy    string  `json:"strategy"`
			Description string  `json:"description"`
			Phase       string  `json:"phase"`
			Progress    float64 `json:"progress"`
		} `json:"trial"`
	} `json:"seats"`
	Tried struct {
		Total     int `json:"total"`
		Kept      int `json:"kept"`
		Discarded int `json:"discarded"`
		Refuted   int `json:"refuted"`
		Failed    int `json:"failed"`
	} `json:"candidates"`
	Runs int     `json:"runs"`
	Rate float64 `json:"rate_per_hour"`
	Next string  `json:"next"`
}

type candidates struct {
	Candidates []struct {
		ID          int64    `json:"id"`
		Strategy    string   `json:"strategy"`
		Description string   `json:"description"`
		Verdict     string   `json:"verdict"`
		Failure     string   `json:"failure"`
		Reason      string   `json:"reason"`
		ValBPB      *float64 `json:"val_bpb"`
		Runs        []int64  `json:"runs"`
	} `json:"candidates"`
}

// newest is how many candidates the table without JavaScript has.
const newest = 100

const dash = "–"

// view asks the API. What it cannot have is left out, with the reason.
func (p *Page) view(r *http.Request) view {
	v := view{Title: "autoresearchd", State: "Disconnected", Best: dash, Gain: dash, Tried: dash, Now: dash}
	var s status
	if err := ask(r.Context(), p.api, "/api/v1/status", &s); err != nil {
		v.Fault = "The study could not be read: " + err.Error() + "."
		return v
	}
	v.facts(&s)
	var list candidates
	if err := ask(r.Context(), p.api, fmt.Sprintf("/api/v1/candidates?order=desc&limit=%d", newest), &list); err != nil {
		v.Fault = "The candidates could not be read: " + err.Error() + "."
		return v
	}
	for _, c := range list.Candidates {
		line := row{ID: c.ID, Runs: len(c.Runs), Score: dash, Verdict: c.Verdict, Outcome: c.Verdict, Strategy: trainer.Inert(c.Strategy), Change: short(record.Label(c.Description)), Reason: short(c.Reason)}
		if c.ValBPB != nil {
			line.Score = fmt.Sprintf("%.6f", *c.ValBPB)
		}
		if c.Verdict == "crashed" && c.Failure != "" {
			line.Outcome = c.Failure
		}
		v.Rows = append(v.Rows, line)
	}
	return v
}

func (v *view) facts(s *status) {
	v.Tag = s.Study.Tag
	v.Title, v.Card = v.Tag, trainer.Inert(s.Card.Words)
	v.State = capital(s.State)
	if s.Rate > 0 {
		v.StateNote = fmt.Sprintf("%.1f runs an hour", s.Rate)
	}
	v.BestNote = "no trial has a score yet"
	if c := s.Champion; c != nil {
		v.Best = fmt.Sprintf("%.6f", c.ValBPB)
		v.BestNote = fmt.Sprintf("candidate %d %s", c.ID, short(record.Label(c.Description)))
		v.Title = v.Best + " · " + v.Tag
		if s.Study.Baseline > 0 {
			v.Gain, v.GainNote = strings.Replace(fmt.Sprintf("%+.6f", c.ValBPB-s.Study.Baseline), "-", "−", 1), c.Claim
		}
	}
	v.TriedNote = "no trial has finished yet"
	if t := s.Tried; t.Total > 0 {
		v.Tried = fmt.Sprint(t.Total)
		v.TriedNote = fmt.Sprintf("candidates in %d runs: %d kept, %d discarded, %d refuted, %d failed", s.Runs, t.Kept, t.Discarded, t.Refuted, t.Failed)
	}
	v.Now, v.NowNote = "Between trials", "next: "+s.Next
	if strings.HasPrefix(s.Next, "nothing") {
		v.NowNote = capital(s.Next)
	}
	if len(s.Seats) == 0 {
		v.Now = "Nothing runs"
	} else if len(s.Seats) > 1 {
		v.Now, v.NowNote = fmt.Sprintf("%d seats", len(s.Seats)), seatsByState(s)
	} else if s.Seats[0].Trial != nil {
		r := s.Seats[0].Trial
		v.Running, v.Progress = true, r.Progress
		v.Now = fmt.Sprintf("%s, %.0f %%", capital(r.Phase), 100*r.Progress)
		v.NowNote = ""
		v.NowWhat = fmt.Sprintf("trial %d %s %s", r.ID, trainer.Inert(r.Strategy), short(r.Description))
	}
}

// seatsByState says how many seats are in each state.
func seatsByState(s *status) string {
	counts := map[string]int{}
	for _, seat := range s.Seats {
		counts[trainer.Inert(seat.State)]++
	}
	var parts []string
	for _, state := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[state], state))
	}
	return strings.Join(parts, ", ")
}

func capital(s string) string {
	s = trainer.Inert(s)
	if s == "" {
		return dash
	}
	first, size := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(first)) + s[size:]
}

// short cuts what somebody wrote to what a line can hold.
func short(s string) string {
	r := []rune(trainer.Inert(s))
	if len(r) > 200 {
		return string(r[:199]) + "…"
	}
	return string(r)
}

// ask decodes an API's answer to a path.
func ask(ctx context.Context, study http.Handler, path string, into any) error {
	body, err := api.Get(ctx, study, path)
	if err != nil {
		return errors.New(trainer.Inert(err.Error()))
	}
	return json.Unmarshal(body, into)
}
