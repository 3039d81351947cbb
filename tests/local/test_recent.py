from __future__ import annotations

from megaflow.local.recent import Recent


def test_an_answer_is_known_for_five_minutes() -> None:
    recent: Recent[str] = Recent()

    recent.remember("key", "answer", 0.0)

    assert recent.find("key", 299.9) == "answer"
    assert recent.find("key", 300.0) is None
    assert len(recent) == 0


def test_asking_again_does_not_prolong_the_time() -> None:
    recent: Recent[str] = Recent()
    recent.remember("key", "first", 0.0)

    recent.remember("key", "second", 200.0)

    assert recent.find("key", 299.0) == "second"
    assert recent.find("key", 300.0) is None


def test_keys_are_forgotten_one_by_one() -> None:
    recent: Recent[int] = Recent()
    for second in range(3):
        recent.remember(second, second, float(second))

    assert [recent.find(key, 301.0) for key in range(3)] == [None, None, 2]
