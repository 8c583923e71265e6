"""What the scripts that draw have in common."""

import os


def label(name):
    """As matplotlib shows it: no formula, no letters that are none, no _ that hides it."""
    name = os.fsencode(name).decode(errors="replace").replace("$", r"\$")
    return f" {name}" if name.startswith("_") else name


def is_kind(figure, path):
    """Is it a kind of picture, by its name, that matplotlib writes?"""
    return path.suffix[1:].lower() in figure.canvas.get_supported_filetypes()


def save(figure, path, dpi):
    """Beside it and renamed, so that no picture is ever half."""
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        figure.savefig(part, dpi=dpi)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
