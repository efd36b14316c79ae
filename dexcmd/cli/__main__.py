"""`python -m dexcmd.cli`, for where the script `dexcmd` is not on the path."""

import sys

from dexcmd.cli import main

sys.exit(main())
