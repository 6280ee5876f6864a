"""Packets on their way from a sandboxed process."""

from co3d.video import packet_relay
from co3d.video.clip import KeptPacket, StreamHead
from co3d.video.packet_relay import PacketRelay


def make_packet(number: int, *, is_key: bool = False) -> KeptPacket:
    return KeptPacket(bytes(100), is_key, float(number), 0.0, None)


def test_queued_packets_are_sent_together_and_in_order():
    sent = []
    relay = PacketRelay(sent.append)
    relay.flush()
    head, packets = StreamHead(b"", None), [make_packet(number) for number in range(3)]
    for item in (head, *packets):
        relay.put(item)
    relay.flush()
    relay.flush()
    assert [one.items for one in sent] == [(head, *packets)]


def test_without_a_listener_packets_are_dropped_up_to_a_key_frame(monkeypatch):
    monkeypatch.setattr(packet_relay, "MOST_WAITING_BYTES", 4 * make_packet(0).bytes_taken)
    sent = []
    relay = PacketRelay(sent.append)
    heads = [StreamHead(b"", None) for _ in range(2)]
    packets = [make_packet(number, is_key=number % 3 == 0) for number in range(8)]
    for item in (*heads, *packets):
        relay.put(item)
    relay.flush()
    assert [one.items for one in sent] == [(heads[-1], *packets[6:])]
