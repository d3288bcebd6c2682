package page

import (
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"time"

	"autoresearchd/daemon/trainer"
)

//go:embed list.html
var listSource string

var listMarkup = template.Must(template.New("list").Parse(listSource))

// Entry is a study in a list of several.
type Entry struct {
	At, Tag string // At is the address of its page, from that of the list
	API     http.Handler
}

// List serves a list of studies at /, and /assets/.
type List struct {
	entries []Entry
	files
}

// NewList makes a list of studies. It fails only where the program was built
// wrongly.
func NewList(entries []Entry) (*List, error) {
	f, err := open()
	return &List{entries: entries, files: f}, err
}

// ServeHTTP implements http.Handler.
func (l *List) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.serve(w, r, listMarkup, func() any {
		v := listView{Styles: l.styles}
		for _, e := range l.entries {
			v.Studies = append(v.Studies, entered(r, e))
		}
		return v
	})
}

type listView struct {
	Styles  []string
	Studies []listed
}

// listed is a row of the list.
type listed struct {
	At, Tag, Fault, Mood                         string
	State, Candidates, Best, BestNote, Gain, Ago string
	Active                                       time.Time
}

func entered(r *http.Request, e Entry) listed {
	row := listed{At: e.At, Tag: e.Tag, Mood: "over", Best: dash, Gain: dash, Ago: dash}
	var s status
	if err := ask(r.Context(), e.API, "/api/v1/status", &s); err != nil {
		row.Fault = "It could not be read: " + err.Error() + "."
		return row
	}
	row.State, row.Candidates = capital(s.State), fmt.Sprint(s.Tried.Total)
	if len(s.Seats) > 0 {
		row.Mood = "waiting"
	}
	for _, seat := range s.Seats {
		if seat.Trial != nil {
			row.Mood = "well"
		}
	}
	if s.Waiting != "" && row.Mood != "well" {
		row.Mood = "ill"
	}
	if c := s.Champion; c != nil {
		row.Best, row.BestNote = fmt.Sprintf("%.6f", c.ValBPB), short(c.Description)
	}
	if s.Card.Gain != "" {
		row.Gain = trainer.Inert(s.Card.Gain)
	}
	if at := s.Study.ActiveAt; at != nil {
		row.Active, row.Ago = at.UTC(), ago(time.Since(*at))
	}
	if len(s.Seats) > 0 {
		row.Ago = "now"
	}
	return row
}

// ago says how long something is past.
func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "now"
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}
