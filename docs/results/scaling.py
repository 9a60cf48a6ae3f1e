"""What adding gradients up would cost on many GPUs: arithmetic from a measured step time and published link speeds.

python3 docs/results/scaling.py        prints the table of scaling.md; every assumption is a line of this file.
"""

# Step of one H100 at this batch a GPU, milliseconds, the flat gradient's numbers, and where the time comes from.
STEPS = [
    ("PreAct-ResNet-18, AT", 128, 24.8, 11_172_170, "measured, prototype, CUDA graph, bf16"),
    ("PreAct-ResNet-18, AT, tuned", 128, 12.2 + 24.8 / 11, 11_172_170, "attack measured; update taken as 1/11 of the step above"),
    ("PreAct-ResNet-18, AT", 512, 83.0, 11_172_170, "measured, PyTorch, CUDA graph, bf16"),
    ("PreAct-ResNet-18, CAT", 128, 24.8 * 1.3, 11_172_170 + 11_182_659, "estimate: 1.3 of AT's; model and mask network"),
    ("WRN-34-10, AT", 128, 24.8 * 5.25 / 0.556, 46_160_474, "estimate: PreAct-ResNet-18's by multiplications (5.25 to 0.556 G an image)"),
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
for name, batch, step, numbers, _ in STEPS:
    size = numbers * BYTES
    cells = []
    for nodes in (1, 8):
        time = reduce(nodes, 8, size) * 1e3
        cells += [f"{time:.2f}", f"{100 * step / (step + time):.1f} %"]
    print(f"| {name} | {batch} | {step:.1f} | {size / 1e6:.0f} | " + " | ".join(cells) + " |")
