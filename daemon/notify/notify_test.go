package notify

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// manager is systemd's end of NOTIFY_SOCKET.
func manager(t *testing.T, watchdog time.Duration) *net.UnixConn {
	t.Helper()
	dir, err := os.MkdirTemp("", "notify") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", strconv.FormatInt(watchdog.Microseconds(), 10))
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	if watchdog == 0 {
		os.Unsetenv("WATCHDOG_USEC")
	}
	return conn
}

// received returns the messages that wait in the socket. A datagram on a Unix
// socket is there once it has been sent.
func received(t *testing.T, conn *net.UnixConn) []string {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	if err := raw.Control(func(fd uintptr) { out = drain(int(fd)) }); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestMessages(t *testing.T) {
	conn := manager(t, 0)
	n := New(slog.New(slog.DiscardHandler))
	n.Ready()
	n.Status("trial %d: %s\nREADY=1\x00", 7, "train\xff")
	n.Reloading()
	n.Stopping()
	got := received(t, conn)
	want := []string{"READY=1", "STATUS=trial 7: train\ufffd READY=1", "", "STOPPING=1"}
	if len(got) != len(want) || !regexp.MustCompile(`^RELOADING=1\nMONOTONIC_USEC=[1-9][0-9]*\n$`).MatchString(got[2]) {
		t.Fatalf("got %q", got)
	}
	got[2] = ""
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if !n.Enabled() || n.interval != 0 {
		t.Errorf("enabled %v, interval %v", n.Enabled(), n.interval)
	}
}

func TestWatch(t *testing.T) {
	conn := manager(t, 30*time.Second)
	var log bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		n := New(slog.New(slog.NewTextHandler(&log, nil)))
		if os.Getenv("WATCHDOG_USEC") != "" || n.interval != 30*time.Second {
			t.Fatalf("interval %v", n.interval)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { n.Watch(ctx, 25*time.Second); close(done) }()

		pass := func(d time.Duration, want int) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			got := received(t, conn)
			if len(got) != want || want > 0 && got[0] != "WATCHDOG=1" {
				t.Fatalf("after %v: %q, want %d", d, got, want)
			}
		}
		pass(9*time.Second, 0)
		pass(time.Second, 1) // at 10 s
		n.Progress()
		pass(20*time.Second, 2)  // fed while the progress is 20 s old
		pass(100*time.Second, 0) // stuck: never again
		n.Progress()
		pass(10*time.Second, 1)
		cancel()
		<-done
	})
	if got := strings.Count(log.String(), "level=ERROR"); got != 1 {
		t.Errorf("%d lines for one stall:\n%s", got, log.String())
	}
}

func TestNobodyListens(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "1000000")
	var log bytes.Buffer
	n := New(slog.New(slog.NewTextHandler(&log, nil)))
	n.Ready()
	n.Status("x")
	n.Progress()
	n.Watch(t.Context(), time.Second) // returns: there is nothing to feed
	if n.Enabled() || log.Len() > 0 {
		t.Errorf("enabled %v, log %s", n.Enabled(), &log)
	}

	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "gone"))
	n = New(slog.New(slog.NewTextHandler(&log, nil)))
	n.Ready()
	if !strings.Contains(log.String(), `level=WARN msg="cannot tell systemd" message="READY=1"`) {
		t.Errorf("log %s", &log)
	}
}
