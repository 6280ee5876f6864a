"""Mutations of files by seed: of bytes, of numbers in text, and of values in JSON."""

import json
import re
from random import Random
from typing import Any

EDGES = (0, 1, 2, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**64 - 1)
_TOKENS = (
    *(b"[" * 3000, b'{"a":' * 3000, b"(" * 3000, b"0" * 5000, b"\0" * 64, b"\xff" * 8, b"\xc3("),
    *(b"NaN", b"-1", b"1e999", b"null", b"true", b'""', b"\x1b[2J", b"../../x", b"\xef\xbb\xbf"),
    *(
        b"\n",
        b",",
        b"&a [*a, *a]",
        b"!!python/name:os.system",
        b"<<: ",
        b"\x85" * 50,
        b"PK\x05\x06",
    ),
)


def mutate_bytes(content: bytes, random: Random) -> bytes:
    """The content with one to four changes that know nothing of its form."""
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        random.choice(_CHANGES)(changed, random)
    return bytes(changed)


def _flip(content: bytearray, random: Random) -> None:
    for _ in range(random.choice((1, 1, 8))):
        if content:
            content[random.randrange(len(content))] ^= 1 << random.randrange(8)


def _overwrite(content: bytearray, random: Random) -> None:
    size = random.choice((1, 2, 4, 8))
    number = random.choice(EDGES) % 256**size
    place = random.randrange(len(content) + 1)
    content[place : place + size] = number.to_bytes(size, random.choice(("little", "big")))


def _cut(content: bytearray, random: Random) -> None:
    del content[random.randrange(len(content) + 1) :]


def _remove(content: bytearray, random: Random) -> None:
    place = random.randrange(len(content) + 1)
    del content[place : place + random.choice((1, 4, 30, 300))]


def _repeat(content: bytearray, random: Random) -> None:
    place = random.randrange(len(content) + 1)
    part = content[place : place + random.choice((1, 4, 30, 300))]
    content[place:place] = part * random.choice((1, 3, 50))


def _insert(content: bytearray, random: Random) -> None:
    place = random.randrange(len(content) + 1)
    content[place:place] = random.choice(_TOKENS)


def _replace_number(content: bytearray, random: Random) -> None:
    numbers = list(re.finditer(rb"-?\d+(\.\d+)?", content))
    if numbers:
        found = random.choice(numbers)
        number = random.choice((*map(str, EDGES), "-1", "1e30", "0.5", "nan"))
        content[found.start() : found.end()] = number.encode()


_CHANGES = (_flip, _overwrite, _cut, _remove, _repeat, _insert, _replace_number)


def mutate_json(value: Any, random: Random) -> Any:
    """A value of JSON with one part of it replaced, removed or repeated."""
    value = json.loads(json.dumps(value))
    places = list(_list_places(value))
    if not places:
        return _draw_value(random)
    for _ in range(random.choice((1, 1, 2))):
        holder, key = random.choice(places)
        try:
            old = holder[key]
            kind = random.randrange(4)
            if kind == 0:
                del holder[key]
            elif kind == 1 and isinstance(holder, list):
                holder.insert(key, old)
            elif kind == 2 and type(old) in (int, float):
                holder[key] = old * random.choice((-1, 0, 2, 10, 1000, 10**6, 10**9))
            else:
                holder[key] = _draw_value(random)
        except (IndexError, KeyError):
            continue  # removed by the change before
    return value


def _list_places(value: Any) -> Any:
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in keys:
        yield value, key
        yield from _list_places(value[key])


def _draw_value(random: Random) -> Any:
    deep: Any = []
    for _ in range(200):
        deep = [deep]
    return random.choice(
        (
            *(None, True, "", "x", "\x1b[2J\u202e", "../x", "9" * 400, -1, 0, 1, 0.5, float("nan")),
            *(
                float("inf"),
                10**400,
                random.choice(EDGES),
                -random.choice(EDGES),
                [],
                {},
                [[]],
                deep,
            ),
            *({"node": 0}, {"tuple": []}, [1] * 200, {"a": {"b": 3}}, "aten.mul.Tensor", "float64"),
        )
    )
