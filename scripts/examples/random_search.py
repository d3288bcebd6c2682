#!/usr/bin/env python3
"""The smallest useful program for the exec strategy: it changes two constants of the best trial at random."""

import json
import math
import random
import sys

dimensions, best = [], None


def draw(rng, d):
    """Draws a value of a dimension, by ratios where its scale is by ratios."""
    if "choices" in d:
        return rng.choice(d["choices"])
    low, high = d["low"], d["high"]
    x = math.exp(rng.uniform(math.log(low), math.log(high))) if d["scale"] == "log" else rng.uniform(low, high)
    return round(x) if d["kind"] == "int" else x


def propose(seed):
    rng = random.Random(seed)  # nothing else is random: the same history, the same answer
    constants = {d["name"]: best["constants"].get(d["name"], d["start"]) for d in dimensions} if best else {}
    inside = {d["name"] for d in dimensions if "choices" in d or d["low"] <= constants.get(d["name"], 0) <= d["high"]}
    constants = {name: value for name, value in constants.items() if name in inside}
    for d in rng.sample(dimensions, min(2, len(dimensions))):
        constants[d["name"]] = draw(rng, d)
    return constants


for line in sys.stdin:
    message = json.loads(line)
    answer = None
    if message["type"] == "hello":
        answer = {"protocol": 1, "name": "random search"}
    elif message["type"] == "space":  # begins anew; every trial is told again
        dimensions, best = message["dimensions"], None
    elif message["type"] == "tell":
        if message["value"] is not None and (best is None or message["value"] < best["value"]):
            best = message
    elif message["type"] == "ask":
        answer = {"id": message["id"], "constants": propose(message["seed"])}
    if answer:
        print(json.dumps(answer), flush=True)
