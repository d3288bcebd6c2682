// Command serve shows a study that never ran, with trials that seem to train,
// for benchmarks of the API and for work on the page: go run ./scripts/serve
// -trials 1000. It says where it listens, and ends with its standard input.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	"autoresearchd/daemon/httpd"
	"autoresearchd/daemon/httpd/api/apitest"
	"autoresearchd/daemon/journal/journaltest"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/metrics"
)

func main() {
	log.SetFlags(0)
	trials := flag.Int("trials", 1000, "finished trials")
	seats := flag.Int("seats", 1, "places for a trial")
	hostile := flag.Bool("hostile", false, "descriptions and logs that try to do harm")
	listen := flag.String("listen", "127.0.0.1:0", "address")
	flag.Parse()
	if err := serve(*trials, *seats, *hostile, *listen); err != nil {
		log.Fatal(err)
	}
}

func serve(trials, seats int, hostile bool, listen string) error {
	dir, remove, err := journaltest.TempDir()
	if err != nil {
		return err
	}
	defer remove()
	s, err := apitest.Open(dir, journaltest.Options{Trials: trials, Hostile: hostile, Running: true})
	if err != nil {
		return err
	}
	debug.FreeOSMemory() // what filling left behind is not the API's to clear up
	begin := time.Now()
	s.Loop.Edit(func(now *supervisor.Status) {
		now.State, now.Next = "running", "the next proposal of portfolio"
		now.Seats = apitest.Seats(seats, int64(now.Trials.Total)+1, time.Since(begin).Seconds())
	})
	public, err := httpd.Listen(listen, httpd.Public{API: s.API, Metrics: metrics.New(s.Loop, nil, metrics.Build{}).Handler(), Ready: func() error { return nil }, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return errors.Join(err, s.Close())
	}
	fmt.Println(public.Addr())
	_, err = io.Copy(io.Discard, os.Stdin)
	s.API.Close() // its streams would be waited for
	return errors.Join(err, public.Close(), s.Close())
}
