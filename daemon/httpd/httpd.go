// Package httpd holds the daemon's two servers: a read-only one on TCP for
// the page, the API, metrics and probes, and one on a Unix socket for the verbs
// that change something. Whoever may open the socket may command the daemon.
package httpd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"autoresearchd/daemon/httpd/page"
)

// Bounds of every connection.
const (
	headerTimeout   = 5 * time.Second
	readTimeout     = 10 * time.Second
	writeTimeout    = 60 * time.Second
	idleTimeout     = 2 * time.Minute
	shutdownTimeout = 3 * time.Second
	maxHeader       = 16 << 10
	maxBody         = 64 << 10
)

// Public is what the TCP server shows.
type Public struct {
	Metrics http.Handler // /metrics
	API     http.Handler // /api/v1/, and the page at / that shows it; nil: neither
	Ready   func() error // nil when the loop is ready, else why it is not; any goroutine
	Log     *slog.Logger
}

// Server is a running server.
type Server struct {
	http     *http.Server
	listener net.Listener
	done     chan error
	cancel   context.CancelFunc
}

// Listen starts the read-only server on address; an empty address is off and
// gives a nil Server, whose methods do nothing.
func Listen(address string, p Public) (*Server, error) {
	if address == "" {
		return nil, nil
	}
	h, err := p.handler()
	if err != nil {
		return nil, err
	}
	l, err := listen(address, "[http] listen", `, "" for none`)
	if err != nil {
		return nil, err
	}
	return serve(l, h, p.Log), nil
}

// listen names in its errors what sets the address, and what else may be set.
func listen(address, setting, or string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("serve http on %s: the address is in use: end what listens there (`ss -ltnp`) or set another %s%s", address, setting, or)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("serve http on %s: no permission for this port: set %s to one above 1023", address, setting)
	case err != nil:
		return nil, fmt.Errorf("serve http on %s: %w: correct %s", address, err, setting)
	}
	return l, nil
}

func serve(l net.Listener, h http.Handler, log *slog.Logger) *Server {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{
		http: &http.Server{
			Handler:           h,
			ReadHeaderTimeout: headerTimeout,
			ReadTimeout:       readTimeout,
			WriteTimeout:      writeTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeader,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
			BaseContext:       func(net.Listener) context.Context { return ctx },
		},
		listener: l,
		done:     make(chan error, 1),
		cancel:   cancel,
	}
	go func() {
		err := s.http.Serve(l)
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		s.done <- err
		close(s.done)
	}()
	return s
}

// Addr returns the address that is listened on: the port where 0 was asked for.
func (s *Server) Addr() string {
	if s == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// Done yields the error that ended the server, or is closed after Close. For a
// nil Server it never yields.
func (s *Server) Done() <-chan error {
	if s == nil {
		return nil
	}
	return s.done
}

// Close lets requests in progress finish for three seconds, then ends them.
func (s *Server) Close() error {
	if s == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	err := s.http.Shutdown(ctx)
	s.cancel() // what still runs learns it from its context
	if err != nil {
		err = s.http.Close()
	}
	s.listener.Close() // which the server does not know where Serve had not begun
	return err
}

const readOnly = "read-only: commands go over the Unix socket (`autoresearchd pause`, …)"

const index = `autoresearchd

/metrics   Prometheus metrics
/healthz   is the process alive
/readyz    does the loop run, and if not, why
`

func (p Public) handler() (http.Handler, error) {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", p.Metrics)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "alive\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := p.Ready(); err != nil {
			text(w, http.StatusServiceUnavailable, "not ready: "+err.Error()+"\n")
			return
		}
		text(w, http.StatusOK, "ready\n")
	})
	if p.API != nil {
		view, err := page.New(p.API, page.Site{Metrics: true})
		if err != nil {
			return nil, err
		}
		mux.Handle("/api/v1/", p.API)
		mux.Handle("/", view)
	} else {
		mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, index) })
	}
	return readers(mux), nil
}

// readers lets nothing through that would change anything.
func readers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Cache-Control", "no-store")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			if strings.HasPrefix(r.URL.Path, "/api/") {
				answer(w, http.StatusMethodNotAllowed, reply{Error: readOnly})
				return
			}
			text(w, http.StatusMethodNotAllowed, readOnly+"\n")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func text(w http.ResponseWriter, code int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	io.WriteString(w, body)
}
