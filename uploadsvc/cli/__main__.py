"""``python -m uploadsvc.cli``."""

from uploadsvc.cli import main

main()
