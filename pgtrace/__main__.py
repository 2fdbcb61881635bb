"""``python -m pgtrace`` is ``pgtrace``."""

from pgtrace.cli import main

main()
