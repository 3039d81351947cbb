"""A payload could have no key named ``self``: the builder's methods had that name for themselves."""

from __future__ import annotations

import pytest

from megaflow.event import PayloadBuilder


def test_a_key_can_be_named_self() -> None:
    payload = PayloadBuilder().with_event(name="x", self="/events/1").with_extra(self="/extra").build()

    assert payload.event.attributes == {"self": "/events/1"}
    assert payload.extra == {"self": "/extra"}


def test_an_object_still_has_none() -> None:
    with pytest.raises(TypeError, match=r"with_object\(\) got \['self'\]"):
        PayloadBuilder().with_object(self="/objects/1")
