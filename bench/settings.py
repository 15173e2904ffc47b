"""The project's settings, with its records and backups in a scratch directory."""

from __future__ import annotations

import os
from pathlib import Path

from fltr_project.settings import *  # noqa: F403

BACKUP_DIR = Path(os.environ["BENCH_SCRATCH"]) / "backups"
PROOF_DIR = Path(os.environ["BENCH_SCRATCH"]) / "proofs"
OPERATIONS_LOG = Path(os.environ["BENCH_SCRATCH"]) / "operations.jsonl"
