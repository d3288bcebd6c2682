// Package journal is the durable record of a study: one SQLite file with a
// single writer. A call that returns without an error is on the disk. Every
// step of a trial may be repeated with the same content, which changes nothing;
// the same step with other content, or a step out of its order, is an error.
package journal
