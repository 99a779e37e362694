"""For all tests: costly invariants are checked, here and in the processes that tests start.

Hypothesis measures no times: how long an example takes is up to the machine and who shares it.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

os.environ["KVSTORE_VERIFY"] = "1"

settings.register_profile("kvstore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kvstore")
