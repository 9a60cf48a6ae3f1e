"""Measures what docs/own-images.md says of a folder of 20,000 pictures of 32 x 32 pixels: the
seconds to decode it, those of the next start, and the memory that its images take.

    python docs/results/pictures.py [FOIL]

FOIL is the program, by default target/release/foil. The pictures are CIFAR-10's, written as PNG
(`foil data get cifar10` fetches them). Measure on a machine that does nothing else: 90 s.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FOIL = str(Path(sys.argv[1] if len(sys.argv) > 1 else "target/release/foil").resolve())
IMAGE = 3 * 32 * 32

PIPELINE = """\
name: {name}
device: cpu
data: {{ type: folder, path: {name}, size: 32 }}
model: {{ type: mlp, hidden: [8] }}
attack: none
loss: at
optimizer: {{ type: sgd, lr: 0.01 }}
train: {{ epochs: 1, batch_size: 10, eval_batch_size: 10 }}
"""


def run(place, *words, cache="cache"):
    """Seconds, and the most memory at once in bytes."""
    environment = os.environ | {"XDG_CACHE_HOME": str(place / cache)}
    began = time.perf_counter()
    with open(place / "log.txt", "wb") as log:
        child = subprocess.Popen([FOIL, *words], cwd=place, env=environment, stdout=log, stderr=log)
        _, status, used = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"foil {' '.join(words)}:\n{(place / 'log.txt').read_text()}")
    return seconds, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main():
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        # What is found on this machine is found from there.
        data = os.environ.get("FOIL_DATA", "data")
        os.environ["FOIL_DATA"] = str(Path(data).resolve())
        counts = {}
        for name, each in (("many", 1667), ("few", 2)):
            own_cache = [FOIL, "data", "write", "cifar10", "--out", str(place / name), "--each", str(each)]
            subprocess.run(own_cache, check=True, stdout=subprocess.DEVNULL)
            (place / f"{name}.yaml").write_text(PIPELINE.format(name=name))
            counts[name] = [sum(1 for _ in (place / name / split).glob("*/*.png")) for split in ("train", "test")]
        n = sum(counts["many"])
        time.sleep(3)  # files that are younger than 2 s are read again at the next start
        show = lambda name: run(place, "data", "show", f"{name}.yaml")
        show("few")
        alone = statistics.median(show("few")[0] for _ in range(3))
        first, first_memory = show("many")
        second = sorted(show("many")[0] for _ in range(5))
        print(f"{n} pictures of 32 x 32, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        print(f"first start: {first:.2f} s, of which {first - alone:.2f} s for the pictures (goal: at most 20 s)")
        print(f"next start: {second[2]:.2f} s (median of 5; {second[0]:.2f} to {second[4]:.2f}), of which ", end="")
        print(f"{second[2] - alone:.2f} s for the pictures (goal: under 1 s)")

        def trained(name, turn):
            return run(place, "train", f"{name}.yaml", "--no-eval", "--run-dir", f"{name}{turn}")[1]

        few, many = (statistics.median(trained(name, turn) for turn in range(3)) for name in ("few", "many"))
        images = (n - sum(counts["few"])) * IMAGE
        print(f"memory: {many / 1e6:.1f} MB in training, {few / 1e6:.1f} MB with {sum(counts['few'])} pictures; the ", end="")
        print(f"difference is {(many - few) / images:.3f} times the {images / 1e6:.1f} MB of images (goal: at most 1.1)")
        print(f"while decoding: {first_memory / 1e6:.1f} MB")


main()
