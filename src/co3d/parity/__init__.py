"""Verifies on a user's network that its steps equal its clips, value by value."""

from co3d.parity.findings import Verification as Verification
from co3d.parity.verify import verify as verify
