"""The items of rows that were split, and the room that they share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from chainette.run.schedule.parking import Activity, Gate


class ItemRoom:
    """The number of items that may be in flight, for all rows together.

    Items that wait in a batch take no room, since only further items can help them. A split that
    has no item in flight may always start one, so that items of items cannot block one another.

    Args:
        most: The number.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._active = 0
        self._waiting: deque[Items] = deque()

    def add(self, items: Items) -> None:
        """Start as many items of a split as there is room for; the others follow."""
        self._waiting.append(items)
        if not items.active:
            items.start_next()
        self._fill()

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
        self._fill()

    def _fill(self) -> None:
        while self._waiting and self._active < self._most:
            if not self._waiting[0].start_next():
                self._waiting.popleft()


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
        self._parent.rest(in_batch=self._has_left)

    def _unpark(self) -> None:
        self._parent.resume(in_batch=self._has_left)
        if self._has_left:
            self._room.enter(self._items)
