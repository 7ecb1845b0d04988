"""``python -m gems.cli``: the command line without the installed script ``gems``."""

import sys

from gems.cli import main

sys.exit(main())
