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
	"autoresearchd/daemon/trainer"
)

// view is what the page shows before, or without, JavaScript.
type view struct {
	Styles, Modules   []string
	Title, Tag, Fault string
	State, StateNote  string
	Best, BestNote    string
	Gain, GainNote    string
	Now, NowNote      string
	NowWhat           string
	Progress          float64
	Running           bool
	Rows              []row
}

type row struct {
	ID                                             int64
	Score, Decision, Status, Strategy, Description string
}

// status and trials are what is read of the API's answers.
type status struct {
	Study struct {
		Tag       string    `json:"tag"`
		StartedAt time.Time `json:"started_at"`
		Baseline  float64   `json:"baseline_val_bpb"`
	} `json:"study"`
	State    string `json:"state"`
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
	Trials struct {
		Total   int `json:"total"`
		Keep    int `json:"keep"`
		Discard int `json:"discard"`
		Crash   int `json:"crash"`
	} `json:"trials"`
	Rate float64 `json:"rate_per_hour"`
	Next string  `json:"next"`
}

type trials struct {
	Trials []struct {
		ID          int64    `json:"id"`
		Strategy    string   `json:"strategy"`
		Description string   `json:"description"`
		Status      string   `json:"status"`
		Decision    string   `json:"decision"`
		ValBPB      *float64 `json:"val_bpb"`
	} `json:"trials"`
}

// newest is how many trials the table without JavaScript has.
const newest = 100

const dash = "–"

// view asks the API. What it cannot have is left out, with the reason.
func (p *Page) view(r *http.Request) view {
	v := view{Title: "autoresearchd", State: "Disconnected", Best: dash, Gain: dash, Now: dash}
	var s status
	if err := p.ask(r.Context(), "/api/v1/status", &s); err != nil {
		v.Fault = "The study could not be read: " + err.Error() + "."
		return v
	}
	v.facts(&s)
	var t trials
	if err := p.ask(r.Context(), fmt.Sprintf("/api/v1/trials?order=desc&limit=%d", newest), &t); err != nil {
		v.Fault = "The trials could not be read: " + err.Error() + "."
		return v
	}
	for _, t := range t.Trials {
		line := row{ID: t.ID, Score: dash, Decision: t.Decision, Status: t.Status, Strategy: trainer.Inert(t.Strategy), Description: trainer.Inert(t.Description)}
		if t.ValBPB != nil {
			line.Score = fmt.Sprintf("%.6f", *t.ValBPB)
		}
		if t.Status == "" {
			line.Status = "running"
		}
		v.Rows = append(v.Rows, line)
	}
	return v
}

func (v *view) facts(s *status) {
	v.Tag = s.Study.Tag
	v.Title = v.Tag
	v.State = capital(s.State)
	if s.Rate > 0 {
		v.StateNote = fmt.Sprintf("%.1f trials an hour", s.Rate)
	}
	v.BestNote = "no trial has a score yet"
	if c := s.Champion; c != nil {
		v.Best = fmt.Sprintf("%.6f", c.ValBPB)
		v.BestNote = fmt.Sprintf("trial %d %s", c.ID, short(c.Description))
		v.Title = v.Best + " · " + v.Tag
		if s.Study.Baseline > 0 {
			v.Gain = strings.TrimSpace(strings.Replace(fmt.Sprintf("%+.6f %s", c.ValBPB-s.Study.Baseline, c.Claim), "-", "−", 1))
		}
	}
	v.GainNote = "no trial has finished yet"
	if t := s.Trials; t.Total > 0 {
		v.GainNote = fmt.Sprintf("%d trials: %d kept, %d discarded, %d crashed", t.Total, t.Keep, t.Discard, t.Crash)
	}
	v.Now, v.NowNote = "Between trials", "next: "+s.Next
	if len(s.Seats) > 1 {
		v.Now, v.NowNote = fmt.Sprintf("%d seats", len(s.Seats)), seatsByState(s)
	} else if len(s.Seats) == 1 && s.Seats[0].Trial != nil {
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

// ask decodes the API's answer to a path.
func (p *Page) ask(ctx context.Context, path string, into any) error {
	body, err := api.Get(ctx, p.api, path)
	if err != nil {
		return errors.New(trainer.Inert(err.Error()))
	}
	return json.Unmarshal(body, into)
}
