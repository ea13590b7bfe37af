"""A plain user of aetcd, a Python client: prints what the library handed it, one line a step.

Half way it asks for a restart of the server by a line, and is told by a line on its input when it is back.
"""

import asyncio
import sys

import aetcd


def text(result):
    if result is None:
        return "none"
    return f"{result.key!r}={result.value!r} c{result.create_revision} m{result.mod_revision} v{result.version}"


async def keys(client):
    await client.put(b"a", b"1")
    before = await client.put(b"a", b"2", prev_kv=True)
    print("put", before.header.revision, text(before.prev_kv))
    for i in range(5):
        await client.put(b"k%d" % i, b"v%d" % (9 - i))
    print("get", text(await client.get(b"a")), text(await client.get(b"missing")))
    found = await client.get_prefix(b"k", sort_order="descend", sort_target="value")
    print("prefix", [text(each) for each in found])
    print("range", [text(each) for each in await client.get_range(b"k1", b"k3")])
    print("replace", await client.replace(b"a", b"2", b"3"), await client.replace(b"a", b"2", b"4"))
    print("delete", text((await client.delete(b"a", prev_kv=True)).prev_kv), await client.delete(b"a") is None)
    deleted = await client.delete_prefix(b"k")
    print("delete prefix", deleted.deleted)


async def transactions(client):
    for _ in range(2):
        succeeded, responses = await client.transaction(
            compare=[client.transactions.create(b"once") == 0],
            success=[client.transactions.put(b"once", b"x"), client.transactions.get(b"once")],
            failure=[client.transactions.get(b"once"), client.transactions.delete(b"once")],
        )
        print("transaction", succeeded, len(responses))


async def errors(client):
    revision = (await client.put(b"e", b"1")).header.revision
    await client.put(b"e", b"2")
    await client.compact(revision, physical=True)
    for name, call in {
        "compacted": lambda: client.compact(revision),
        "no lease": lambda: client.put(b"e", b"x", lease=77),
        "revoke of nothing": lambda: client.revoke_lease(77),
        "watch of the past": lambda: first_of(client.watch(b"e", start_revision=1)),
    }.items():
        try:
            await call()
            print(name, "ok")
        except aetcd.ClientError as error:
            print(name, type(error).__name__, str(error)[:200])


async def first_of(watching):
    watch = await watching
    async for event in watch:
        await watch.cancel()
        return event


async def watches(client):
    watch = await client.watch_prefix(b"w", prev_kv=True)
    await client.put(b"w1", b"1")
    await client.put(b"other", b"1")
    await client.put(b"w1", b"2")
    await client.delete(b"w1")
    seen = []
    async for event in watch:
        seen.append((event.kind, event.kv.key, event.kv.value, event.prev_kv and event.prev_kv.value))
        if len(seen) == 3:
            await watch.cancel()
    print("watch", seen)


async def locks(client):
    first, second = client.lock(b"lock", ttl=20), client.lock(b"lock", ttl=20)
    print("acquire", await first.acquire(), await second.acquire(timeout=0), await first.is_acquired())
    waiting = asyncio.create_task(second.acquire(timeout=20))
    await asyncio.sleep(0)
    print("refresh", (await first.refresh()).TTL, "release", await first.release())
    print("acquired after it", await waiting, await second.is_acquired(), await second.release())


async def restarts(client, input_lines):
    lease = await client.lease(30)
    await client.put(b"leased", b"x", lease=lease)
    revision = (await client.put(b"r", b"0")).header.revision
    before = await client.watch(b"r")
    print("restart kill", flush=True)
    await input_lines.readline()
    while True:
        try:
            await client.put(b"r", b"1")
            break
        except aetcd.ClientError:
            await asyncio.sleep(0.05)
    # aetcd itself opens no stream anew: whoever uses it has to watch again from where it was.
    try:
        event = await asyncio.wait_for(before.__aiter__().__anext__(), 3)
        print("watch from before the restart", event.kv.value)
    except (aetcd.ClientError, StopAsyncIteration, asyncio.TimeoutError) as error:
        print("watch from before the restart", type(error).__name__)
    seen = []
    watch = await client.watch(b"r", start_revision=revision)
    async for event in watch:
        seen.append((event.kv.value, event.kv.version))
        if len(seen) == 2:
            await watch.cancel()
    print("watch over the restart", seen)
    print("lease", (await lease.refresh()).TTL, await lease.granted_ttl(), list(await lease.keys()))
    await lease.revoke()
    print("revoked", text(await client.get(b"leased")))


async def main():
    host, port = sys.argv[1].split(":")
    input_lines = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(input_lines)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    async with aetcd.Client(host=host, port=int(port), timeout=20) as client:
        await keys(client)
        await transactions(client)
        await errors(client)
        await watches(client)
        await locks(client)
        status = await client.status()
        print("status", status.version, [member.name async for member in client.members()])
        await restarts(client, input_lines)


asyncio.run(main())
