"""Colours: Okabe and Ito's, which everybody can tell apart; in dark, lighter ones of the same hue."""

from __future__ import annotations

__all__ = ["BAND", "BLUE", "DARK", "FAINT", "GREEN", "GRID", "INK", "VERMILLION"]

INK = "#1f2328"
FAINT = "#59636e"
GRID = "#d8dee4"
BAND = "#f1f3f5"
BLUE = "#0072b2"
VERMILLION = "#d55e00"
GREEN = "#009e73"

DARK = {
    INK: "#e6edf3",
    FAINT: "#9aa4ae",
    GRID: "#343b44",
    BAND: "#1b2129",
    BLUE: "#56b4e9",
    VERMILLION: "#ff9d5c",
    GREEN: "#3ecf9f",
}
"""What each becomes on a dark page."""
