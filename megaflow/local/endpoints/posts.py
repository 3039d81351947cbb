"""Posts: what is to be delivered over HTTP, and when. No I/O."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from megaflow.local.content import Content
from megaflow.local.envelopes import Kind
from megaflow.local.timers import Timers

_AT_ONCE: Final = 16
"""Posts of a subscription that are under way together; an endpoint that hangs holds up no other one."""


@dataclass(slots=True)
class Post:
    """One message to one endpoint."""

    number: int
    kind: Kind
    message_id: str
    topic_arn: str
    subscription_arn: str
    endpoint: str
    """The URL, as it was when the message was published."""

    content: Content
    due_at: float
    raw: bool = False
    group_id: str | None = None
    tries: int = 0
    has_turn: bool = field(default=False, compare=False)
    """Whether its time is one that the limit of its subscription leaves free. Not written down."""


class Posts:
    """The posts of an account: each waits for its time, is under way, or is held up by others of its subscription.

    Not safe for threads: whoever owns them takes turns. *touched* is called with the number of each that came, changed
    or went.
    """

    def __init__(self, *, touched: Callable[[int], object]) -> None:
        self._touched = touched
        self._next_number = 1
        self._posts: dict[int, Post] = {}
        self._timers = Timers()
        self._under_way: Counter[str] = Counter()
        self._held: dict[str, deque[int]] = {}
        """By subscription, those whose time has come, and that wait for others to come back."""

        self._free_at: dict[str, float] = {}
        """When the limit of a subscription lets the next one go."""

    def __len__(self) -> int:
        """Count those that are not delivered or given up yet."""
        return len(self._posts)

    def __iter__(self) -> Iterator[Post]:
        """Go through them as they came."""
        return iter(list(self._posts.values()))

    def find(self, number: int) -> Post | None:
        """Return a post, or None where it is gone."""
        return self._posts.get(number)

    def next_alarm(self) -> float | None:
        """Return when one is due next, or None."""
        return self._timers.next()

    def next_number(self) -> int:
        """Return the number of the next post."""
        self._next_number += 1
        return self._next_number - 1

    def add(self, post: Post) -> None:
        """Take in a post, to be made when it is due; also one that was written down."""
        self._next_number = max(self._next_number, post.number + 1)
        self._posts[post.number] = post
        self._timers.set(post.number, post.due_at)
        self._touched(post.number)

    def take(self, now: float, limits: Callable[[Post], int]) -> list[Post]:
        """Give out what is due by *now*; each is then under way until ``settle``.

        *limits* says how many go to the subscription of a post in a second; 0 is without limit.
        """
        due = (self._posts[number] for number in list(self._timers.due(now)))
        return [post for post in due if self._goes(post, now, limits(post))]

    def put_back(self, post: Post) -> None:
        """Have a post made again that was not made to the end."""
        self._come_back(post.subscription_arn)
        if self._posts.get(post.number) is post:
            self._timers.set(post.number, post.due_at)

    def settle(self, post: Post, retry_at: float | None) -> None:
        """Note that a post is back: to be made again at *retry_at*, or done with."""
        self._come_back(post.subscription_arn)
        if self._posts.get(post.number) is not post:
            return
        if retry_at is None:
            del self._posts[post.number]
        else:
            post.due_at, post.has_turn = retry_at, False
            self._timers.set(post.number, retry_at)
        self._touched(post.number)

    def forget(self, belongs: Callable[[Post], bool]) -> None:
        """Forget the posts that *belong* to what is gone."""
        for post in self:
            if belongs(post):
                del self._posts[post.number]
                self._timers.cancel(post.number)
                self._touched(post.number)

    def _goes(self, post: Post, now: float, limit: int) -> bool:
        arn = post.subscription_arn
        if self._under_way[arn] >= _AT_ONCE:
            self._held.setdefault(arn, deque()).append(post.number)
            return False
        if limit and not post.has_turn:
            turn = max(now, self._free_at.get(arn, now))
            self._free_at[arn] = turn + 1 / limit
            post.has_turn = True
            if turn > now:
                self._timers.set(post.number, turn)
                return False
        self._under_way[arn] += 1
        return True

    def _come_back(self, arn: str) -> None:
        self._under_way[arn] -= 1
        if not self._under_way[arn]:
            del self._under_way[arn]
        held = self._held.get(arn)
        while held:
            number = held.popleft()
            if number in self._posts:
                self._timers.set(number, self._posts[number].due_at)
                break
        if held is not None and not held:
            del self._held[arn]
