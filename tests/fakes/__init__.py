"""Servers on this machine that speak the protocols of the places models come from."""
