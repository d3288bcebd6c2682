package httpd

import (
	"log/slog"
	"net/http"

	"autoresearchd/daemon/httpd/api"
	"autoresearchd/daemon/httpd/page"
)

// Record is a study that is shown whether it runs or not. Its tag names it among
// the others.
type Record struct {
	Tag string
	API http.Handler
}

// ListenRecords starts a read-only server of records on address: of one its page
// at /, of several a list at / and each at At.
func ListenRecords(address string, all []Record, log *slog.Logger) (*Server, error) {
	h, err := records(all)
	if err != nil {
		return nil, err
	}
	l, err := listen(address, "--listen", ", such as 127.0.0.1:0 for any that is free")
	if err != nil {
		return nil, err
	}
	return serve(l, h, log), nil
}

// At is the path of a study's page beside a list of several.
func At(tag string) string { return "/s/" + tag + "/" }

func records(all []Record) (http.Handler, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "alive\n") })
	if len(all) == 1 {
		return readers(mux), show(mux, "/", all[0].API, page.Site{})
	}
	var entries []page.Entry
	for _, r := range all {
		at := At(r.Tag)
		entries = append(entries, page.Entry{At: at[1:], Tag: r.Tag, API: r.API})
		if err := show(mux, at, r.API, page.Site{List: "../../"}); err != nil {
			return nil, err
		}
	}
	list, err := page.NewList(entries)
	if err != nil {
		return nil, err
	}
	mux.Handle("/", list)
	return readers(mux), nil
}

// show puts a study's page and its API below a path, which ends with a slash.
func show(mux *http.ServeMux, at string, study http.Handler, site page.Site) error {
	view, err := page.New(study, site)
	if err != nil {
		return err
	}
	below := at[:len(at)-1]
	mux.Handle(at, http.StripPrefix(below, view))
	mux.Handle(below+api.Prefix, http.StripPrefix(below, study))
	return nil
}
