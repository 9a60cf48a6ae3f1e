"""A training step with TRADES in Python beside the built-in one: python python_step.py [ROUNDS]

Run it where the wheel is installed. Processes of both kinds take turns. A step's time is the
difference of a process with 24 steps and one with 4, by 20, so that starting does not count.
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LOSS = '''
import torch.nn.functional as F
import foil


class Trades(foil.Loss):
    """CE(f(x), y) + beta * KL(softmax f(x) || softmax f(x'))"""

    beta: float = foil.key(6.0, at_least=0, doc="Weight of the KL term.")

    def forward(self, batch):
        natural = F.cross_entropy(batch.clean, batch.y)
        clean, adversarial = F.softmax(batch.clean, 1), F.log_softmax(batch.adversarial, 1)
        robust = F.kl_div(adversarial, clean, reduction="batchmean")
        return natural + self.beta * robust, {"natural": natural, "robust": robust}
'''
PIPELINE = """
data: mnist_subset
model: small_cnn
attack: {{ type: pgd, eps: 0.3, alpha: 0.03, steps: 20, start: gaussian, objective: kl }}
loss: {loss}
optimizer: {{ type: sgd, lr: 0.01 }}
train: {{ epochs: 1, batch_size: 100 }}
attacks:
  pgd: {{ type: pgd, eps: 0.3, alpha: 0.1, steps: 1, start: uniform }}
select: natural
evaluate: [natural]
"""
KINDS = {
    "python": "{ type: python, file: loss.py, class: Trades, beta: 6 }",
    "built in": "{ type: trades, beta: 6, single_clean_pass: true }",
}


def run(folder: Path, kind: str, steps: int) -> tuple[float, float]:
    """Seconds on the clock and of the processor for a run of this many steps."""
    command = [Path(sys.executable).with_name("foil"), "train", f"{kind}.yaml", "--no-eval"]
    command += ["--run-dir", "run", f"images.train_limit={100 * steps}", "images.test_limit=100"]
    shutil.rmtree(folder / "run", ignore_errors=True)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env=os.environ)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "loss.py").write_text(LOSS)
        for kind, loss in KINDS.items():
            (folder / f"{kind}.yaml").write_text(PIPELINE.format(loss=loss))
            run(folder, kind, 4)
        ratios = {"wall": [], "cpu": []}
        for _ in range(rounds):
            step = {}
            for kind in KINDS:
                short, long = run(folder, kind, 4), run(folder, kind, 24)
                step[kind] = [50 * (after - before) for before, after in zip(short, long)]
            for i, clock in enumerate(ratios):
                ratios[clock].append(step["python"][i] / step["built in"][i])
            print("; ".join(f"{kind} {w:.1f} ms, cpu {c:.1f} ms" for kind, (w, c) in step.items()))
    for clock, values in ratios.items():
        low, high = min(values), max(values)
        print(f"{clock}: ratio {statistics.median(values):.3f} ({low:.3f} to {high:.3f})")


main()
