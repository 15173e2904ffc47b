"""The admin, where a person looks into both databases; importing it registers its pages.

It stands above both apps, because its pages join what they have.
"""

from __future__ import annotations

from . import accounts as accounts
from . import datasets as datasets
from . import operations as operations
from . import staff as staff
from . import transactions as transactions
