"""The consumer beside an event loop: its async handlers run in the caller's loop, everything else on its threads.

Whoever polls, settles and asks stores waits for the network, which a loop must not. So this driver is the one of
`threads`, with the caller's event loop in the place of the one that async handlers have there:

    caller's loop              main thread of the consumer        pollers, workers, settlers
      ├─ starts it ────────────────►│                                     │
      │                             ├─ tells the core, as in `threads` ──►│
      │◄─ begins async handlers ────┼─────────────────────────────────────┤
      │   and tells what they came to                                     │
      ├─ a cancellation: `Stop` ───►│                                     │
      │◄──────────────── it has ended                                     │
      └─ what still runs is cancelled, and what it raised is raised
"""
