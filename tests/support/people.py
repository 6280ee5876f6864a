"""People with tokens, for tests of the server."""

from co3d.serving.tokens import Person, Role, hash_token

TOKENS = {
    role: f"token-of-{role.name.lower()}" for role in (Role.VIEWER, Role.OPERATOR, Role.ADMIN)
}
PEOPLE = {hash_token(token): Person(role.name.lower(), role) for role, token in TOKENS.items()}


def bearer(role: Role) -> dict[str, str]:
    """The header of somebody with a role."""
    return {"Authorization": f"Bearer {TOKENS[role]}"}
