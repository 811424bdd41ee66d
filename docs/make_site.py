"""A hook of mkdocs: brings in the pages outside docs/, and leads links to where pages are in the site.

A link to a file that is no page, say of the code, becomes its text: a site has no sources beside it.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
OUTSIDE = {  # pages of the site that lie elsewhere
    "README.md": "index.md",
    "manifests/README.md": "manifests.md",
    "cluster/README.md": "cluster.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def page_of(path: str) -> str | None:
    """Return the page of the site that a path from the root stands for, a folder's README for it; or None."""
    for each in (path, f"{path.rstrip('/')}/README.md"):
        if each in OUTSIDE:
            return OUTSIDE[each]
        if re.fullmatch(r"docs/[\w.]+\.(md|png|webp)", each) and (ROOT / each).exists():
            return each.removeprefix("docs/")
    return None


def led(markdown: str, source: str) -> str:
    """Return the text of a page, by its path from the root, with its links as the site has them."""

    def link(found: re.Match[str]) -> str:
        mark, text, target, anchor = found.groups()
        page = page_of(posixpath.normpath(posixpath.join(posixpath.dirname(source), target)))
        return f"{mark}[{text}]({page}{anchor or ''})" if page else text

    return re.sub(r"^(\s*```\w+) run( slow)?$", r"\1", LINK.sub(link, markdown), flags=re.M)


def on_config(config: Any) -> Any:
    """Put pages of docs/ that the list does not name under a heading of their own."""
    named = re.findall(r": ([\w.]+\.md)", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    more = sorted(path.name for path in (ROOT / "docs").glob("*.md") if path.name not in named)
    if more:
        config.nav.append({"More": more})
    return config


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File

    for path, name in OUTSIDE.items():
        text = led((ROOT / path).read_text(encoding="utf-8"), path)
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    name = page.file.src_uri
    return markdown if name in OUTSIDE.values() else led(markdown, f"docs/{name}")
