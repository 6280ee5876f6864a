"""Network addresses as they may be shown."""

import re


def hide_password(address: str) -> str:
    """The address with `***` for the password of `scheme://user:password@host`, if there is one.

    Titles, pictures and error messages are passed on; a camera's password must not be in them.
    """
    return re.sub(r"(?<=://)([^/@:]*):[^/]*@", r"\1:***@", address, count=1)
