"""Draw the embedded toy set: scenes of five shapes, masks in ADE20K's folders, COCO's annotation files.

    convnext-dense shapes data/shapes
    convnext-dense shapes /tmp/small --train 20 --val 10
    convnext-dense shapes /tmp/many --train 1 --val 20 --grid 8     # many small objects in each picture

The folder must not exist. Exit status 2: wrong input, nothing is left.
"""

from convnext_dense.data.shapes import write_shapes
from convnext_dense.run.command import Parser


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument('folder', help='folder to write; must not exist')
    parser.add_argument('--train', type=int, default=600, help='training scenes')
    parser.add_argument('--val', type=int, default=100, help='held-out scenes')
    parser.add_argument('--seed', type=int, default=0, help='same seed, same scenes')
    parser.add_argument('--grid', type=int, default=1, metavar='N', help='N x N scenes in each picture, of 96 pixels each')
    args = parser.parse_args()
    write_shapes(args.folder, args.train, args.val, args.seed, args.grid)
    print(f'{args.train} training and {args.val} validation pictures in {args.folder}')
