"""Ids of predictions: random UUIDs (RFC 9562, version 4), many of them at once."""

import os

_LENGTH = 32


def prediction_ids(count: int) -> list[str]:
    """So many new ids, such as `7fd2ff77-6c1e-4c5e-9d0a-3f1b2c4d5e6f`.

    One call of the system's generator gives the bits of all: `uuid.uuid4` would ask it for each.
    """
    bits = bytearray(os.urandom(16 * count))
    for at in range(0, len(bits), 16):
        bits[at + 6] = bits[at + 6] & 0x0F | 0x40
        bits[at + 8] = bits[at + 8] & 0x3F | 0x80
    digits = bits.hex()
    return [
        f"{d[:8]}-{d[8:12]}-{d[12:16]}-{d[16:20]}-{d[20:]}"
        for d in (digits[at : at + _LENGTH] for at in range(0, len(digits), _LENGTH))
    ]
