package httpd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"autoresearchd/search"
)

const (
	socketName  = "autoresearchd.sock"
	group       = "autoresearch"
	maxSocket   = 107 // bytes in sockaddr_un, less the NUL
	dialTimeout = 2 * time.Second
)

// Controller is what the control server commands: the supervisor. Its methods
// are called from any goroutine. A Status must be fit for encoding/json.
// Errors are shown to the user as they are.
type Controller interface {
	Status() any
	Pause(ctx context.Context) error
	Resume(ctx context.Context) error
	// Cancel ends a running trial, named by its number or its seat; "": the one
	// there is.
	Cancel(ctx context.Context, which string) error
	Stop(ctx context.Context) error
	// Reload reads the configuration again and returns a sentence about what
	// holds from when; an error says why the old one stays in force.
	Reload(ctx context.Context) (string, error)
	// Suggest takes values for constants of the next proposal and returns a
	// sentence about what will be done with them.
	Suggest(ctx context.Context, values map[string]search.Value) (string, error)
	// SuggestText takes an idea in words.
	SuggestText(ctx context.Context, text string) (string, error)
	// Ablate suggests a candidate without each of its kept changes, and returns
	// what is new of that, a line each.
	Ablate(ctx context.Context, candidate int64) (string, error)
	// Drop takes back a suggestion that no trial has taken and returns which.
	Drop(ctx context.Context, id int64) (string, error)
}

// Socket returns the path of the control socket of a state directory.
func Socket(state string) string { return filepath.Join(state, socketName) }

// Control starts the control server of a state directory, which its caller has
// locked. The socket belongs to the group autoresearch where that exists. One
// that a dead daemon left behind is replaced; one that answers is an error.
func Control(state string, c Controller, log *slog.Logger) (*Server, error) {
	path := Socket(state)
	if len(path) > maxSocket {
		return nil, fmt.Errorf("listen on %s: the path is %d bytes long, %d are possible: choose a shorter [study] state", path, len(path), maxSocket)
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("listen on %s: something that is not a socket is in the way: move it away", path)
		}
		conn, err := net.DialTimeout("unix", path, dialTimeout)
		if err == nil {
			conn.Close()
			return nil, fmt.Errorf("listen on %s: another daemon answers there: stop it first (`autoresearchd stop --state %s`)", path, state)
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("listen on %s: cannot tell whether a daemon is alive there: %w", path, err)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove the socket of a daemon that died: %w", err)
		}
	}
	// The socket is made unreachable and then opened, so that nobody connects
	// before its mode is right.
	old := syscall.Umask(0o177)
	l, err := net.Listen("unix", path)
	syscall.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w: the state directory must be writable and on a file system with sockets", path, err)
	}
	if g, err := user.LookupGroup(group); err == nil {
		if gid, err := strconv.Atoi(g.Gid); err == nil {
			if err := os.Chown(path, -1, gid); err != nil {
				log.Warn("control socket stays with its own group", "group", group, "err", err)
			}
		}
	}
	if err := os.Chmod(path, 0o660); err != nil {
		l.Close()
		return nil, fmt.Errorf("open %s to its group: %w", path, err)
	}
	return serve(l, control(c), log), nil
}

type reply struct {
	Message string `json:"message,omitempty"`
	Error   string `json:"error,omitempty"`
}

func answer(w http.ResponseWriter, code int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		code, data = http.StatusInternalServerError, []byte(`{"error":"encode the answer: `+strconv.Itoa(code)+`"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	w.Write(append(data, '\n'))
}

func control(c Controller) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, c.Status()) })
	for name, verb := range map[string]func(*http.Request) error{
		"pause":  func(r *http.Request) error { return c.Pause(r.Context()) },
		"resume": func(r *http.Request) error { return c.Resume(r.Context()) },
		"cancel": func(r *http.Request) error { return c.Cancel(r.Context(), r.FormValue("which")) },
		"stop":   func(r *http.Request) error { return c.Stop(r.Context()) },
	} {
		mux.HandleFunc("POST /v1/"+name, func(w http.ResponseWriter, r *http.Request) {
			if err := verb(r); err != nil {
				answer(w, http.StatusConflict, reply{Error: err.Error()})
				return
			}
			answer(w, http.StatusOK, reply{})
		})
	}
	mux.HandleFunc("POST /v1/reload", func(w http.ResponseWriter, r *http.Request) {
		message, err := c.Reload(r.Context())
		if err != nil {
			answer(w, http.StatusConflict, reply{Error: err.Error()})
			return
		}
		answer(w, http.StatusOK, reply{Message: message})
	})
	for name, verb := range map[string]func(context.Context, int64) (string, error){"drop": c.Drop, "ablate": c.Ablate} {
		mux.HandleFunc("POST /v1/"+name, func(w http.ResponseWriter, r *http.Request) {
			id, err := strconv.ParseInt(r.FormValue("id"), 10, 64)
			if err != nil {
				answer(w, http.StatusBadRequest, reply{Error: "what is meant is named by its number"})
				return
			}
			message, err := verb(r.Context(), id)
			if err != nil {
				answer(w, http.StatusConflict, reply{Error: err.Error()})
				return
			}
			answer(w, http.StatusOK, reply{Message: message})
		})
	}
	mux.HandleFunc("POST /v1/suggest", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Set  map[string]search.Value `json:"set"`
			Text string                  `json:"text"`
		}
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
		d.DisallowUnknownFields()
		err := d.Decode(&body)
		if err == nil {
			if _, more := d.Token(); more != io.EOF {
				err = errors.New("more than one JSON value")
			}
		}
		var tooLarge *http.MaxBytesError
		switch {
		case errors.As(err, &tooLarge):
			answer(w, http.StatusRequestEntityTooLarge, reply{Error: fmt.Sprintf("a suggestion may be %d bytes long", maxBody)})
			return
		case err != nil:
			answer(w, http.StatusBadRequest, reply{Error: "read the suggestion: " + err.Error()})
			return
		case len(body.Set) == 0 && body.Text == "":
			answer(w, http.StatusBadRequest, reply{Error: "the suggestion sets no constant: write --set NAME=VALUE"})
			return
		case len(body.Set) > 0 && body.Text != "":
			answer(w, http.StatusBadRequest, reply{Error: "suggest words or values, not both at once"})
			return
		}
		message := ""
		if body.Text != "" {
			message, err = c.SuggestText(r.Context(), body.Text)
		} else {
			message, err = c.Suggest(r.Context(), body.Set)
		}
		if err != nil {
			answer(w, http.StatusConflict, reply{Error: err.Error()})
			return
		}
		answer(w, http.StatusOK, reply{Message: message})
	})
	return mux
}
