"""What a package's metadata say of its licence, and whether such licences are open source.

Source: Core metadata specifications (packaging.python.org), License-Expression, License and
Classifier; Open Source Initiative, licences by SPDX identifier (opensource.org/licenses); both read
2026-11-23.
"""

from __future__ import annotations

import re
from email.message import Message
from importlib.metadata import PackageMetadata
from typing import Final, NamedTuple

OPEN: Final = frozenset(
    (
        "0BSD", "AFL-3.0", "AGPL-3.0-only", "AGPL-3.0-or-later", "Apache-2.0", "BSD-2-Clause",
        "BSD-3-Clause", "BSL-1.0", "CDDL-1.0", "EPL-2.0", "GPL-2.0-only", "GPL-2.0-or-later",
        "GPL-3.0-only", "GPL-3.0-or-later", "ISC", "LGPL-2.1-only", "LGPL-2.1-or-later",
        "LGPL-3.0-only", "LGPL-3.0-or-later", "MIT", "MIT-0", "MPL-2.0", "NCSA", "PSF-2.0",
        "PostgreSQL", "Python-2.0", "Unlicense", "Zlib",
    )
)  # fmt: skip
"""SPDX identifiers that the Open Source Initiative has approved: those that packages here use."""
_WORDED: Final = {  # licences as people write them, in lower case, before there were expressions
    "apache": "Apache-2.0",
    "apache 2": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "bsd-3": "BSD-3-Clause",
    "mit license": "MIT",
}
_CLASSIFIED: Final = "License :: OSI Approved"
_OPERATORS: Final = re.compile(r"\s+(?:AND|OR)\s+|[()]")


class Licence(NamedTuple):
    """A licence as its package names it, and whether all of it is open source; None: not told."""

    text: str
    is_open: bool | None


def licence_in(metadata: PackageMetadata | Message) -> Licence:
    """Return what the metadata of an installed distribution say of its licence.

    An expression counts first, then a classifier, then the free text.
    """
    expression = _first(metadata, "License-Expression")
    if expression:
        return Licence(expression, _all_open(expression))
    classifiers = [
        line for line in metadata.get_all("Classifier", []) if line.startswith("License ::")
    ]
    if classifiers:
        names = [line.rpartition("::")[2].strip() for line in classifiers]
        approved = [line.startswith(f"{_CLASSIFIED} ::") for line in classifiers]
        return Licence(", ".join(names), all(approved))
    lines = _first(metadata, "License").splitlines()
    text = lines[0].strip() if lines else ""
    if not text:
        return Licence("not told", None)
    known = _WORDED.get(text.lower(), text)
    return Licence(text, True if known in OPEN else None)


def _all_open(expression: str) -> bool:
    """Return whether each licence of an SPDX expression is open; an exception only permits more."""
    parts = (part.strip() for part in _OPERATORS.split(expression))
    names = [part.partition(" WITH ")[0].removesuffix("+") for part in parts if part]
    return all(name in OPEN for name in names)


def _first(metadata: PackageMetadata | Message, field: str) -> str:
    values = metadata.get_all(field, [])
    return str(values[0]).strip() if values else ""
