"""The README and the pages of docs/, as the tests read them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from conftest import ROOT


@dataclass(frozen=True)
class Page:
    """A Markdown file of the repository."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @cached_property
    def text(self) -> str:
        return re.sub(r'<!--.*?-->', '', self.path.read_text(), flags=re.S)

    def blocks(self, language: str) -> list[str]:
        """The fenced blocks of a language."""
        return re.findall(rf'^```{language}\n(.*?)^```$', self.text, re.M | re.S)

    @cached_property
    def prose(self) -> str:
        """The text without its fenced blocks."""
        return re.sub(r'^```.*?^```$', '', self.text, flags=re.M | re.S)

    @cached_property
    def inline(self) -> list[str]:
        """What stands between backticks, outside the blocks; of a table's cells, too."""
        return [code.replace('\\|', '|') for code in re.findall(r'`([^`\n]+)`', self.prose)]

    @cached_property
    def code_lines(self) -> list[str]:
        """Lines of shell blocks without their comments, and inline code: what may be a command."""
        lines = [line.partition(' #')[0].strip() for block in self.blocks('sh') for line in block.splitlines()]
        return [*lines, *self.inline]

    @cached_property
    def anchors(self) -> set[str]:
        """Of its headings, as GitHub names them."""
        headings = re.findall(r'^#+ (.+)$', self.prose, re.M)
        return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}

    def table(self, heading: str) -> list[list[str]]:
        """The cells of the first table below a heading, without its two head rows."""
        return self._rows(re.split(rf'^#+ {re.escape(heading)}$', self.text, maxsplit=1, flags=re.M)[1])

    def table_below(self, head: str) -> list[list[str]]:
        """The same of the table whose head row begins like this."""
        return self._rows(self.text[self.text.index(f'\n{head}') :])

    @staticmethod
    def _rows(below: str) -> list[list[str]]:
        rows = re.search(r'(?:^\|.*\n)+', below, re.M)[0].splitlines()[2:]
        return [[cell.strip().replace('\\|', '|') for cell in re.split(r'(?<!\\)\|', row)[1:-1]] for row in rows]


README = Page(ROOT / 'README.md')
# Of docs/models.md, with published scores: V1's two and V2's, each of ADE20K and of COCO.
SECTIONS = (
    'UperNet on ADE20K',
    'Mask R-CNN and Cascade Mask R-CNN on COCO',
    'ConvNeXt V2 in UperNet on ADE20K',
    'ConvNeXt V2 in Mask R-CNN on COCO',
)
DOCS = [Page(path) for path in sorted((ROOT / 'docs').glob('*.md'))]
PAGES = [README, Page(ROOT / 'CONTRIBUTING.md'), *DOCS]


def page(name: str) -> Page:
    return Page(ROOT / 'docs' / f'{name}.md')
