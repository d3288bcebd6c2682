// Package search is what the loop tries and what it believes. It is pure: no
// clock, no goroutine, no file and no global random source, so that a study
// can be replayed from its journal.
//
// Data moves one way, and a restart replays it:
//
//	    constants of train.py + [search.space]
//	                   │
//	                 Space
//	                   │
//	History ─► Strategy.Ask ─► Proposal ─► Patch ─► Trial ─► (it runs) ─► Outcome
//	   ▲             ▲                                                       │
//	   │       Strategy.Tell                                                 ▼
//	   └─────────────┴──────────── Result ◄──────── Decision ◄──────── Judge.Judge
//
// Package turn plays one round of it, for the daemon and for simulated studies
// alike. Several trials may run at once: a strategy is asked with what is
// pending, and told decisions in their order, which is that of History.Done.
//
// How far a trial has come is its Stage; a crash of the daemon leaves it at one:
//
//	begun ─► ended ─► decided ─► committed ─► recorded ─► done
//
// A Strategy is one folder here, registered by name in Default when it is
// imported; searchtest.Run is the suite that each of them passes. Most need no
// state: Ask reads History, draws from Stream, and answers with
// History.Propose. A strategy that keeps state rebuilds it from Tell, as after
// a restart every finished trial is told again. One that needs the world (a
// model server, a program of the user's) gets it as Tools, which a test makes
// of functions: they are part of the Environment that it is built from.
// The example of Strategy is a whole one; docs/strategies.md goes on to one
// that autoresearch.toml can name.
package search
