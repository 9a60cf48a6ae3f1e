#!/usr/bin/env python3
"""Reads a run folder's event files with TensorBoard itself and prints what it shows, as JSON.

    pip install tensorboard
    python tests/scripts/check_tensorboard.py RUN_FOLDER
    {"loss": [{"step": 391, "value": 2.0}, ...], ...}

Exit status 1 with a line on stderr when the folder holds no scalars. Values are single precision, as TensorBoard stores them; those that
are not finite are the strings "NaN", "inf" and "-inf".
"""

import json
import math
import sys

from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator


def number(value):
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return value


def main(folder):
    # 0 keeps every point; the default keeps a sample.
    events = EventAccumulator(folder, size_guidance={SCALARS: 0}).Reload()
    tags = events.Tags()[SCALARS]
    if not tags:
        sys.exit(f"{folder}: no scalars")
    shown = {tag: [{"step": e.step, "value": number(e.value)} for e in events.Scalars(tag)] for tag in tags}
    print(json.dumps(shown, indent=1))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
