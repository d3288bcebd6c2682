// Package metrics is the Prometheus page of autoresearchd. What has an owner
// (the record, the running trial, the GPUs) is read from that owner while a
// scrape lasts and is absent where it is not known; only events, which nobody
// keeps, are counted here.
package metrics
