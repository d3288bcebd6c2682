package page_test

import (
	"net"
	"net/http"
	"testing"
	"time"

	"autoresearchd/daemon/httpd/page"
)

// TestDaemonComesBack ends the server under the page and starts it again.
func TestDaemonComesBack(t *testing.T) {
	study := own(t, 9, false)
	show(study, 8, 0)
	p, err := page.New(study.API, page.Site{Metrics: true})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/api/v1/", study.API)
	mux.Handle("/", p)
	start := func(address string) (*http.Server, string) {
		l, err := net.Listen("tcp", address)
		for end := time.Now().Add(time.Minute); err != nil && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			l, err = net.Listen("tcp", address) // somebody's connection may have had its port meanwhile
		}
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: mux}
		go s.Serve(l)
		return s, l.Addr().String()
	}
	server, address := start("127.0.0.1:0")
	b := open(t, "http://"+address, desktop)
	b.until(drawn + ` && document.querySelector("#state").textContent === "Running"`)
	server.Close()
	b.until(`document.querySelector("#state").textContent === "Disconnected; showing last known data" && document.body.dataset.mood === "ill"`)
	if best := ask[string](b, `document.querySelector("#best").textContent`); best == "–" {
		t.Error("what was known is gone")
	}
	show(study, 9, 0)
	server, _ = start(address)
	defer server.Close()
	b.until(`document.querySelector("#state").textContent === "Running" && document.querySelector("tbody a").textContent === "9"`)
	b.forgive("net::ERR_") // the browser logs each attempt
}
