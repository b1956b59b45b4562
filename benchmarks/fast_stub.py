"""A server that does as little as it can: one fixed answer after a pause.

    python benchmarks/fast_stub.py LATENCY_S EVERY TAIL_S

Every `EVERY`-th request (0: none) takes `TAIL_S`. Prints its URL once it listens.
"""

import asyncio
import itertools
import json
import sys

from aiohttp import web

from transforms.engines.stub import say, serve

ANSWER = json.dumps(
    {
        "choices": [
            {
                "message": {"content": '{"difficulty": 2, "clarity": 3, "adherence": 3}'},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 900, "completion_tokens": 20},
    }
).encode()


def main() -> None:
    latency_s, every, tail_s = float(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    numbers = itertools.count(1)

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        slow = every and next(numbers) % every == 0
        await asyncio.sleep(tail_s if slow else latency_s)
        return web.Response(body=ANSWER, content_type="application/json")

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    asyncio.run(serve(app, 0, say))


if __name__ == "__main__":
    main()
