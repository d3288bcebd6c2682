#!/usr/bin/env python3
"""For the exec strategy: turns one constant a little further with every trial, so that no two run the same program.

Options: name, start, step.
"""

import json
import sys

told, options = 0, {}
for line in sys.stdin:
    message = json.loads(line)
    answer = None
    if message["type"] == "hello":
        options = message["options"]
        answer = {"protocol": 1, "name": f"turning {options['name']}"}
    elif message["type"] == "space":  # every trial is told again
        told = 0
    elif message["type"] == "tell":
        told += 1
    elif message["type"] == "ask":
        turns = told + len(message.get("pending") or [])
        answer = {"id": message["id"], "constants": {options["name"]: options["start"] + turns * options["step"]}}
    if answer:
        print(json.dumps(answer), flush=True)
