"""A server of chat completions that answers at once or after a delay, and prints its port.

A share of the answers can be faults of all kinds, and the answer can be read from a file, that of
the Responses API from another one.

python benchmarks/fast_server.py [SECONDS] [SHARE] [FILE] [HOST] [FILE]
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path

DELAY = float(sys.argv[1]) if len(sys.argv) > 1 else 0.0
FAULTY = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
CONTENT = json.dumps({"label": "positive", "score": 3})
DEFAULT_BODY = json.dumps(
    {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"content": CONTENT}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 10},
    }
).encode()
BODY = Path(sys.argv[3]).read_bytes() if len(sys.argv) > 3 else DEFAULT_BODY
HOST = sys.argv[4] if len(sys.argv) > 4 else "127.0.0.1"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
ANSWER = HEAD % len(BODY) + BODY
RESPONSE_BODY = Path(sys.argv[5]).read_bytes() if len(sys.argv) > 5 else BODY
RESPONSE = HEAD % len(RESPONSE_BODY) + RESPONSE_BODY
WRONG = BODY.replace(b"score", b"points")
EMPTY = b"\r\nContent-Length: 0\r\n\r\n"
FAULTS = [  # the bytes to send, and whether to close the connection afterwards
    (b"", True),
    (ANSWER[: len(ANSWER) // 2], True),
    (b"HTTP/1.1 500 Oops" + EMPTY, False),
    (b"HTTP/1.1 503 Busy\r\nRetry-After: 0.05" + EMPTY, False),
    (b"HTTP/1.1 429 Slowly\r\nretry-after-ms: 20" + EMPTY, False),
    (HEAD % (len(BODY) // 2) + BODY[: len(BODY) // 2], False),
    (HEAD % len(WRONG) + WRONG, False),
    (HEAD % 4 + b"Oops", True),
    (b"", False),  # nothing, and the connection stays open
]


class Connection(asyncio.Protocol):
    """Reads requests one after another and gives each the same answer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
            if len(self.buffer) < end + 4 + length:
                return
            self.buffer = self.buffer[end + 4 + length :]
            good = RESPONSE if b"/responses " in head.partition(b"\r\n")[0] else ANSWER
            if DELAY:
                asyncio.get_running_loop().call_later(DELAY, self.answer, good)
            else:
                self.answer(good)

    def answer(self, good: bytes) -> None:
        answer, closes = good, False
        if FAULTY and random.random() < FAULTY:
            answer, closes = random.choice(FAULTS)
        if not self.transport.is_closing():
            self.transport.write(answer)
            if closes:
                self.transport.close()


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, HOST, 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
