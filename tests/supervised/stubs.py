"""What children run in place of an app."""

import threading


class Stub:
    """Has nothing to pause."""

    def pause(self) -> None:
        pass

    def resume(self) -> None:
        pass


class Stubborn(Stub):
    """Does not end when it is asked to."""

    def run(self) -> None:
        threading.Event().wait()

    def stop(self, *, now: bool = False) -> None:
        pass


class Obedient(Stub):
    """Runs until it is asked to stop."""

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def run(self) -> None:
        self._stopped.wait()

    def stop(self, *, now: bool = False) -> None:
        self._stopped.set()


class Weary(Stub):
    """Ends without an error, although nobody asked it to."""

    def run(self) -> None:
        pass

    def stop(self, *, now: bool = False) -> None:
        pass


stubborn = Stubborn()
obedient = Obedient()
weary = Weary()
