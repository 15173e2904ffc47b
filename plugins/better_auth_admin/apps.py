from __future__ import annotations

from fltr_project import parts


class BetterAuthAdmin(parts.ContractPart):
    """The columns of Better Auth's plugin ``admin()``: roles, bans, and who acts for whom."""

    name = "plugins.better_auth_admin"
    verbose_name = "Better Auth: admin"
