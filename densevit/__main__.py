"""`python -m densevit` is the `densevit` command."""

import sys

from densevit.cli import main

if __name__ == "__main__":
    sys.exit(main())
