"""Each long poll in process took a turn whenever another turn ended, and so kept the others of the account awake."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

from megaflow.local import SqsClient
from tests.local.wire import HttpShop
from tests.waiting import PATIENCE


def test_polls_that_wait_take_no_turns() -> None:
    shop = HttpShop()
    urls = [shop.fresh_queue() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        polls = [pool.submit(shop.bodies, url, WaitTimeSeconds=20) for url in urls]
        shop.wait_for_polls(3)
        taken: list[threading.Thread] = []
        turn = shop.account.turn

        def noted() -> AbstractContextManager[None]:
            taken.append(threading.current_thread())
            return turn()

        shop.account.turn = noted  # type: ignore[assignment,method-assign]

        for url in urls:
            SqsClient(shop.account).send_message(QueueUrl=url, MessageBody="a")

        assert [poll.result(PATIENCE) for poll in polls] == [["a"]] * 3
    assert set(taken) == {threading.current_thread()}
