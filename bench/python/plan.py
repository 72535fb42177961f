"""Expand a full factorial design into dictionaries and shuffle its trials, as a hand-written script would.

Argument: the number of memory sizes.
"""

import itertools
import random
import sys

AXES = {
    "variant": ["fc", "qemu"],
    "concurrency": list(range(1, 11)),
    "vcpus": list(range(1, 11)),
    "console": [True, False],
    "page_cache": ["warm", "cold"],
    "memory_mib": [128 + place for place in range(int(sys.argv[1]))],
}
DEFAULTS = {f"setting_{place}": place for place in range(24)}

cells = []
for levels in itertools.product(*AXES.values()):
    named = dict(zip(AXES, levels))
    cells.append({"id": "/".join(map(str, levels)), "levels": named, "settings": {**DEFAULTS, **named}, "trials": 1})
order = [{"index": index, "cell": cell["id"]} for index, cell in enumerate(cells)]
random.Random(2019).shuffle(order)
print(len(cells), order[0])
