"""`python3 -m mq`: the command line, without installing anything."""

import sys

from mq.cli import main

sys.exit(main())
