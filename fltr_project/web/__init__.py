"""What every request passes: who answers at all, hostile addresses, databases that are down, the login's brake."""
