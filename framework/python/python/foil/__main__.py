"""The command `foil`."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Runs the command with the words of `sys.argv`, and exits with its code."""
    words = sys.argv[1:]
    if words in (["--version"], ["-V"]):
        # libtorch takes a tenth of a second to load, and what is asked does not depend on it.
        from . import _version

        print(f"foil {_version.FOIL} (libtorch {_version.LIBTORCH})")
        return
    # The program handles signals itself: the first Ctrl-C saves, the second one ends it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Threads that wait by spinning make a step ten times slower where others use the cores too.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    from . import _torch

    try:
        _torch.load()
    except _torch.TorchError as error:
        sys.exit(f"error: {error}")
    from . import _foil

    sys.stdout.flush()
    code = _foil.main(words)
    # What Python would do on its way out, torch's threads and CUDA included, has nothing to save.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
