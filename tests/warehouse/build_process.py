"""A builder in a process of its own, to be killed: refreshes a pickled lake's home and builds it anew, in turns."""

import pickle
import sys
from itertools import cycle
from pathlib import Path

from pipelines.warehouse import sources
from pipelines.warehouse.build import BuildOptions, build


def main(pickled: str) -> None:
    """Announce each phase on a line, so that the parent knows that work has begun."""
    lake = pickle.loads(Path(pickled).read_bytes())
    sources.read_catalogues = lake.catalogues
    for full_refresh in cycle([False, True]):
        build(lake.home, BuildOptions(code_version="killed"), full_refresh=full_refresh, on_progress=announce)


def announce(phase: str) -> None:
    sys.stdout.write(f"{phase}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
