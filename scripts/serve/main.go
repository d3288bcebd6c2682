// Command serve shows a study that never ran, with a trial that seems to train,
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
	"math"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"autoresearchd/daemon/httpd"
	"autoresearchd/daemon/httpd/api/apitest"
	"autoresearchd/daemon/journal/journaltest"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/search"
)

func main() {
	log.SetFlags(0)
	trials := flag.Int("trials", 1000, "finished trials")
	hostile := flag.Bool("hostile", false, "descriptions and logs that try to do harm")
	listen := flag.String("listen", "127.0.0.1:0", "address")
	flag.Parse()
	if err := serve(*trials, *hostile, *listen); err != nil {
		log.Fatal(err)
	}
}

func serve(trials int, hostile bool, listen string) error {
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
	s.Loop.Edit(func(now *supervisor.Status) { train(now, time.Since(begin).Seconds()) })
	public, err := httpd.Listen(listen, httpd.Public{API: s.API, Metrics: http.NotFoundHandler(), Ready: func() error { return nil }, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return errors.Join(err, s.Close())
	}
	fmt.Println(public.Addr())
	_, err = io.Copy(io.Discard, os.Stdin)
	s.API.Close() // its streams would be waited for
	return errors.Join(err, public.Close(), s.Close())
}

// train makes the status of a study in which a trial trains, again and again,
// for five minutes.
func train(now *supervisor.Status, seconds float64) {
	const budget = 300
	at := math.Mod(seconds, budget)
	left := budget - at
	loss := func(at float64) float64 { return 3.2 + 6*math.Exp(-9*at/budget) + 0.02*math.Sin(at) }
	r := &supervisor.RunningStatus{
		ID: int64(now.Trials.Total) + 1, Strategy: "tpe", Description: "MATRIX_LR 0.04 -> 0.052, DEPTH 8 -> 9", Phase: search.Train, PhaseSeconds: at, Seconds: at + 12,
		Progress: at / budget, Step: int(3 * at), Loss: loss(at), TokPerSec: 1.6e6, MFU: 0.4, Budget: search.Budget{Seconds: budget}, SecondsLeft: &left,
	}
	for x := 1.0; x <= at; x++ {
		r.Curve = append(r.Curve, [2]float64{x / budget, loss(x)})
	}
	now.State, now.Next = "training", "the next proposal of portfolio"
	now.Seats = []supervisor.SeatStatus{{Name: "cuda:0", Device: "cuda:0", State: supervisor.SeatRunning, Trial: r}}
}
