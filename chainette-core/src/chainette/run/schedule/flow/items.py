"""The items of rows that were split, and the room that they share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import anyio

from chainette.run.schedule.flow.ends import Backlog, RowRecorder
from chainette.run.schedule.parking import Activity, Gate


class ItemRoom:
    """The number of items that may be in flight, for all rows together.

    Items that wait in a batch take no room, since only further items can help them. A split that
    has no item in flight may always start one, so that items of items cannot block one another.
    When too many ends wait for a slower item, only such splits start one.

    Args:
        most: The number.
        most_waiting: The number of ends that may wait for slower items.
        recorder: Says how many of them wait for slower rows.

    Attributes:
        backlog: Counts those that wait for slower items of their row.
    """

    def __init__(self, most: int, most_waiting: int, recorder: RowRecorder) -> None:
        self._most = most
        self._most_waiting = most_waiting
        self._recorder = recorder
        self._active = 0
        self._resting = 0
        self._expected = 0
        self._waiting: deque[Items] = deque()
        self._rows: deque[tuple[anyio.Event, int]] = deque()
        self.backlog: Backlog = Backlog()

    async def enter_row(self, count: int) -> None:
        """Wait for room, before a row is split: what it is split into is all in memory.

        Items that wait for something outside of them do not count: it may be this very row.

        Args:
            count: The number of items to expect.
        """
        if not self._is_busy:
            self._expected += count
            return
        turn = anyio.Event()
        self._rows.append((turn, count))
        await turn.wait()  # whatever sets it counts the items

    def leave_row(self, count: int, *, is_split: bool) -> None:
        """Expect no more items of a row, which has them or will not be split."""
        self._expected -= count
        if not is_split:
            self.fill()

    @property
    def _is_busy(self) -> bool:
        running = self._active - self._resting
        return running + self._expected >= self._most or (bool(self._waiting) and running > 0)

    def add(self, items: Items) -> None:
        """Start as many items of a split as there is room for; the others follow."""
        self._waiting.append(items)
        if not items.active:
            items.start_next()
        self.fill()

    def enter(self, items: Items) -> None:
        """One item takes room."""
        self._active += 1
        items.active += 1

    def leave(self, items: Items) -> None:
        """One item gives up its room, for the next one."""
        self._active -= 1
        items.active -= 1
        if not items.active:
            items.start_next()
        self.fill()

    def rest(self) -> None:
        """One item keeps its room and waits for something outside of it."""
        self._resting += 1
        self.fill()

    def resume(self) -> None:
        """One item goes on that kept its room."""
        self._resting -= 1

    def fill(self) -> None:
        """Start what there is room for: items of the rows that were split, then other rows."""
        while self._waiting and self._active < self._most and not self._is_behind:
            if not self._waiting[0].start_next():
                self._waiting.popleft()
        while self._rows and not self._is_busy:
            turn, count = self._rows.popleft()
            self._expected += count
            turn.set()

    @property
    def _is_behind(self) -> bool:
        return self.backlog.count + self._recorder.waiting >= self._most_waiting


class Items:
    """The items of one split.

    Args:
        count: The number of items.
        start: Starts the item of an index.
        room: The room of all items.
        activity: The activity of the flow that was split.

    Attributes:
        active: The items that take room.
        done: Opens when all items have ended.
    """

    def __init__(
        self,
        count: int,
        start: Callable[[int, ItemActivity], None],
        room: ItemRoom,
        activity: Activity,
    ) -> None:
        self._count = self._left = count
        self._next = 0
        self._start = start
        self._room = room
        self._activity = activity
        self.active: int = 0
        self.done: Gate = Gate()
        room.add(self)

    def start_next(self) -> bool:
        """Start the next item, and say whether there was one."""
        if self._next == self._count:
            return False
        index = self._next
        self._next += 1
        self._activity.resume()
        self._room.enter(self)
        self._start(index, ItemActivity(self, self._room, self._activity))
        return True

    def end(self) -> None:
        """Count that an item has ended."""
        self._left -= 1
        self._room.leave(self)
        if not self._left:
            self.done.open()
        self._activity.rest()


class ItemActivity(Activity):
    """The flows of one item that continue by themselves.

    Args:
        items: The items of the split.
        room: The room of all items.
        parent: The activity of the flow that was split.
    """

    __slots__ = ("_has_left", "_items", "_parent", "_room")

    def __init__(self, items: Items, room: ItemRoom, parent: Activity) -> None:
        super().__init__()
        self._items = items
        self._room = room
        self._parent = parent
        self._has_left = False

    def _park(self) -> None:
        self._has_left = self._in_batches > 0
        if self._has_left:
            self._room.leave(self._items)
        else:
            self._room.rest()
        self._parent.rest(in_batch=self._has_left)

    def _unpark(self) -> None:
        self._parent.resume(in_batch=self._has_left)
        if self._has_left:
            self._room.enter(self._items)
        else:
            self._room.resume()
