"""`python -m starskope`: the command line. Owns nothing else."""

from __future__ import annotations

import sys

from starskope.cli import main

sys.exit(main())
