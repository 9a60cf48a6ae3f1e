"""What adding gradients up would cost on many GPUs: arithmetic from a measured step time and published link speeds.

python3 docs/results/scaling.py        prints the table of scaling.md; every assumption is a line of this file.
"""

# Step of one H100 at this batch a GPU (h100/steps_*.json), milliseconds, and the flat gradients'
# numbers.
STEPS = [
    ("PreAct-ResNet-18, AT", 128, 16.2, 11_172_170),
    ("PreAct-ResNet-18, AT", 512, 51.0, 11_172_170),
    ("PreAct-ResNet-18, CAT", 128, 25.3, 11_172_170 + 11_182_659),  # model and mask network
    ("WRN-34-10, AT", 128, 116.2, 46_160_474),
]
BYTES = 4  # gradients are fp32
NVLINK = 450e9  # bytes/s each way, H100 SXM: 900 GB/s both ways (NVIDIA H100 datasheet)
INFINIBAND = 50e9  # bytes/s each way for each GPU: one 400 Gb/s port (NVIDIA DGX H100 datasheet)
SHARE = 0.6  # of the published speed that a sum reaches; an assumption
HOP = 5e-6  # seconds for each of a ring's steps within a node; an assumption
FAR = 15e-6  # the same between nodes; an assumption


def ring(size, bytes_, speed, hop):
    """A ring's reduce-scatter and all-gather: each rank sends 2 (n-1)/n of the tensor in 2 (n-1) steps."""
    return 2 * (size - 1) / size * bytes_ / (speed * SHARE) + 2 * (size - 1) * hop


def reduce(nodes, gpus, bytes_):
    """Within the node, then each GPU's piece between nodes."""
    time = ring(gpus, bytes_, NVLINK, HOP)
    return time if nodes == 1 else time + ring(nodes, bytes_ / gpus, INFINIBAND, FAR)


print("| model, method | batch a GPU | step, ms | MB | 8 GPUs, ms | efficiency | 8 x 8 GPUs, ms | efficiency |")
print("|---|---|---|---|---|---|---|---|")
for name, batch, step, numbers in STEPS:
    size = numbers * BYTES
    cells = []
    for nodes in (1, 8):
        time = reduce(nodes, 8, size) * 1e3
        cells += [f"{time:.2f}", f"{100 * step / (step + time):.1f} %"]
    print(f"| {name} | {batch} | {step:.1f} | {size / 1e6:.0f} | " + " | ".join(cells) + " |")
