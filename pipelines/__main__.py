"""`python -m pipelines`: the command line, for processes that have no PATH."""

from pipelines.terminal.cli import main

main()
