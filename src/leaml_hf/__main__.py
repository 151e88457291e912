"""`python -m leaml_hf`: the same as `leaml`."""

import sys

from .cli import main

sys.exit(main())
