"""Times the API of scripts/serve, and what watchers of its events cost it."""

import argparse
import http.client
import os
import selectors
import socket
import subprocess
import time

WATCHERS = 50
PATHS = "staircase trials?limit=100 trials?q=soft_cap lineage?all=1 constants strategies status".split()


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has had."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def latency(address: str, path: str, asks: int) -> None:
    """Prints the times of asking for path: the first, the median, the 99th percentile."""
    connection = http.client.HTTPConnection(address, timeout=60)
    times = []
    for _ in range(asks):
        begin = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        times.append(1000 * (time.perf_counter() - begin))
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status} {body[:300]!r}")
    first, rest = times[0], sorted(times[1:])
    p50, p99 = rest[len(rest) // 2], rest[int(0.99 * len(rest))]
    size = len(body) / 1024
    print(f"  {path:20} {size:7.1f} KiB: first {first:6.1f} ms, then p50 {p50:5.1f} ms, p99 {p99:5.1f} ms of {asks}")


def watch(address: str, pid: int, watchers: int, seconds: float) -> tuple[float, int]:
    """Returns the CPU seconds of the server in so many seconds, and the bytes that all watchers got."""
    host, port = address.rsplit(":", 1)
    selector = selectors.DefaultSelector()
    streams = []
    for _ in range(watchers):
        s = socket.create_connection((host, int(port)))
        s.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
        selector.register(s, selectors.EVENT_READ)
        streams.append(s)

    def drain(limit: float) -> int:
        got = 0
        while (left := limit - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                data = key.fileobj.recv(1 << 16)
                if not data:
                    raise SystemExit("a stream ended")
                got += len(data)
        return got

    drain(time.monotonic() + 3)  # what connecting costs is another matter
    begin = cpu(pid)
    got = drain(time.monotonic() + seconds)
    used = cpu(pid) - begin
    for s in streams:
        s.close()
    return used, got


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("serve")
    parser.add_argument("trials", type=int)
    parser.add_argument("--seconds", type=float, default=30)
    args = parser.parse_args()
    command = [args.serve, "-trials", str(args.trials)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        address = server.stdout.readline().strip()
        if not address:
            raise SystemExit("the server did not start")
        print(f"{args.trials} trials, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        for path in [*PATHS, f"trials/{args.trials}"]:
            latency(address, "/api/v1/" + path, 200)
        alone, _ = watch(address, server.pid, 0, args.seconds / 3)
        used, got = watch(address, server.pid, WATCHERS, args.seconds)
        idle, busy = 100 * alone / (args.seconds / 3), 100 * used / args.seconds
        share, rate = busy - idle, got / WATCHERS / args.seconds
        print(f"  {WATCHERS} watchers: {share:.2f} % of a core, {idle:.2f} % without; {rate:.0f} bytes a second each")
        print("  goal of less than 2 % of a core:", "met" if share < 2 else "missed")
    finally:
        server.stdin.close()
        server.wait()


if __name__ == "__main__":
    main()
