// Package page is the live page: hand-written HTML, style and modules that ask
// the API of the same server, and a table of the newest trials for whoever has
// no JavaScript.
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed page.html
var source string

var markup = template.Must(template.New("page").Parse(source))

//go:embed assets
var assets embed.FS

// policy lets the page load from its own server only, and run nothing that
// stands in the markup.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// started dates the assets, which are as old as the program that holds them.
var started = time.Now()

// file is an asset as it is served.
type file struct {
	kind, etag string
	body       []byte
}

// Site is what a page has around it.
type Site struct {
	Metrics bool   // there is a /metrics beside it
	List    string // address of the list of studies that it is in; empty: it is in none
}

// files are the assets.
type files struct {
	all     map[string]file
	styles  []string
	modules []string
}

// Page serves / and /assets/.
type Page struct {
	api  http.Handler
	site Site
	files
}

// New makes the page of a server whose API, with the paths under /api/v1, is
// api. It fails only where the program was built wrongly.
func New(api http.Handler, site Site) (*Page, error) {
	f, err := open()
	return &Page{api: api, site: site, files: f}, err
}

func open() (files, error) {
	p := files{all: map[string]file{}}
	entries, err := fs.ReadDir(assets, "assets")
	if err != nil {
		return p, fmt.Errorf("read the page's assets: %w", err)
	}
	for _, e := range entries {
		body, err := assets.ReadFile("assets/" + e.Name())
		if err != nil {
			return p, fmt.Errorf("read the page's assets: %w", err)
		}
		p.all[e.Name()] = file{kind: kind(e.Name()), etag: fmt.Sprintf(`"%x"`, sha256.Sum256(body))[:18] + `"`, body: body}
		switch path.Ext(e.Name()) {
		case ".css":
			p.styles = append(p.styles, e.Name())
		case ".js":
			if !slices.Contains(entrances, e.Name()) {
				p.modules = append(p.modules, e.Name())
			}
		}
	}
	return p, nil
}

// entrances are the scripts that the markup names itself.
var entrances = []string{"theme.js", "main.js", "list.js"}

// kind does not ask the machine's tables, which may call a module plain text.
func kind(name string) string {
	switch path.Ext(name) {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return mime.TypeByExtension(path.Ext(name))
}

// ServeHTTP implements http.Handler.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.serve(w, r, markup, func() any {
		v := p.view(r)
		v.Styles, v.Modules, v.Site = p.styles, p.modules, p.site
		return v
	})
}

// serve answers / with a template, and /assets/.
func (f *files) serve(w http.ResponseWriter, r *http.Request, markup *template.Template, view func() any) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	if r.URL.Path == "/" {
		var b bytes.Buffer
		if err := markup.Execute(&b, view()); err != nil {
			http.Error(w, "write the page: "+err.Error(), http.StatusInternalServerError)
			return
		}
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Cache-Control", "no-store")
		w.Write(b.Bytes())
		return
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/assets/")
	asset, known := f.all[name]
	if !ok || !known {
		http.Error(w, "there is no "+strconv.Quote(r.URL.Path)+" here: the page is at /", http.StatusNotFound)
		return
	}
	h.Set("Content-Type", asset.kind)
	h.Set("ETag", asset.etag)
	h.Set("Cache-Control", "no-cache") // asked for again each time, answered 304 while it is the same
	http.ServeContent(w, r, "", started, bytes.NewReader(asset.body))
}
