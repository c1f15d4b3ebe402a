"""`python -m structkd.cli` is `structkd`."""

import sys

from structkd.cli import main

sys.exit(main())
