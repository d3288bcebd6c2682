# autoresearchd: see README.md. Everything is done by scripts/, so that each
# step can also be run by hand.

.PHONY: all help build deb demo test race fuzz release drill drill-package drill-slurm faults repeat bench bench-search soak install uninstall clean

all: build

# This list.
help:
	@awk '/^# /{c = c substr($$0, 2); next} /^[a-z][a-z-]*:/ && c {sub(/:.*/, ""); printf "make %-15s%s\n", $$0, c} {c = ""}' Makefile

# bin/autoresearchd, its manual page and completions.
build:
	@scripts/build.sh

# A Debian package in .build/deb, on Debian or Ubuntu.
deb:
	@scripts/deb.sh

# What is published of the tag of this commit, in .build/release.
release:
	@scripts/release.sh

# A small study on the CPU, from nothing.
demo: build
	@scripts/demo.sh

# Every test there is.
test:
	@scripts/test.sh

# Every package under the race detector, of which make test does a part.
race:
	@scripts/test.sh race all

# Every fuzz target for a minute; SECONDS=600 for longer.
fuzz:
	@scripts/test.sh fuzz $(or $(SECONDS),60)

# What a loaded machine might turn red, on an idle and on a busy one.
repeat:
	@scripts/test.sh repeat 10 idle
	@scripts/test.sh repeat 10 busy

# 1,000 kills of daemons and trainers, and what else make test does in short.
soak:
	@scripts/test.sh soak

# The service in a booted systemd; as root on Debian or Ubuntu.
drill:
	@scripts/drills/service.sh

# The Debian package in a booted systemd: install, upgrade, remove, purge.
drill-package:
	@scripts/drills/package.sh

# A study on a real Slurm of four nodes on this host, with all that a cluster takes away; as root.
drill-slurm:
	@scripts/drills/slurm.sh

# Every fault that must be survived, tried again; writes docs/faults.md.
faults:
	@scripts/faults.sh

# Ratios measured side by side.
bench: build
	@scripts/bench.sh

# The search against Optuna, 30 seeds: hours; it continues where it was stopped.
bench-search: build
	@scripts/bench_search.sh

# As root: puts what was built on this machine. Builds nothing, since root may have no go.
install:
	@scripts/install.sh

# Keeps configuration, record and user.
uninstall:
	@scripts/uninstall.sh

# What was built, fetched and shown; no record of a study elsewhere.
clean:
	rm -rf bin .build demo
