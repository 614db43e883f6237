"""How whoever started a training tells it to pause, go on or stop, from any thread."""

import threading


class Control:
    """Three verbs for the outside, one question for the loop."""

    def __init__(self) -> None:
        self._go = threading.Event()
        self._go.set()
        self._over = threading.Event()

    def pause(self) -> None:
        """Finish the present step, save, and wait."""
        self._go.clear()

    def go_on(self) -> None:
        """End a pause."""
        self._go.set()

    def stop(self) -> None:
        """Finish the present step, save, and end; also ends a pause."""
        self._over.set()
        self._go.set()

    @property
    def paused(self) -> bool:
        """Whether the loop should save and wait."""
        return not self._go.is_set()

    @property
    def stopped(self) -> bool:
        """Whether the loop should save and end."""
        return self._over.is_set()

    def wait(self) -> None:
        """Wait until a pause ends."""
        self._go.wait()
