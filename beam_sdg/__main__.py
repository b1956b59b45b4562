"""`python -m beam_sdg`: the command line."""

import sys

from beam_sdg.cli import main

sys.exit(main())
