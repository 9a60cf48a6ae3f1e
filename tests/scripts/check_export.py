"""What `foil export` writes against PyTorch itself: python3 check_export.py FOIL

Trains nothing. For each network of tests/goldens_models/make.py a file of random weights is made with torch.save and imported, exported in
every format, and loaded again; logits must agree to 1e-5 of the largest. Needs torch 2.11, safetensors and numpy.
"""
import pathlib
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file

sys.path.append(str(pathlib.Path(__file__).parent.parent / "goldens_models"))
from make import NETWORKS, WideResNet  # noqa: E402

foil = sys.argv[1]
MEAN, STD = [0.4914, 0.4822, 0.4465], [0.2471, 0.2435, 0.2616]
CASES = {name: (net, f"{{ type: {name} }}") for name, net in NETWORKS.items() if "mask" not in name and "silu" not in name}
CASES["preact_resnet18_fat"] = (NETWORKS["preact_resnet18_fat"], None)
CASES["wide_resnet"] = (NETWORKS["wide_resnet"], None)
CASES["dm_wide_resnet"] = (NETWORKS["dm_wide_resnet"], None)
CASES["wide_resnet_34_10"] = (lambda: WideResNet(34, 10), None)


def close(ours, theirs, what):
    by = ((ours - theirs).abs().max() / theirs.abs().max()).item()
    print(f"{what}: {by:.1e}")
    assert by < 1e-5, what


for name, (make, model) in CASES.items():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        torch.manual_seed(1)
        net = make().train()
        grey = net.state_dict()[next(iter(net.state_dict()))].shape[1] == 1
        x = torch.rand(3, 1, 28, 28) if grey else torch.rand(3, 3, 32, 32)
        for _ in range(2):  # running statistics that are not the start's
            net(x)
        net.eval()
        torch.save({"state_dict": {"module." + k: v for k, v in net.state_dict().items()}}, folder / "net.pt")
        normalised = [] if grey else ["--normalize", f"{{ mean: {MEAN}, std: {STD} }}"]
        run = lambda *words: subprocess.run([foil, *map(str, words)], check=True, capture_output=True, cwd=folder)
        run("import", "net.pt", "--out", "run", *normalised)
        with torch.no_grad():
            plain = net(x)
            y = x if grey else (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
            expected = net(y)
            for form, read in [("pt", torch.load), ("safetensors", load_file)]:
                run("export", "run", "--format", form, "--out", f"out.{form}")
                other = make().eval()
                state = read(folder / f"out.{form}")
                other.load_state_dict(state)
                close(other(x), plain, f"{name} {form}")
            state = torch.load(folder / "out.pt", weights_only=True)
            assert grey or state.foil["foil.mean"] == str(MEAN).replace(" ", ""), state.foil
            run("export", "run", "--format", "torchscript", "--out", "out.ts")
            program = torch.jit.load(folder / "out.ts")
            close(program(x), expected, f"{name} torchscript")
            close(program(x[:1]), expected[:1], f"{name} torchscript, one image")
