"""Times answers of scripts/serve beside 64 seats against one seat, in turn in one run."""

import argparse
import http.client
import os
import subprocess
import time

from bench_page import WATCHERS, watch

HEADERS = {
    "Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
    "Accept-Encoding": "gzip",
}


class Server:
    """A study on so many seats."""

    def __init__(self, serve: str, seats: int, trials: int):
        self.seats, self.times, self.size = seats, [], 0
        self.process = subprocess.Popen(
            [serve, "-trials", str(trials), "-seats", str(seats)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.address = self.process.stdout.readline().strip()
        if not self.address:
            raise SystemExit("the server did not start")
        self.connection = http.client.HTTPConnection(self.address, timeout=60)

    def ask(self, path: str) -> None:
        """Asks once, and keeps the milliseconds."""
        begin = time.perf_counter()
        self.connection.request("GET", path, headers=HEADERS)
        answer = self.connection.getresponse()
        body = answer.read()
        self.times.append(1000 * (time.perf_counter() - begin))
        self.size = len(body)
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status} {body[:300]!r}")

    def rank(self, share: float) -> float:
        """Returns a quantile of the times, in milliseconds."""
        return sorted(self.times)[int(share * (len(self.times) - 1))]

    def close(self) -> None:
        """Ends it."""
        self.process.stdin.close()
        self.process.wait()


def compare(path: str, few: Server, many: Server, asks: int, goal: float) -> None:
    """Prints the times of asking both for path in turn."""
    for s in (few, many):
        s.ask(path)  # what is made once
        s.times = []
    for _ in range(asks):
        few.ask(path)
        many.ask(path)
    for s in (few, many):
        times = f"p50 {s.rank(0.5):.2f} ms, p99 {s.rank(0.99):.2f} ms of {asks}"
        print(f"  {path}, {s.seats} seats: {s.size / 1024:.1f} KiB, {times}")
    slower, larger = many.rank(0.5) / few.rank(0.5), many.size / few.size
    print(f"  {many.seats} seats to one: {slower:.2f} times the time, {larger:.1f} times the bytes")
    if goal:
        print(f"  goal of {goal:g} ms at p99:", "met" if many.rank(0.99) <= goal else "missed")


def main() -> None:
    """Compares every path."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("serve")
    parser.add_argument("paths", nargs="+")
    parser.add_argument("--seats", type=int, default=64)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--asks", type=int, default=500)
    parser.add_argument("--goal", type=float, default=0, help="milliseconds at the 99th percentile; 0: none")
    parser.add_argument(
        "--seconds", type=float, default=0, help=f"that {WATCHERS} watchers of events are measured; 0: they are not"
    )
    args = parser.parse_args()
    few, many = Server(args.serve, 1, args.trials), Server(args.serve, args.seats, args.trials)
    try:
        print(f"{args.trials} trials, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        for path in args.paths:
            compare(path, few, many, args.asks, args.goal)
        if args.seconds:
            shares = []
            for s in (few, many):
                alone, _ = watch(s.address, s.process.pid, 0, args.seconds / 3)
                used, got = watch(s.address, s.process.pid, WATCHERS, args.seconds)
                shares.append(100 * (used - 3 * alone) / args.seconds)
                rate = got / WATCHERS / args.seconds / 1024
                print(f"  {WATCHERS} watchers, {s.seats} seats: {shares[-1]:.2f} % of a core, {rate:.1f} KiB/s each")
            print(f"  {many.seats} seats to one: {shares[1] / shares[0]:.1f} times the share of a core")
    finally:
        few.close()
        many.close()


if __name__ == "__main__":
    main()
