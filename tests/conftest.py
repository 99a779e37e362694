"""For all tests: costly invariants are checked, here and in the processes that tests start."""

from __future__ import annotations

import os

os.environ["KVSTORE_VERIFY"] = "1"
