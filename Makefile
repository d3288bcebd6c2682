# autoresearchd: see README.md. Everything is done by scripts/, so that each
# step can also be run by hand.

.PHONY: all build demo test drill repeat bench bench-search soak install uninstall clean

all: build

build:
	@scripts/build.sh

demo: build
	@scripts/demo.sh

test:
	@scripts/test.sh

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

bench: build
	@scripts/bench.sh

# The search against Optuna, 30 seeds: hours; it continues where it was stopped.
bench-search: build
	@scripts/bench_search.sh

# Builds nothing: as root there may be no go.
install:
	@scripts/install.sh

uninstall:
	@scripts/uninstall.sh

clean:
	rm -rf bin .build demo
