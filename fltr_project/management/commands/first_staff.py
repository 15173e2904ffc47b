from __future__ import annotations

from typing import Any

from fltr_project.management.base import SchemaCommand
from fltr_project.staff import make_first


class Command(SchemaCommand):
    help = (
        "Makes the first account that may log in to the admin, named for who runs this, and prints its "
        "password, which is shown once. Does nothing where there is somebody who may log in. `make serve` runs it."
    )
    examples = """\
  manage.py migrate
  manage.py first_staff
  manage.py createsuperuser    others, by name
"""

    def handle(self, **options: Any) -> None:
        made = make_first()
        if made is None:
            self.say("There is somebody who may log in. `manage.py createsuperuser` makes others.")
            return
        self.say(
            self.style.SUCCESS(f"Log in as {made.name} with the password {made.password}")
            + "\nIt is shown this once. Change it at /admin/password_change/."
        )
