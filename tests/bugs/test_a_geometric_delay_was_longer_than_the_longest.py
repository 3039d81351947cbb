"""The last delay of a geometric backoff could be a little longer than ``maxDelayTarget``, by how powers are rounded.

So delays shrank at their end, and a policy whose delays are exactly an hour together could be refused.
"""

from __future__ import annotations

import json

from megaflow.local.endpoints.delivery_policy import rules_by


def test_the_last_delay_is_the_longest() -> None:
    policy = {"minDelayTarget": 26, "maxDelayTarget": 27, "numRetries": 3, "numMaxDelayRetries": 1}

    rules = rules_by(json.dumps({"healthyRetryPolicy": {**policy, "backoffFunction": "geometric"}}), "")

    assert rules.delays == (26.0, 27.0, 27.0)
