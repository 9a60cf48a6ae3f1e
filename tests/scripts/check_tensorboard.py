#!/usr/bin/env python3
"""Reads a run folder's event files with TensorBoard itself and prints what it shows, as JSON.

    pip install tensorboard
    python tests/scripts/check_tensorboard.py RUN_FOLDER
    {"loss": [{"step": 391, "value": 2.0}, ...], ...}
    python tests/scripts/check_tensorboard.py --more RUN_FOLDER
    {"images": {TAG: [[STEP, WIDTH, HEIGHT], ...]}, "hparams": {NAME: VALUE}, "metrics": [TAG, ...]}

Exit status 1 with a line on stderr when the folder holds no scalars. Values are single precision, as TensorBoard stores them; those that
are not finite are the strings "NaN", "inf" and "-inf".
"""

import json
import math
import sys

from tensorboard.backend.event_processing.event_accumulator import IMAGES, SCALARS, EventAccumulator
from tensorboard.plugins.hparams import metadata


def number(value):
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return value


def read(folder):
    # 0 keeps every point; the default keeps a sample.
    events = EventAccumulator(folder, size_guidance={SCALARS: 0, IMAGES: 0}).Reload()
    if not events.Tags()[SCALARS]:
        sys.exit(f"{folder}: no scalars")
    return events


def main(folder):
    events = read(folder)
    tags = events.Tags()[SCALARS]
    shown = {tag: [{"step": e.step, "value": number(e.value)} for e in events.Scalars(tag)] for tag in tags}
    print(json.dumps(shown, indent=1))


def more(folder):
    events = read(folder)
    images = {tag: [[e.step, e.width, e.height] for e in events.Images(tag)] for tag in events.Tags()[IMAGES]}

    def content(tag):
        return events.SummaryMetadata(tag).plugin_data.content

    start = metadata.parse_session_start_info_plugin_data(content(metadata.SESSION_START_INFO_TAG))
    experiment = metadata.parse_experiment_plugin_data(content(metadata.EXPERIMENT_TAG))
    metadata.parse_session_end_info_plugin_data(content(metadata.SESSION_END_INFO_TAG))
    values = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
    metrics = [metric.name.tag for metric in experiment.metric_infos]
    print(json.dumps({"images": images, "hparams": values, "metrics": metrics}))


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--more":
        more(sys.argv[2])
    elif len(sys.argv) == 2:
        main(sys.argv[1])
    else:
        sys.exit(__doc__)
