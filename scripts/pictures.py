"""Shared by the scripts that draw."""

import os


def label(name):
    """Escapes a name for matplotlib: no formula, no invalid characters, no leading _ that hides it."""
    name = os.fsencode(name).decode(errors="replace").replace("$", r"\$")
    return f" {name}" if name.startswith("_") else name


def is_kind(figure, path):
    """Whether matplotlib can write the file type of this name."""
    return path.suffix[1:].lower() in figure.canvas.get_supported_filetypes()


def save(figure, path, dpi):
    """Writes to a temporary name and renames, so a reader never sees a partial picture."""
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        figure.savefig(part, dpi=dpi)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
