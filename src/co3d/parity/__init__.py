"""Proof on a user's own network: its steps equal its clips, value by value."""

from co3d.parity.findings import Verification as Verification
from co3d.parity.verify import verify as verify
