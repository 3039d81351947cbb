"""A bucket for each test."""

from __future__ import annotations

import pytest

from tests.buckets import Bucket, make_bucket


@pytest.fixture
def bucket(moto_url: str) -> Bucket:
    return make_bucket(moto_url)
