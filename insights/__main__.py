"""`python -m insights` is the command `insights`."""

import sys

from insights.cli import main

sys.exit(main())
