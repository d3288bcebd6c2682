// Package lineage keeps the part of a study's record that outlives the daemon:
// one commit for every candidate, the champion's branch, and results.tsv in
// upstream's five columns.
//
// Git is used by plumbing alone, with a configuration of our own: nothing that
// somebody planted in the workspace (hook, filter, fsmonitor, submodule) runs,
// and the work tree and its index are never written. A commit depends only on
// its base, parent, source, message and date, so repeating a step that a crash
// interrupted gives the same hash.
package lineage
