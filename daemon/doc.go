// Package daemon is the service: everything that touches the world. It has no
// code of its own; its folders meet in autoresearchd, the command.
//
//	autoresearch.toml ─► config ─┐
//	                             ▼
//	  people ─► socket ─► supervisor ◄──── search (pure: strategies, judge, space)
//	  (httpd)             a proposer, a loop a seat: ask, admit, run, judge, record, tell
//	  programs ◄─ external ─┤      │              │
//	                        │      │              └─► study: journal (SQLite) ─► lineage: commits,
//	                        │      │                         refs, results.tsv
//	                        │      └─► trainer ──frames──► `autoresearchd trainer`, a fresh process:
//	                        │            │                  pyembed ─► CPython ─► train.py ─► GPU
//	                        │            └─ watchdog: phases, deadlines, TERM, grace, KILL
//	                        └─► httpd: the page, /metrics (package metrics), /api/v1, /healthz, /readyz; notify: systemd;
//	                            webhook: champions, stalls, ends
//
//	  journal ─► plot, report, export: pictures, a page, tables; read beside a running daemon
//
// A trial's way to disk has an order, and each step can be repeated:
//
//	begin ─► run ─► outcome ─► decision ─► commit and refs ─► results.tsv ─► done
//
// The journal is the truth and the rest is derived from it; package study alone
// writes it, and what is done is in the order of decisions. After a crash the
// study finishes what was begun: a trial that has no outcome is
// interrupted, one that has is carried on from the step that it had reached.
//
// Each seat runs one trial at a time. While a trial on a GPU evaluates, the next
// one may start and compile beside it, and waits at a gate with its first counted
// step. It was proposed with its neighbour pending: where that becomes the
// champion, it goes on from its own parent all the same, and is judged against
// the new champion. What ran starved of its machine is no evidence: it is void,
// and there is one more run of it, which stands.
//
// A trial's failure is an Outcome and never an error of the loop. An error
// means that the trainer, the disk or git is at fault: the seat that met it
// waits, says why, and tries again, while the others go on as far as they can.
package daemon
