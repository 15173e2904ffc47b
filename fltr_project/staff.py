"""The first person who may log in to the admin."""

from __future__ import annotations

import getpass
import re
from dataclasses import dataclass, field

from django.contrib.auth import get_user_model
from django.utils.crypto import get_random_string

# Without what looks alike.
LETTERS = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKMNPQRSTUVWXYZ23456789"


@dataclass(frozen=True)
class FirstStaff:
    """An account that was made; the password is nowhere else."""

    name: str
    password: str = field(repr=False)


def make_first() -> FirstStaff | None:
    """Make a superuser named for whoever runs this, unless there is somebody who may log in; None then.

    In ``default``. Raises what the database raises.
    """
    people = get_user_model().objects.db_manager("default")
    if people.filter(is_staff=True, is_active=True).exists():
        return None
    try:
        wanted = re.sub(r"[^\w.@+-]", "", getpass.getuser()) or "staff"
    except (KeyError, OSError):
        wanted = "staff"
    name, number = wanted, 1
    while people.filter(username=name).exists():
        name, number = f"{wanted}{number}", number + 1
    password = get_random_string(16, LETTERS)
    people.create_superuser(name, password=password)
    return FirstStaff(name, password)
