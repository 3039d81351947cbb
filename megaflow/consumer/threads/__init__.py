"""The consumer's threads: they carry out what the core decides.

The core has no thread of its own: each of these tells it what has happened, one at a time, and does what it answers
(`runner`; a `Caller` is who tells it). First a message whose handler is quick, and that came with others: its poller
handles it, with the next poll under way, and begins to delete it. No other thread is woken.

    poller                           core                                SQS
      │  the answer to a poll         │                                   │
      │◄──────────────────────────────┼───────────────────────────────────┤
      ├─ Received ───────────────────►│                                   │
      │◄───────────── Start, Receive ─┤                                   │
      ├─ begins the next poll ────────┼──────────────────────────────────►│
      │  calls the handler            │                                   │
      ├─ Finished ───────────────────►│                                   │
      │◄───────────────────── Delete ─┤                                   │
      ├─ begins the delete ───────────┼──────────────────────────────────►│
      │  the answers to both          │                                   │
      │◄──────────────────────────────┼───────────────────────────────────┤
      ├─ Settled, Received ──────────►│                                   │

Where the next poll is not answered by then, the poller looks for the answer to the delete while it waits. Where that
takes longer, a settler waits for it, and tells `Settled`.

Then one whose handler is slow, as handlers were of late: a worker handles it, as it does every batch, and a settler
deletes it, unless a poller comes to that within two milliseconds.

    poller              core               worker              settler   SQS
      ├─ Received ───────►│                   │                   │       │
      │◄─ Start, Receive ─┤                   │                   │       │
      ├─ wakes a worker ──┼──────────────────►│                   │       │
      ├─ begins the next poll, and waits for the answer ──────────┼──────►│
      │                   │                   │ calls the handler │       │
      │                   │◄─────── Finished ─┤                   │       │
      │                   ├─ Delete ──────────┼──────────────────►│       │
      │                   │                   │                   ├──────►│
      │                   │                   │                   │◄──────┤
      │                   │◄──────────────────┼────────── Settled ┤       │

Where a handler is slow although handlers were quick, a poller is in the midst of it. The main thread sees that within
milliseconds (`slow_handlers`), lets another poller take this one's place, and wakes workers for what waits.

Where a store fails in the midst of a message, its thread leaves it (`StoreFailed`), and is free for others. Once a
check (`store_checks`) has found the stores well, the core has workers ask again (`Resume`).
"""
