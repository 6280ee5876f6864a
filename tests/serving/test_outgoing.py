import asyncio

import pytest

from co3d.serving.outgoing import Outgoing, StuckClientError


def test_the_oldest_messages_of_a_slow_client_are_lost_and_counted():
    async def run():
        outgoing = Outgoing[int](3, stuck_seconds=1)
        for number in range(5):
            outgoing.put(number)
        outgoing.close()
        sent = []

        async def send(number):
            sent.append(number)

        await outgoing.send_all(send)
        return sent, outgoing.lost, outgoing.is_over

    assert asyncio.run(run()) == ([2, 3, 4], 2, True)


def test_a_client_that_takes_nothing_is_given_up():
    async def run():
        outgoing = Outgoing[int](3, stuck_seconds=0.01)
        outgoing.put(1)
        await outgoing.send_all(lambda _: asyncio.sleep(60))

    with pytest.raises(StuckClientError):
        asyncio.run(run())


def test_waiting_ends_in_time():
    async def run():
        return await Outgoing[int](3, stuck_seconds=1).take(0.01)

    assert asyncio.run(run()) is None


def test_sending_ends_though_a_message_arrives_just_as_it_is_cancelled():
    async def run():
        outgoing = Outgoing[int](3, stuck_seconds=60)
        outgoing.put(1)
        loop = asyncio.get_running_loop()

        async def send(_: int) -> None:
            loop.call_soon(sending.cancel)

        sending = asyncio.create_task(outgoing.send_all(send))
        await asyncio.wait({sending}, timeout=10)
        return sending.cancelled()

    assert asyncio.run(run())
