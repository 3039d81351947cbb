from __future__ import annotations

from typing import Any

from megaflow.local.content import Content
from megaflow.local.endpoints.posts import Post, Posts

TOPIC = "arn:aws:sns:us-east-1:000000000000:news"


def posts(*numbers: int, due_at: float = 0.0, subscription: str = "s") -> Posts:
    made = Posts(touched=lambda number: None)
    add(made, *numbers, due_at=due_at, subscription=subscription)
    return made


def add(to: Posts, *numbers: int, due_at: float = 0.0, subscription: str = "s") -> None:
    for number in numbers:
        to.add(Post(number, "Notification", "m", TOPIC, subscription, "http://127.0.0.1/", Content("hello"), due_at))


def take(from_: Posts, now: float = 0.0, limit: int = 0) -> list[int]:
    return [post.number for post in from_.take(now, lambda post: limit)]


def find(of: Posts, number: int) -> Post:
    post = of.find(number)
    assert post is not None
    return post


def test_a_post_goes_out_once_when_it_is_due() -> None:
    made = posts(1, due_at=5.0)

    assert (made.next_alarm(), take(made, 4.9), take(made, 5.0), take(made, 100.0)) == (5.0, [], [1], [])
    assert made.next_alarm() is None


def test_a_post_that_is_settled_is_gone_or_comes_again() -> None:
    made = posts(1, 2)
    take(made)

    made.settle(find(made, 1), None)
    made.settle(find(made, 2), 20.0)

    assert [post.number for post in made] == [2]
    assert (made.next_alarm(), take(made, 20.0)) == (20.0, [2])


def test_so_many_of_a_subscription_are_under_way_together() -> None:
    made = posts(*range(1, 20))
    add(made, 20, subscription="other")

    assert take(made) == [*range(1, 17), 20]
    assert made.next_alarm() is None
    made.settle(find(made, 3), None)
    assert (made.next_alarm(), take(made)) == (0.0, [17])


def test_one_that_is_held_up_may_be_forgotten_meanwhile() -> None:
    made = posts(*range(1, 19))
    take(made)
    made.forget(lambda post: post.number == 17)

    made.settle(find(made, 1), None)

    assert take(made) == [18]


def test_each_has_its_turn_within_the_limit() -> None:
    made = posts(1, 2, 3)

    assert take(made, 0.0, limit=2) == [1]
    assert made.next_alarm() == 0.5
    assert take(made, 0.4, limit=2) == []
    assert take(made, 10.0, limit=2) == [2, 3]


def test_a_limit_that_was_not_used_is_not_saved_up() -> None:
    made = posts(1)
    take(made, 0.0, limit=1)
    add(made, 2, 3, due_at=100.0)

    assert take(made, 100.0, limit=1) == [2]
    assert made.next_alarm() == 101.0


def test_a_retry_has_to_wait_for_a_turn_of_its_own() -> None:
    made = posts(1, 2)
    take(made, 0.0, limit=1)
    made.settle(find(made, 1), 0.5)

    assert take(made, 0.5, limit=1) == []
    assert take(made, 2.0, limit=1) == [2, 1]


def test_what_was_forgotten_under_way_stays_forgotten() -> None:
    made = posts(1)
    (post,) = made.take(0.0, lambda post: 0)

    made.forget(lambda each: True)
    made.settle(post, 20.0)

    assert (len(made), made.next_alarm()) == (0, None)


def test_what_was_put_back_is_due_as_before() -> None:
    made = posts(1, due_at=3.0)
    (post,) = made.take(4.0, lambda post: 0)

    made.put_back(post)

    assert (made.next_alarm(), take(made, 4.0)) == (3.0, [1])


def test_all_that_changes_is_told() -> None:
    told: list[Any] = []
    made = Posts(touched=told.append)

    add(made, 1, 2)
    first, _ = made.take(0.0, lambda post: 0)
    made.settle(first, 1.0)
    made.forget(lambda post: post.number == 2)

    assert told == [1, 2, 1, 2]
    assert made.next_number() == 3
