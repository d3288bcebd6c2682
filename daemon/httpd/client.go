package httpd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"

	"autoresearchd/search"
)

// Client commands a daemon over its socket.
type Client struct {
	state string
	http  *http.Client
}

// ErrNone says that no daemon runs.
var ErrNone = errors.New("no daemon is running")

// Dial connects to the daemon of a state directory. The error says how to
// come to one, and is ErrNone where none runs.
func Dial(state string) (*Client, error) {
	c := &Client{state: state, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			d := net.Dialer{Timeout: dialTimeout}
			return d.DialContext(ctx, "unix", Socket(state))
		},
	}}}
	conn, err := net.DialTimeout("unix", Socket(state), dialTimeout)
	if err != nil {
		return nil, c.explain(err)
	}
	conn.Close()
	return c, nil
}

func (c *Client) explain(err error) error {
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("no permission on %s: join the group %s (`usermod -aG %s USER`) or use sudo", Socket(c.state), group, group)
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%w on %s: start it with `autoresearchd run` or `systemctl start autoresearchd`", ErrNone, c.state)
	}
	return fmt.Errorf("talk to the daemon on %s: %w", c.state, err)
}

// call sends a request and decodes the answer into out, if that is not nil. An
// error of the daemon's comes back as it is.
func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://autoresearchd"+path, body)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.explain(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return c.explain(err)
	}
	if resp.StatusCode != http.StatusOK {
		var r reply
		if json.Unmarshal(data, &r) == nil && r.Error != "" {
			return errors.New(r.Error)
		}
		return fmt.Errorf("the daemon answered %s to %s %s", resp.Status, method, path)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("read the daemon's answer: %w", err)
	}
	return nil
}

// Status decodes the daemon's status into out.
func (c *Client) Status(ctx context.Context, out any) error {
	return c.call(ctx, http.MethodGet, "/v1/status", nil, out)
}

// Pause lets the running trial end and starts no other.
func (c *Client) Pause(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/v1/pause", nil, nil)
}

// Resume goes on after a pause.
func (c *Client) Resume(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/v1/resume", nil, nil)
}

// Cancel ends a running trial, named by its number or its seat; "": the one
// there is.
func (c *Client) Cancel(ctx context.Context, which string) error {
	return c.call(ctx, http.MethodPost, "/v1/cancel?which="+url.QueryEscape(which), nil, nil)
}

// Stop ends the study after the running trial.
func (c *Client) Stop(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/v1/stop", nil, nil)
}

// Reload has the daemon read its configuration again and returns what it says.
func (c *Client) Reload(ctx context.Context) (string, error) {
	var r reply
	err := c.call(ctx, http.MethodPost, "/v1/reload", nil, &r)
	return r.Message, err
}

// Suggest gives values for constants of the next proposal and returns what the
// daemon says to them.
func (c *Client) Suggest(ctx context.Context, values map[string]search.Value) (string, error) {
	var r reply
	err := c.call(ctx, http.MethodPost, "/v1/suggest", map[string]any{"set": values}, &r)
	return r.Message, err
}

// SuggestText gives an idea in words and returns what the daemon says to it.
func (c *Client) SuggestText(ctx context.Context, text string) (string, error) {
	var r reply
	err := c.call(ctx, http.MethodPost, "/v1/suggest", map[string]any{"text": text}, &r)
	return r.Message, err
}

// Drop takes back a suggestion that no trial has taken and returns what the
// daemon says to that.
func (c *Client) Drop(ctx context.Context, id int64) (string, error) {
	var r reply
	err := c.call(ctx, http.MethodPost, fmt.Sprintf("/v1/drop?id=%d", id), nil, &r)
	return r.Message, err
}

// Ablate suggests a candidate without each of its kept changes and returns what
// is new of that, a line each.
func (c *Client) Ablate(ctx context.Context, candidate int64) (string, error) {
	var r reply
	err := c.call(ctx, http.MethodPost, fmt.Sprintf("/v1/ablate?id=%d", candidate), nil, &r)
	return r.Message, err
}
