"""Print a recipe as one config file to edit, which trains from any folder and on any machine.

    convnext-dense config upernet_convnext_t_ade20k > my.py
    convnext-dense train my.py --data-root DIR

All files that the recipe is based on are in it, so that it needs none of them. `convnext-dense configs` lists the names.
"""

from convnext_dense.errors import InputError
from convnext_dense.recipes import find_recipe, recipes
from convnext_dense.run.command import Parser
from convnext_dense.run.flatten import flat_text
from convnext_dense.text import suggest


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument('recipe', metavar='NAME', help='name of a recipe')
    name = parser.parse_args().recipe
    path = find_recipe(name)
    if path is None:
        raise InputError(f'expected the name of a recipe, got {name}; {suggest(name, recipes())}')
    print(flat_text(path))
