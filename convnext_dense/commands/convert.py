"""Convert ConvNeXt weights from any published layout into another, or say what a file is.

    convnext-dense convert IN OUT --to official|timm|torchvision|transformers|openmmlab
    convnext-dense convert IN --inspect

IN is a file, a folder, a URL or a hub name; OUT a .safetensors or .pth file. Every tensor is carried over bit for bit; what the
target has no place for is named. Exit status 2: wrong input, nothing is written.
"""

from rich.table import Table

from convnext_dense.errors import InputError
from convnext_dense.run.command import Parser
from convnext_dense.text import listed, table_text
from convnext_dense.weights.convert import TARGETS, check_target, convert, inspect, write
from convnext_dense.weights.fetch import open_resolved
from convnext_dense.weights.open import about


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument('source', metavar='IN', help='weights to read')
    parser.add_argument('target', metavar='OUT', nargs='?', help='file to write; must not exist')
    parser.add_argument('--to', choices=TARGETS, help='layout to write')
    parser.add_argument('--inspect', action='store_true', help='print what IN is')
    args = parser.parse_args()
    if args.inspect:
        if args.target is not None or args.to is not None:
            raise InputError('--inspect: expected IN alone, which it reads; got OUT or --to with it; leave out one of the two')
        table = Table('what', 'value')
        for row in inspect(args.source):
            table.add_row(*row)
        print(table_text(table))
        return
    if args.target is None or args.to is None:
        raise InputError('expected IN OUT --to LAYOUT, or IN --inspect')
    target = check_target(args.target)
    source, content = open_resolved(args.source)
    with about(source):
        done = convert(content, args.to)
    write(done.state, target)
    left_out = f'; left out, {args.to} has no place for them: {listed(done.left_out)}' if done.left_out else ''
    print(f'{target}: {len(done.state)} tensors, {done.source} to {args.to}, {done.size}{left_out}')
