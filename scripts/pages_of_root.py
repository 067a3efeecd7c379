"""A hook of mkdocs: pages of the site that lie outside ``docs/``, as README.md does.

Their links, and links to them, are written for readers of the repository, and are turned
into those of the site here. A link to any other file of the repository becomes its name.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "benchmarks/README.md": "benchmarks.md",
}
PICTURES = ("benchmarks/history.svg",)  # that pages show, at the same place in the site
OUT_OF = {page: path for path, page in PAGES.items()}
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s:#]+)(#[^)]*)?\)")
IMAGE = re.compile(r"(!\[[^\]]*\]\()docs/")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for path, page in PAGES.items():
        content = IMAGE.sub(r"\1", (ROOT / path).read_text())
        files.append(File.generated(config, page, content=content))
    for path in PICTURES:
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(
    markdown: str, page: Page, config: MkDocsConfig, files: Files
) -> str:
    own = page.file.src_uri
    source = PurePosixPath(OUT_OF.get(own, f"docs/{own}"))

    def turned(link: re.Match[str]) -> str:
        text, target, anchor = link[1], link[2], link[3] or ""
        path = normpath(str(source.parent / target))
        name = PAGES.get(path, path.removeprefix("docs/"))
        if files.get_file_from_path(name):
            return f"[{text}]({relpath(name, str(PurePosixPath(own).parent))}{anchor})"
        # A broken link stays one, for --strict to tell.
        return text if (ROOT / path).exists() else link[0]

    return LINK.sub(turned, markdown)
