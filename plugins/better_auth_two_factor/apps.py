from __future__ import annotations

from fltr_project import parts

ALL = ("SELECT", "INSERT", "UPDATE", "DELETE")


class BetterAuthTwoFactor(parts.ContractPart):
    """The table and the column of Better Auth's plugin ``twoFactor()``."""

    name = "plugins.better_auth_two_factor"
    verbose_name = "Better Auth: two factors"
    rights = {
        "app": {"two_factors": ALL},
        "writer": {"two_factors": ALL},
        # Neither the secret nor the backup codes.
        "auditor": {
            "two_factors": (
                "SELECT (id, user_id, verified, failed_verification_count, locked_until)",
            )
        },
    }
