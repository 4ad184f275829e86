"""httpx, which speaks HTTP/2 by hyper-h2: client.py BASE CA UPLOAD PARALLEL HEAD"""

import asyncio
import hashlib
import ssl
import sys

import httpx

base, ca, upload, parallel, head = sys.argv[1:]


def wants(what, got, want):
    if got != want:
        sys.exit(f"{what}: {got!r}, want {want!r}")


async def main():
    # Without HTTP/1.1 it begins with the preface where there is no ALPN.
    trust = ssl.create_default_context(cafile=ca)
    async with httpx.AsyncClient(http1=False, http2=True, verify=trust, timeout=60) as client:
        r = await client.get(base + "/hello")
        wants("GET", (r.status_code, r.http_version, r.text[:14]), (200, "HTTP/2", "hello by HTTP/"))

        content = open(upload, "rb").read()
        r = await client.post(base + "/keep", content=content)
        wants("POST", hashlib.sha256(r.content).hexdigest(), hashlib.sha256(content).hexdigest())

        async def one(i):
            content = bytes([i]) * (1000 * i)
            r = await client.post(base + "/echo", content=content)
            wants(f"request {i} of many", (r.status_code, r.content == content), (200, True))

        await asyncio.gather(*(one(i) for i in range(int(parallel))))

        r = await client.get(base + "/hello", headers={"x": "x" * int(head)})
        wants("a head that is too large", r.status_code, 431)
        r = await client.get(base + "/hello")
        wants("GET behind it", r.status_code, 200)

        got = 0
        async with client.stream("GET", base + "/endless") as r:
            async for piece in r.aiter_raw():
                got += len(piece)
                if got > 1_000_000:
                    break
        r = await client.get(base + "/hello")
        wants("GET behind a response that was left", r.status_code, 200)


asyncio.run(main())
print("all is well")
