from __future__ import annotations

from fltr_project import parts

ALL = ("SELECT", "INSERT", "UPDATE", "DELETE")


class BetterAuthJwt(parts.ContractPart):
    """The table of Better Auth's plugin ``jwt()``, whose plural Better Auth makes with an s."""

    name = "plugins.better_auth_jwt"
    verbose_name = "Better Auth: keys of JSON web tokens"
    rights = {
        "app": {"jwkss": ALL},
        "writer": {"jwkss": ALL},
        # Not the private key.
        "auditor": {"jwkss": ("SELECT (id, public_key, created_at, expires_at, alg, crv)",)},
    }
