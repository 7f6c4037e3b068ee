"""What Blobs promises, kept by both adapters."""

from __future__ import annotations

import pytest

from matrixinfer.bus.errors import Malformed, QueueFull, TooLarge, Unavailable
from matrixinfer.bus.ports import Stored
from matrixinfer.bus.topology import BODIES, MAX_PAYLOAD_BYTES
from support.bus_rig import Rig

KIB = 1024


def reference(rig: Rig, rid: str = "r.1") -> str:
    return rig.bus.subjects.body("ns", "ms", rid)


async def put(rig: Rig, data: bytes, rid: str = "r.1", *, ttl_s: float = 60.0) -> Stored:
    return await (await rig.bus.blobs.put(reference(rig, rid), data, ttl_s=ttl_s))


async def is_gone(rig: Rig, rid: str = "r.1") -> bool:
    return await rig.bus.blobs.get(reference(rig, rid)) is None


@pytest.mark.parametrize("size", [0, 17 * KIB, 4 * KIB * KIB], ids=["nothing", "17 KiB", "4 MiB"])
async def test_what_one_connection_put_another_reads_byte_for_byte(rig: Rig, size: int) -> None:
    data = bytes(range(256)) * (size // 256)
    stored = await put(rig, data)
    assert (stored.stream, stored.duplicate) == (BODIES, False)
    assert await rig.other.blobs.get(reference(rig)) == data


async def test_what_was_never_put_is_not_there(rig: Rig) -> None:
    await put(rig, b"another", "r.2")
    assert await is_gone(rig)


async def test_the_same_reference_again_stores_nothing(rig: Rig) -> None:
    first = await put(rig, b"body")
    again = await put(rig, b"body")
    assert (again.sequence, again.duplicate) == (first.sequence, True)
    rig.bus.blobs.remove(reference(rig))
    await rig.until(lambda: is_gone(rig))  # there was one copy only


async def test_a_removed_blob_is_gone_and_its_neighbour_stays(rig: Rig) -> None:
    await put(rig, b"body")
    await put(rig, b"neighbour", "r.2")
    rig.other.blobs.remove(reference(rig))
    rig.bus.blobs.remove(reference(rig))  # once more does no harm
    await rig.until(lambda: is_gone(rig))
    assert await rig.bus.blobs.get(reference(rig, "r.2")) == b"neighbour"


async def test_a_blob_goes_by_itself_after_its_time_to_live(rig: Rig) -> None:
    await put(rig, b"short", ttl_s=1.0)
    await put(rig, b"long", "r.2")
    await rig.until(lambda: is_gone(rig), within_s=3.0)
    assert not await is_gone(rig, "r.2")


async def test_full_blobs_refuse_until_one_is_removed(rig: Rig) -> None:
    await rig.bound(BODIES, 100 * KIB)
    await put(rig, bytes(60 * KIB))
    with pytest.raises(QueueFull):
        await put(rig, bytes(60 * KIB), "r.2")
    assert (await put(rig, bytes(60 * KIB))).duplicate, "a retry is no new blob"
    assert await is_gone(rig, "r.2")
    rig.bus.blobs.remove(reference(rig))
    await rig.until(lambda: is_gone(rig))
    await put(rig, bytes(60 * KIB), "r.2")
    assert not await is_gone(rig, "r.2")


async def test_a_blob_over_the_servers_limit_is_too_large(rig: Rig) -> None:
    with pytest.raises(TooLarge):
        await put(rig, bytes(MAX_PAYLOAD_BYTES + 1))


async def test_without_a_connection_reading_is_unavailable_and_goes_on_after_it(rig: Rig) -> None:
    await put(rig, b"body")
    await rig.cut()
    with pytest.raises(Unavailable):
        await rig.bus.blobs.get(reference(rig))
    assert await rig.other.blobs.get(reference(rig)) == b"body"
    await rig.mend()
    await rig.until(rig.bus.link.is_up)
    assert await rig.bus.blobs.get(reference(rig)) == b"body"
    rig.bus.blobs.remove(reference(rig))
    await rig.until(lambda: is_gone(rig))


async def test_blobs_outlive_a_restart_of_the_server(rig: Rig) -> None:
    await put(rig, b"body")
    await rig.restart()
    assert await rig.bus.blobs.get(reference(rig)) == b"body"
    rig.bus.blobs.remove(reference(rig))
    await rig.until(lambda: is_gone(rig))


async def test_what_is_no_reference_to_a_body_is_refused(rig: Rig) -> None:
    for wrong in ("", "r.1", rig.bus.subjects.work("ns", "pod"), reference(rig) + ".more", reference(rig)[:-3] + "*"):
        with pytest.raises(Malformed):
            await rig.bus.blobs.get(wrong)
        with pytest.raises(Malformed):
            await rig.bus.blobs.put(wrong, b"", ttl_s=60.0)
        with pytest.raises(Malformed):
            rig.bus.blobs.remove(wrong)
