"""dyff-audit's own text completion behind our interface, and its adapters beside ours.

``python -m tests.foreign.dyff_audit`` from the root of the project.
"""

from __future__ import annotations

from tests.foreign.environments import interpreter, run_inside, versions

# And what our client needs.
PACKAGES = (
    "dyff-audit==0.18.*",
    "dyff-schema==0.46.*",
    "httpx2~=2.16",
    "regex>=2024.11",
    "tqdm~=4.67",
)


def check() -> str:
    """Raises AssertionError unless both agree; says what was seen."""
    python = interpreter("dyff", PACKAGES)
    seen = run_inside(python, "dyff_text_completion.py")
    told = versions(python, "dyff-audit", "dyff-schema", "jsonpath-ng")
    return f"{told}\n{seen}"


if __name__ == "__main__":
    print(check())
