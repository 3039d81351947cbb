from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaflow import App, Message
from megaflow.errors import PatternError
from megaflow.local.account import Account
from megaflow.local.client import LocalSnsClient, LocalSqsClient
from megaflow.match.filters import Received, from_sns_filter_policy, read_filter_policy
from megaflow.match.functions import not_, or_
from megaflow.match.json_filter import JsonFilter
from megaflow.message import Attribute, open_message
from tests.matching import handle, matches
from tests.test_eventbridge import is_there, odd_payloads
from tests.test_filters import CASES, LEAVES, WRONG, bodies, flat_policies, keys, nested_policies, read_unless_too_much

Policy = dict[str, Any]
