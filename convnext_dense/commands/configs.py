"""List the recipes that come with the package, and the scores that were published for them.

    convnext-dense configs

`convnext-dense train NAME` trains one from any folder, `convnext-dense config NAME > my.py` writes it to a file of your own.
"""

from rich.table import Table

from convnext_dense.recipes import published_scores, recipes, title
from convnext_dense.run.command import Parser
from convnext_dense.text import table_text


def main() -> None:
    Parser(description=__doc__).parse_args()
    table = Table('recipe', 'published', 'what')
    for name, path in recipes().items():
        table.add_row(name, published_scores(path) or '-', title(path))
    print(table_text(table))
    print(
        'published with the papers, arXiv 2201.03545 and 2301.00808 (V2): mIoU at a single scale / at several, '
        'box AP / mask AP,\nor - where nothing was'
    )
