from __future__ import annotations

from fltr_project import parts

ALL = ("SELECT", "INSERT", "UPDATE", "DELETE")
TABLES = ("organizations", "members", "invitations")


class BetterAuthOrganization(parts.ContractPart):
    """The tables and the column of Better Auth's plugin ``organization()``, without its teams.

    Those would be called ``teams``, which FLTR has: docs/plugins.md says what to do.
    """

    name = "plugins.better_auth_organization"
    verbose_name = "Better Auth: organizations"
    rights = {
        "app": dict.fromkeys(TABLES, ALL),
        "writer": dict.fromkeys(TABLES, ALL),
        "auditor": dict.fromkeys(TABLES, ("SELECT",)),
    }
