"""Constants whose value here need not be the one that runs."""

import argparse
import os

from prepare import evaluate_bpb

KEPT = 4  # searched
BRANCH = 1  # other: line 38 sets it again
FUNCTION = 2  # other: line 43, in choose sets it again
ADDED = 3  # other: line 46 changes it
LOOP = 4  # other: line 47 sets it again
OPENED = 5  # other: line 49 sets it again
CAUGHT = 6  # other: line 53 sets it again
WALRUS = 7  # other: line 55 sets it again
UNPACKED = 8  # other: line 57 sets it again
MATCHED = 9  # other: line 59 sets it again
DELETED = 10  # other: line 61 deletes it
LISTED = 11  # other: line 62 sets it by globals()
IMPORTED = 12  # other: line 63 imports it
ATTRIBUTE = 13  # other: line 66 sets it by setattr()
TWICE = 14  # other: line 28 sets it again
FROM_ENVIRONMENT = int(os.environ.get("DEPTH", "8"))  # other: it comes from the environment
PRODUCT = 4 * KEPT  # other: it is computed from KEPT
MANY = [1, 2]  # other: it is a list
NOTHING = None  # other: it is None
HUGE = 10**40  # other: it is no finite number
TWICE = 15
FIRST, SECOND = 1, 2  # searched
PAIR = TWIN = 3  # other as PAIR,TWIN: several names at once
SHADOWED = 5  # no: nothing uses it
ANNOTATED: int
ANNOTATED = 6  # searched
if os.cpu_count() > 1:
    ONLY_HERE = 1  # other: a test, a loop or a fault decides
parser = argparse.ArgumentParser()
if BRANCH:
    BRANCH = 11


def choose():
    global FUNCTION
    FUNCTION = 12


ADDED += 1
for LOOP in range(3):
    pass
with open(os.devnull) as OPENED:
    pass
try:
    pass
except OSError as CAUGHT:
    pass
if (WALRUS := 3) > 2:
    pass
(UNPACKED, other) = (1, 2)
match KEPT:
    case MATCHED:
        pass
del DELETED
globals()["LISTED"] = 12
from os import name as IMPORTED  # noqa: E402
import sys  # noqa: E402

setattr(sys.modules[__name__], "ATTRIBUTE", 1)


def inside(SHADOWED):
    return SHADOWED * 2


NEXT = 1  # searched
model = NEXT + KEPT * FIRST + SECOND * ANNOTATED + inside(2)
evaluate_bpb(model, None, 2)
