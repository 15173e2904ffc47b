"""The roles of the admin's staff: groups that `migrate` makes, with exactly these permissions."""

from __future__ import annotations

from django.apps import apps
from django.db import transaction

_LOOKS = (
    *(f"auth_app.view_{name}" for name in ("user", "session", "account", "verification")),
    *(f"auth_app.view_{name}" for name in ("subscription", "team", "apikeycredits")),
    "auth_app.view_credittransaction",
    # Every balance, of users, teams and API keys.
    "auth_app.view_usercredits",
    *(f"data_app.view_{name}" for name in ("dataset", "document", "processingjob")),
)
ROLES = {
    "support": _LOOKS,
    "billing": (
        *_LOOKS,
        "auth_app.grant_credits",
        "auth_app.refund_usage",
        "auth_app.reverse_purchase",
        "auth_app.release_hold",
    ),
    "operator": ("fltr_project.view_schemaoperation", "auth_app.view_drizzlemigration"),
}


def write(using: str) -> None:
    """Make the groups after a `migrate`, or give them these permissions anew and no others.

    Whoever wants another choice makes a group of another name. `using` is the database of Django's own.
    """
    group_model = apps.get_model("auth", "Group")
    permission_model = apps.get_model("auth", "Permission")
    with transaction.atomic(using=using):
        known = {
            f"{permission.content_type.app_label}.{permission.codename}": permission
            for permission in permission_model.objects.using(using).select_related("content_type")
        }
        for name, permissions in ROLES.items():
            group, _ = group_model.objects.using(using).get_or_create(name=name)
            group.permissions.set([known[each] for each in permissions])
