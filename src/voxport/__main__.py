"""``python -m voxport``."""

import sys

from voxport.cli import main

if __name__ == "__main__":
    sys.exit(main())
