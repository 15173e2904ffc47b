"""A brake on guessing passwords: who fails too often waits, whatever process answers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.crypto import salted_hmac

from fltr_project.models import LoginAttempt
from fltr_project.words import counted

WINDOW = timedelta(minutes=15)
# Of one name from one address, and of one name from anywhere. The second is larger, so that a stranger
# who knows a name cannot easily keep its owner out.
MOST, MOST_FROM_ANYWHERE = 5, 50


class ThrottledLoginForm(AdminAuthenticationForm):
    """Django's login of staff, which refuses to look at the password while there were too many wrong ones."""

    def clean(self) -> dict[str, Any]:
        username = self.cleaned_data.get("username")
        if username is None:
            return super().clean()
        # Behind a proxy all come from its address, and the limit is the name's.
        address = str(self.request.META.get("REMOTE_ADDR", "")) if self.request else ""
        wait = begin(username, address)
        if wait is not None:
            minutes = max(1, -(-int(wait.total_seconds()) // 60))
            raise ValidationError(
                f"Too many wrong passwords for this name. Try again in {counted(minutes, 'minutes')}.",
                code="throttled",
            )
        cleaned = super().clean()
        forget(username)
        return cleaned


def begin(username: str, address: str) -> timedelta | None:
    """Write the attempt down, before its password is looked at; how long to wait, or None to go on.

    Written first, so that attempts at once all count. A refused one does not count: who waits may come back.
    """
    now = timezone.now()
    LoginAttempt.objects.using("default").filter(at__lt=now - WINDOW).delete()
    mine = LoginAttempt.objects.using("default").create(
        name=_digest(username), address=address, at=now
    )
    earlier = LoginAttempt.objects.using("default").filter(name=mine.name, pk__lt=mine.pk)
    for attempts, most in (
        (earlier.filter(address=address), MOST),
        (earlier, MOST_FROM_ANYWHERE),
    ):
        counting = list(attempts.order_by("-at").values_list("at", flat=True)[:most])
        if len(counting) == most:
            mine.delete()
            return counting[-1] + WINDOW - now
    return None


def forget(username: str) -> None:
    """The person has logged in: what came before were typing errors."""
    LoginAttempt.objects.using("default").filter(name=_digest(username)).delete()


def _digest(username: str) -> str:
    # People type their passwords into the wrong field.
    return salted_hmac(
        "fltr_project.web.throttle", username.casefold(), algorithm="sha256"
    ).hexdigest()
