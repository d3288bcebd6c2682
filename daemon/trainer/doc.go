// Package trainer is where a trial runs. [Process] starts this very binary
// again as `autoresearchd trainer`: CPython lives and dies there, and the daemon
// can kill it at any moment. [InProcess] holds the same trainer in the daemon
// itself. Both hold one conversation with it, in frames on its standard streams:
//
//	daemon                                  trainer (the same binary)
//	      ◀──── hello: version, CPython ────
//	      ───── inspect ───▶ ◀─ inspection   again and again, in one that stays
//	      ───── warm ──────▶ ◀──── warm ──   a standby: it has imported what the next trial will
//	      ───── check ─────▶ ◀──── warm ──   whether that is what this trial imports
//	      ───── order ─────▶                 Python: bootstrap, then train.py
//	      ◀── phase, step, gate, score … ──  (stdout, moved to a private descriptor)
//	      ───── open ──────▶                 it may pass the gate
//	      ◀──────── run.log ───────────────  (stderr: what the script prints)
//	      ── watchdog: TERM, KILL ─────────▶ its whole group
//
// Whoever talks knows no process: a place starts a trainer, says what it uses,
// ends it and proves that it is gone. The streams are all that a trainer needs,
// so that a place can be behind srun on another host.
//
// What the script prints is for people: the score, the steps and the time come
// as events from bootstrap.py, stamped by this binary's clock.
package trainer
