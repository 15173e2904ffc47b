"""Django's own accounts and groups, without the widget whose labels screen readers do not read."""

from __future__ import annotations

from django.contrib import admin

# Registers those that are replaced here.
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User

admin.site.unregister([User, Group])


@admin.register(User)
class StaffAdmin(UserAdmin):  # type: ignore[type-arg]
    filter_horizontal = ()


@admin.register(Group)
class RoleAdmin(GroupAdmin):
    filter_horizontal = ()
