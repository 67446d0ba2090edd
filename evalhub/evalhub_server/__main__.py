"""``python -m evalhub_server``."""

import sys

from evalhub_server.cli import main

sys.exit(main())
