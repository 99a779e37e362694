"""`python -m kvstore` is the command `kvstore`."""

from __future__ import annotations

import sys

from kvstore.cli.main import main

sys.exit(main())
