// Package trainer is where a trial runs. [Process] starts this very binary
// again as `autoresearchd trainer`, a seat: CPython lives and dies there, and
// the daemon can kill it at any moment. [InProcess] runs the same seat in the
// daemon itself.
//
//	daemon                                seat (the same binary)
//	  Process.Run ──── request ─stdin──▶  Python: bootstrap, then train.py
//	      ▲  ▲  ◀───── events ─stdout──   (moved to private descriptors)
//	      │  └──────── run.log ─stderr──  (the script's stdout and stderr)
//	      └─ watchdog ── TERM, KILL ──▶   its whole group
//
// The standard streams are all that a seat needs, so that it can run behind
// srun on another host. What the script prints is for people: the score, the
// steps and the time come as events from bootstrap.py, stamped by this
// binary's clock.
package trainer
