// Package notify talks to systemd: readiness, status lines, reloads and the
// watchdog, which is fed by the loop's own progress and by nothing else.
package notify

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Notifier speaks for the daemon. Without NOTIFY_SOCKET every method does
// nothing. A message that cannot be sent is logged: a daemon that cannot
// report is still a daemon.
type Notifier struct {
	log      *slog.Logger
	enabled  bool
	interval time.Duration // WatchdogSec; 0: off
	progress atomic.Int64  // since start, in nanoseconds of the monotonic clock
	start    time.Time
}

// New reads NOTIFY_SOCKET and WATCHDOG_USEC. It then takes the watchdog's
// variables out of the environment, so that no trial takes them for its own;
// NOTIFY_SOCKET stays for later messages, and trainer.Environment hides it.
func New(log *slog.Logger) *Notifier {
	n := &Notifier{log: log, enabled: os.Getenv("NOTIFY_SOCKET") != "", start: time.Now()}
	interval, err := daemon.SdWatchdogEnabled(true)
	if err != nil {
		log.Warn("watchdog of systemd is off", "err", err)
	}
	if n.enabled {
		n.interval = interval
	}
	return n
}

// Enabled reports whether a service manager listens: something that would
// start the daemon again.
func (n *Notifier) Enabled() bool { return n.enabled }

func (n *Notifier) send(state string) {
	if !n.enabled {
		return
	}
	if _, err := daemon.SdNotify(false, state); err != nil {
		n.log.Warn("cannot tell systemd", "message", strings.TrimSpace(state), "err", err)
	}
}

// Ready says that the loop runs, or runs again after Reloading.
func (n *Notifier) Ready() { n.send(daemon.SdNotifyReady) }

// Stopping says that the daemon is on its way out.
func (n *Notifier) Stopping() { n.send(daemon.SdNotifyStopping) }

// Reloading says that the configuration is read again; Ready ends it, whether
// the new one was good or not.
func (n *Notifier) Reloading() {
	n.send(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
}

// longest is how many bytes of a status are sent: systemd drops a message of
// more than 4096.
const longest = 1000

// Status sets the line that `systemctl status` shows, the last one also when the
// daemon has ended.
func (n *Notifier) Status(format string, args ...any) {
	words := strings.FieldsFunc(strings.ToValidUTF8(fmt.Sprintf(format, args...), "\ufffd"), func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r)
	})
	line := strings.Join(words, " ")
	if len(line) > longest {
		line = strings.ToValidUTF8(line[:longest], "") + "…"
	}
	n.send("STATUS=" + line)
}

// Progress says that the loop has just done something. It is cheap; call it
// from the loop, never from a ticker.
func (n *Notifier) Progress() { n.progress.Store(int64(time.Since(n.start))) }

// Watch feeds systemd's watchdog three times an interval for as long as the
// last Progress is not older than allowed, and returns when ctx ends. A loop
// that is stuck is thus restarted within allowed plus WatchdogSec.
func (n *Notifier) Watch(ctx context.Context, allowed time.Duration) {
	if n.interval <= 0 {
		return
	}
	tick := time.NewTicker(n.interval / 3)
	defer tick.Stop()
	starving := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		age := time.Since(n.start) - time.Duration(n.progress.Load())
		if age <= allowed {
			n.send(daemon.SdNotifyWatchdog)
			starving = false
			continue
		}
		if !starving {
			n.log.Error("the loop makes no progress: systemd will restart the daemon", "seconds", age.Seconds())
			starving = true
		}
	}
}
