"""The README and every page of docs/ are true: files, links, commands, options, tables and snippets, each against the code."""

import ast
import inspect
import pkgutil
import re
import shlex
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from channel_sets import picture
from conftest import ROOT
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from pages import PAGES, README, Page, page
from parsers import COMMANDS, TOOLS, module_of, parser_of
from torch import nn
from zoo_detectors import TRIED

from convnext_dense import ARCHS, ConvNeXt, ops
from convnext_dense.benchmark.complexity import published_figures
from convnext_dense.benchmark.contest import WORKS
from convnext_dense.data import check
from convnext_dense.predict.result import Result
from convnext_dense.predict.writers import FORMATS
from convnext_dense.recipes import find_recipe, published_scores
from convnext_dense.run import command
from convnext_dense.run.options import load_config
from convnext_dense.run.preflight import build_on_meta
from convnext_dense.run.settle import settle_norms
from convnext_dense.segmentation.segmentor import TEST_CFG
from convnext_dense.training.stopping import SIGNALS, TIME_IS_UP
from convnext_dense.weights import open as opening
from convnext_dense.weights.convert import TARGETS
from convnext_dense.weights.layouts import LAYOUTS

pages = pytest.mark.parametrize('page_', PAGES, ids=lambda page_: page_.name)
OWN_DATA, OTHER_FOLDERS, OTHER_OPTIMISER, OTHER_CHANNELS = page('data').blocks('python')
DETECTOR, SEGMENTOR, STOCK, GROUPS = page('plugin').blocks('python')


# Names


@pages
def test_files_that_it_names_exist(page_: Page) -> None:
    files = re.findall(r'(?<![\w./-])(?:configs|tools|tests|convnext_dense|docs)/[\w/.-]*\w', page_.text)
    files += re.findall(r'(?<![\w./-])(?:requirements[\w-]*\.txt|[A-Z]{4,}\.md|Makefile)', page_.text)
    placeholders = re.compile(r'.*[A-Z]{2,}\.py$')  # tests/test_FILE.py
    assert [file for file in files if not (ROOT / file).exists() and not placeholders.match(file)] == []


def test_some_files_are_named() -> None:
    """Without this, a fault in the pattern above would let everything pass."""
    assert len(set(re.findall(r'\b(?:configs|tools|convnext_dense)/[\w/]+\.py\b', README.text))) >= 6


@pages
def test_configs_and_modules_that_it_names_exist(page_: Page) -> None:
    named = {code for code in page_.inline if re.fullmatch(r'\w+_(ade20k|coco|shapes)', code)}
    assert [name for name in named if not (ROOT / f'configs/{name}.py').is_file()] == []
    for code in page_.inline:
        if re.fullmatch(r'convnext_dense(\.\w+)+(\(\))?', code):
            assert pkgutil.resolve_name(code.removesuffix('()')) is not None


@pages
def test_make_targets_that_it_names_exist(page_: Page) -> None:
    makefile = (ROOT / 'Makefile').read_text()
    targets = [line.split()[1] for line in page_.code_lines if line.startswith('make ')]
    assert [target for target in targets if not re.search(rf'^{target}:', makefile, re.M)] == []


@pages
def test_links_resolve(page_: Page) -> None:
    broken = []
    for target in re.findall(r'\]\(([^)]+)\)', page_.prose):
        file, _, anchor = target.partition('#')
        if '://' in target:
            continue
        path = page_.path if not file else (page_.path.parent / file)
        if not path.exists() or (anchor and anchor not in Page(path.resolve()).anchors):
            broken.append(target)
    assert broken == []


# Commands and options


def commands(page_: Page) -> list[tuple[str, list[str]]]:
    """(command, arguments) of each `convnext-dense X` and `tools/X.py` in code, once for each way through `a|b|c`."""
    found = []
    for line in page_.code_lines:
        given = re.search(r'(?:^|\s)(?:convnext-dense ([a-z]\S*)|tools/(\w+)\.py)(?=\s)(.*)', f'{line.partition(" > ")[0]} ')
        if given is None or (given[3].isspace() and line in page_.inline):  # which names it, no more
            continue
        ways = product(*(word.split('|') for word in shlex.split(given[3].replace('…', ''))))
        found += [(given[1] or TOOLS[given[2]], list(way)) for way in ways]
    return found


@pages
def test_commands_parse(page_: Page) -> None:
    for name, arguments in commands(page_):
        args = parser_of(name).parse_args(arguments)  # raises InputError
        if name == 'benchmark' and getattr(args, 'work', None) and args.work[0] != 'choose':
            assert set(args.work) <= {*WORKS, *module_of(name).OTHER}
        config = getattr(args, 'config', None) or getattr(args, 'recipe', None) or ''
        assert not config.startswith('configs/') or (ROOT / config).is_file(), config
        assert not re.search('_(ade20k|coco|shapes)$', config) or find_recipe(config), config


def test_there_are_commands() -> None:
    assert {name for page_ in PAGES for name, _ in commands(page_)} == set(COMMANDS)
    assert ('train', ['CONFIG', '--launcher', 'pytorch']) in commands(README)
    assert [way[-1] for _, way in commands(page('weights')) if '--to' in way] == list(TARGETS)


@pages
def test_options_in_the_text_are_a_tools(page_: Page) -> None:
    known = {option for name in COMMANDS for option in parser_of(name)._option_string_actions}
    known |= {'--no-deps', '--max-restarts', '--no-python'}  # pip's and torchrun's
    used = {word for code in page_.inline for word in re.findall(r'(?<!\S)--[\w-]+', code)}
    assert used <= known


@pytest.mark.parametrize('tool_name, column', [('train', 1), ('test', 2)])
def test_the_options_table_is_the_parser(tool_name: str, column: int) -> None:
    actions = {action.option_strings[0]: action for action in parser_of(tool_name)._actions if action.option_strings}
    actions = {option: action for option, action in actions.items() if action.help != '==SUPPRESS==' and option != '-h'}
    rows = [row for row in page('training').table('Options') if row[column]]
    shown = {option: value.strip() for option, _, value in (row[0].strip('`').partition(' ') for row in rows)}
    assert all(row[column] in ('x', 'refused') for row in rows)
    assert set(shown) == set(actions)
    for option, value in shown.items():
        action = actions[option]
        assert bool(value) == (action.nargs != 0), option
        assert value.startswith('[') == (action.nargs == '?'), option
        if action.choices and value != 'NAME':
            assert value.split('|') == list(action.choices), option
        if action.choices and value == 'NAME' and option == '--eval-backend':
            assert all(f'`{choice}`' in next(row[3] for row in rows if option in row[0]) for choice in action.choices)


def test_the_table_of_commands_is_the_tools_and_those_that_list_recipes() -> None:
    rows = [[cell.strip('`') for cell in row[:2]] for row in page('training').table('The command')]
    assert sorted(name for name, _ in rows) == sorted(COMMANDS)
    assert {Path(tool).stem: name for name, tool in rows if tool} == TOOLS


def test_what_testing_refuses(tool) -> None:
    refused = [row[0].strip('`').split()[0] for row in page('training').table('Options') if row[2] == 'refused']
    assert refused == ['--train-ann']
    status, err = tool('test', str(ROOT / 'configs/mask_rcnn_convnext_t_coco.py'), __file__, '--train-ann', 'a.json')
    assert status == 2 and '--train-ann' in err


def test_the_exit_statuses_are_those_of_the_tools() -> None:
    shown = [int(row[0]) for row in page('training').table('Exit statuses')]
    stops = [TIME_IS_UP, command.LEFT_ALONE, *sorted(128 + number for number in SIGNALS)]
    assert shown == [0, command.WRONG_INPUT, command.PARTLY, command.UNFORESEEN, *stops] and command.INTERRUPTED in stops


def test_predicting_has_a_row_for_each_option_and_format() -> None:
    inputs, options, formats, attributes = [
        page('predict').table_below(line) for line in ('| input |', '| option |', '| format |', '| of a')
    ]
    shown = {option for row in inputs + options for option in re.findall(r'--[\w-]+', ' '.join(row))}
    known = set(parser_of('predict')._option_string_actions)
    assert known - shown == {'-h', '--help', '--debug', '--config'} and shown <= known
    assert {row[0].strip('`') for row in formats} == {'(pictures)', *FORMATS}
    for row in attributes:
        for name in re.findall(r'`(\w+)', row[0]):
            assert hasattr(Result, name) or name in Result.__dataclass_fields__, name


def test_the_sample_is_as_large_as_it_says() -> None:
    assert f'a sample of {check.SAMPLE} images per split' in page('training').text


# Tables


SETS = {'ade20k': 2, 'coco': 1}  # of which a row of docs/models.md has the published scores in this cell
EVERY = sorted(path for name in SETS for path in ROOT.glob(f'configs/*_{name}.py'))


def row_of(name: str) -> list[str]:
    (row,) = [line for line in page('models').text.splitlines() if line.startswith(f'| `{name}`')]
    return [cell.strip() for cell in row.strip('|').split('|')]


@pytest.mark.parametrize('path', [path for path in EVERY if 'dinov3' not in path.stem], ids=lambda path: path.stem)
def test_published_columns_equal_the_docstrings(path: Path) -> None:
    """A published score, or as V2's none at a single scale; a dash where nothing was published."""
    cells, first = row_of(path.stem), SETS[path.stem.rpartition('_')[2]]
    figures, scores = published_figures(path), published_scores(path)
    params = f'{figures.params} M' if figures and figures.params else '-'
    macs = f'{figures.macs} G' if figures else '-'
    assert cells[first : first + 3] == [scores.partition(' ')[2] if scores else '-', params, macs]
    assert (cells[-1] == '-') == (path.stem == 'upernet_convnextv2_huge_ade20k')  # too large to be counted here
    if figures and cells[-1] != '-':
        assert float(cells[-1].split()[0]) == pytest.approx(figures.macs, rel=0.01)


@pytest.mark.parametrize('path', EVERY, ids=lambda path: path.stem)
def test_measured_parameters_are_the_models(path: Path) -> None:
    cfg = load_config(str(path))
    settle_norms(cfg, processes=1)
    params = sum(param.numel() for param in build_on_meta(cfg).parameters())
    assert row_of(path.stem)[-2] == f'{params / 1e6:.3f} M'


def test_the_files_of_dinov3_are_those_of_the_recipes() -> None:
    for name, file, *_ in page('models').table('DINOv3'):
        assert load_config(name.strip('`')).model.backbone.init_cfg.checkpoint == file.strip('`')


def test_the_layouts_are_those_of_the_tables() -> None:
    names = [name for row in page('weights').table('Weights') for name in re.findall(r'`(\w+)`', row[0])]
    assert sorted(names) == sorted(LAYOUTS)
    sizes = re.search(r'with `arch` one of ([\w, ]+)\.', page('weights').text)[1].split(', ')
    assert sizes == [name for name in ARCHS if name not in ('small', 'xlarge', 'xxlarge')]


@pytest.mark.parametrize('page_', [README, page('weights')], ids=lambda page_: page_.name)
def test_the_limit_of_archives_is_the_codes(page_: Page) -> None:
    assert re.findall(r'(\d+)\s+GiB', page_.text) == [str(opening.MAX_BYTES // 2**30)]


def test_the_operators_are_those_of_the_docstring() -> None:
    operators, detectors, *_ = (row[1] for row in page('plugin').table('Operators'))
    answered = ' '.join(re.search(r'on CPU and CUDA: (.*?)\.', ops.__doc__, re.S)[1].split())
    assert [name for name in operators.split(', ') if name != 'batched nms'] == answered.split(', ')
    assert set(detectors.split(', ')) == set(TRIED)


def test_the_works_of_the_benchmark_are_the_tools() -> None:
    named = [name for row in page('speed').table('Benchmark') for name in re.findall(r'`([\w-]+)`', row[0])]
    assert sorted(named) == sorted([*WORKS, *module_of('benchmark').OTHER])


def test_the_options_of_the_fast_paths_exist() -> None:
    for row in page('speed').table('Options'):
        code = row[0].strip('`')
        if code.startswith('ConvNeXt('):
            with torch.device('meta'):
                assert isinstance(eval(code, {'ConvNeXt': ConvNeXt}), ConvNeXt)
        else:
            assert code.removeprefix('test_cfg.').partition('=')[0] in TEST_CFG
    assert inspect.signature(ConvNeXt).parameters['fused'].default == 'auto'


# Snippets


@pages
def test_python_blocks_parse(page_: Page) -> None:
    for block in page_.blocks('python'):
        ast.parse(block)


def own_config(tmp_path: Path, text: str) -> str:
    """A config file as a page shows it, but for the paths from where it lies."""
    (tmp_path / 'own.py').write_text(re.sub(r"'(configs/)", rf"'{ROOT}/\1", text))
    return str(tmp_path / 'own.py')


def test_own_data_for_segmentation(tmp_path: Path, shapes: str) -> None:
    cfg = load_config(own_config(tmp_path, OWN_DATA), data_root=shapes)
    model = build_on_meta(cfg)
    assert (model.decode_head.num_classes, model.auxiliary_head.num_classes) == (2, 2)
    init_default_scope(cfg.default_scope)
    for loader, length in (('train_dataloader', 6), ('val_dataloader', 5), ('test_dataloader', 5)):
        data = DATASETS.build(cfg[loader].dataset)
        assert len(data) == length and data.metainfo['classes'] == ('road', 'car') and not data.reduce_zero_label


def test_own_data_in_other_folders(tmp_path: Path, shapes: str) -> None:
    for ours, theirs in (('tr', 'training'), ('va', 'validation')):
        for kind, folder in (('photos', 'images'), ('labels', 'annotations')):
            (tmp_path / kind).mkdir(exist_ok=True)
            (tmp_path / kind / ours).symlink_to(Path(shapes, folder, theirs))
    (line,) = [line for line in OWN_DATA.splitlines() if line.startswith('train_dataloader')]
    text = OWN_DATA.replace(line, OTHER_FOLDERS)
    cfg = load_config(own_config(tmp_path, text), data_root=str(tmp_path))
    init_default_scope(cfg.default_scope)
    for loader, folder, length in (('train_dataloader', 'tr', 6), ('val_dataloader', 'va', 5), ('test_dataloader', 'va', 5)):
        data = DATASETS.build(cfg[loader].dataset)
        assert len(data) == length and f'/photos/{folder}/' in data[0]['data_samples'].img_path


def test_other_than_three_channels(tmp_path: Path) -> None:
    cfg, paths = load_config('upernet_convnext_t_ade20k'), [tmp_path / f'{i}.npy' for i in range(2)]
    for path in paths:
        np.save(path, picture(12))
    exec(OTHER_CHANNELS, dict(cfg=cfg, paths=paths))
    assert cfg.model.backbone.in_channels == 12
    assert cfg.model.data_preprocessor.mean == pytest.approx(picture(12).reshape(-1, 12).mean(0).tolist())


def test_another_optimiser(tmp_path: Path) -> None:
    cfg = load_config(own_config(tmp_path, OWN_DATA + OTHER_OPTIMISER))
    assert cfg.optim_wrapper.optimizer == dict(type='SGD', lr=0.01, weight_decay=1e-4)


def check_groups(cfg: Config, model: nn.Module) -> None:
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    assert type(optimizer) is torch.optim.AdamW and len({group['lr'] for group in optimizer.param_groups}) > 3


def test_a_config_of_mmdets_own_with_the_plugin() -> None:
    cfg = Config.fromstring(STOCK, '.py')
    assert cfg.model.backbone.type == 'mmpretrain.ConvNeXt' and cfg.custom_imports == dict(imports=['convnext_dense'])
    cfg.model.backbone.pop('init_cfg')  # the published file
    assert isinstance(build_on_meta(cfg).backbone, ConvNeXt)


def test_the_plugin_in_a_config_of_mmdet() -> None:
    short = next(block for block in README.blocks('python') if 'custom_imports' in block)
    for snippet in (DETECTOR, DETECTOR.splitlines()[0] + '\n' + short):
        cfg = Config.fromstring(snippet + GROUPS, '.py')
        model = build_on_meta(cfg)
        assert type(model.backbone) is ConvNeXt
        assert model.backbone.out_channels == tuple(model.neck.in_channels) == (96, 192, 384, 768)
        check_groups(cfg, model)


def test_the_plugin_in_a_config_of_mmseg() -> None:
    cfg = Config.fromstring(SEGMENTOR + GROUPS, '.py')
    model = build_on_meta(cfg)
    assert type(model.backbone) is ConvNeXt
    assert model.backbone.out_channels == tuple(model.decode_head.in_channels) == (96, 192, 384, 768)
    assert model.backbone.out_channels[model.auxiliary_head.in_index] == model.auxiliary_head.in_channels
    check_groups(cfg, model)
