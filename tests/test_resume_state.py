"""Resuming: the training state is checked before the run, and weights come from one source."""

import copy
import os
import re
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from test_whole import segmentor

from convnext_dense import InputError
from convnext_dense.run.launch import WholeModelRunner
from convnext_dense.run.preflight import check_choices, check_weights, last_checkpoint, resolve_resume
from convnext_dense.run.resume_state import check_resume
from convnext_dense.training.checkpoint_file import write_checkpoint, write_pointer

SCHEDULERS = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=3),
    dict(type='PolyLR', power=1.0, by_epoch=False, begin=3, end=10),
]
OPTIMIZERS = {
    'AdamW': dict(type='AdamW', lr=1e-3, weight_decay=0.05, betas=(0.9, 0.98)),
    'SGD': dict(type='SGD', lr=1e-2, momentum=0.9),
}


def config(optimizer: str = 'AdamW', **changes) -> Config:
    layers = dict(constructor='LayerDecayOptimWrapperConstructor', paramwise_cfg=dict(decay_rate=0.9))
    wrapper = dict(type='OptimWrapper', optimizer=OPTIMIZERS[optimizer], **(layers if optimizer == 'AdamW' else {}))
    cfg = dict(optim_wrapper=wrapper, param_scheduler=SCHEDULERS, train_cfg=dict(max_iters=10), model=dict())
    return Config(copy.deepcopy(cfg | changes))


def saved(cfg: Config) -> dict:
    """What mmengine's runner saves after two steps of training."""
    model = segmentor()
    wrapper = build_optim_wrapper(model, copy.deepcopy(cfg.optim_wrapper))
    build = PARAM_SCHEDULERS.build
    nodes = cfg.get('param_scheduler') or []
    schedulers = [
        build(dict(node), default_args=dict(optimizer=wrapper)) for node in ([nodes] if isinstance(nodes, dict) else nodes)
    ]
    for _ in range(2):
        for param in model.parameters():
            param.grad = torch.ones_like(param)
        wrapper.step()
        for scheduler in schedulers:
            scheduler.step()
    return dict(
        meta=dict(epoch=0, iter=2, seed=1, dataset_meta=dict(classes=('a', 'b', 'c'))),
        state_dict=model.state_dict(),
        message_hub=MessageHub('resume').state_dict(),
        optimizer=wrapper.state_dict(),
        param_schedulers=[scheduler.state_dict() for scheduler in schedulers],
    )


@pytest.fixture(scope='module')
def content() -> dict:
    return saved(config())


def meta_model() -> torch.nn.Module:
    with torch.device('meta'):
        return segmentor()


def path_of(content: dict, tmp_path: Path) -> str:
    torch.save(content, tmp_path / 'a.pth')
    return str(tmp_path / 'a.pth')


def test_a_training_checkpoint_fits_its_recipe(content, tmp_path, logged) -> None:
    cfg = config(load_from=path_of(content, tmp_path), resume=True)
    assert check_weights(cfg, meta_model(), ['a', 'b', 'c']) == []
    assert not any('groups' in line for line in logged), 'the groups are told when the run starts'
    assert check_resume(content | {'meta': dict(iter=np.int64(2), epoch=0)}, config(), meta_model()) == []
    for change in (dict(optimizer='SGD'), dict(param_scheduler=None), dict(param_scheduler=SCHEDULERS[1])):
        assert check_resume(saved(config(**change)), config(**change), meta_model()) == [], change
    without = {name: value for name, value in saved(config(param_scheduler=None)).items() if name != 'param_schedulers'}
    assert check_resume(without, config(param_scheduler=None), meta_model()) == []


def test_parameters_without_gradients_have_no_state(content) -> None:
    spoilt = copy.deepcopy(content)
    del spoilt['optimizer']['state'][3]
    assert check_resume(spoilt, config(), meta_model()) == []


def test_a_run_that_is_done_says_so(content) -> None:
    assert check_resume(content, config(train_cfg=dict(max_iters=2)), meta_model()) == [
        'resume: the run is finished, nothing is left to train: max_iters=2 is reached; set train_cfg.max_iters higher to go on'
    ]
    assert check_resume(content, config(train_cfg=dict(max_iters=3)), meta_model()) == []
    assert 'max_epochs=1 is reached' in str(
        check_resume(content | {'meta': dict(iter=9, epoch=1)}, config(train_cfg=dict(max_epochs=1)), meta_model())
    )


@pytest.mark.parametrize('key, part', [('max_iters', 'iter'), ('max_epochs', 'epoch')])
def test_a_checkpoint_from_beyond_the_end(content, key: str, part: str) -> None:
    for done in (11, 10**12):
        beyond = content | {'meta': dict(content['meta'], **{part: done})}
        with pytest.raises(InputError, match=rf'meta.{part}: expected up to 10, .* got {done}; set train_cfg.{key} higher'):
            check_resume(beyond, config(train_cfg={key: 10}), meta_model())


@pytest.fixture
def averaged(content) -> dict:
    """As EMAHook saves it."""
    average = {f'module.{name}': value + 1 for name, value in content['state_dict'].items()}
    return content | {'ema_state_dict': average | {'steps': torch.tensor(2)}}


EMA = dict(custom_hooks=[dict(type='EMAHook')])


def test_averaged_weights_fit(averaged) -> None:
    assert check_resume(averaged, config(**EMA), meta_model()) == []
    assert check_resume(averaged | {'ema_state_dict': 5}, config(), meta_model()) == [], 'which nothing reads'


@pytest.mark.parametrize(
    'name, value, message',
    [
        (None, 5, 'ema_state_dict: expected a dict, got 5'),
        (
            'module.nonsense',
            torch.ones(1),
            r'ema_state_dict: expected the \d+ weights of the model, got .others \(module.nonsense',
        ),
        ('module.backbone.norm0.weight', None, r'got .others \(module.backbone.norm0.weight\)'),
        ('module.backbone.norm0.weight', torch.ones(3), r'expected a tensor of shape \(8,\), got .\(3,\)'),
        ('module.backbone.norm0.weight', 'x', 'expected a tensor of shape .* got .str'),
        ('module.backbone.norm0.weight', torch.full((8,), torch.nan), 'expected finite numbers'),
        ('steps', torch.tensor(0.5), 'steps: expected a whole number'),
        ('steps', 'x', 'steps: expected a whole number'),
    ],
)
def test_averaged_weights_of_another_model(averaged, name, value, message: str) -> None:
    average = dict(averaged['ema_state_dict'])
    average.pop(name, None)
    if name is not None and value is not None:
        average[name] = value
    spoilt = averaged | {'ema_state_dict': value if name is None else average}
    with pytest.raises(InputError, match=f'--resume: .*{message}'):
        check_resume(spoilt, config(**EMA), meta_model())


@pytest.mark.parametrize('key', ['state_dict', 'model', None])
def test_a_hook_finds_the_weights_under_state_dict(tmp_path, key: str | None) -> None:
    own = segmentor()
    state = own.state_dict()
    path = path_of(state if key is None else {key: state}, tmp_path)
    seen = {}
    runner = Namespace(
        model=segmentor(),
        new_heads=False,
        call_hook=lambda name, checkpoint: seen.update(checkpoint),
        logger=Namespace(info=print),
    )
    WholeModelRunner.load_checkpoint(runner, path)
    assert set(seen['state_dict']) == set(state)


def test_a_schedule_that_stays_the_checkpoints_is_named(content) -> None:
    longer = [SCHEDULERS[0], dict(SCHEDULERS[1], end=20)]
    lines = check_resume(content, config(param_scheduler=longer), meta_model())
    assert "resume: param_schedulers[1].end stays the checkpoint's 10; the config has 20" in lines
    by_epoch = [SCHEDULERS[0], dict(SCHEDULERS[1], end=20, convert_to_iter_based=True)]  # counted in iterations by the run
    assert check_resume(content, config(param_scheduler=by_epoch), meta_model()) == []


GROUP = 'optimizer.param_groups.0'
STATE = 'optimizer.state.0'
PART = 'param_schedulers.1'


@pytest.mark.parametrize(
    'where, value, message',
    [
        ('optimizer', None, 'expected a training checkpoint, got one without optimizer'),
        ('meta', None, 'expected a training checkpoint, got one without meta'),
        ('message_hub', None, 'expected a training checkpoint, got one without message_hub'),
        ('param_schedulers', None, 'expected a training checkpoint, got one without param_schedulers'),
        ('meta', 5, 'meta.iter: expected an integer of 0 or more, got None'),
        ('meta.iter', -1, 'meta.iter: expected an integer of 0 or more, got -1'),
        ('meta.iter', 2.5, 'meta.iter: expected an integer of 0 or more, got 2.5'),
        ('meta.epoch', True, 'meta.epoch: expected an integer of 0 or more, got True'),
        ('meta.epoch', 'one', "meta.epoch: expected an integer of 0 or more, got 'one'"),
        ('meta.seed', -1, 'meta.seed: expected an integer below 4294967296, got -1'),
        ('meta.seed', 2**32, 'meta.seed: expected an integer below 4294967296, got 4294967296'),
        ('message_hub', [], 'message_hub.log_scalars: expected a dict, got None'),
        ('message_hub.runtime_info', 5, 'message_hub.runtime_info: expected a dict, got 5'),
        ('message_hub.resumed_keys', None, 'message_hub.resumed_keys: expected a dict, got None'),
        ('optimizer', 5, 'optimizer.param_groups: expected a list of dicts with params, got None'),
        ('optimizer.param_groups', [5], 'optimizer.param_groups: expected a list of dicts with params, got list'),
        ('optimizer.base_param_settings', 5, 'optimizer.base_param_settings: expected a dict, got 5'),
        ('optimizer.state', [], 'optimizer.state: expected a dict, got list'),
        (f'{GROUP}.params', 5, 'optimizer.param_groups: expected a list of dicts with params'),
        (f'{GROUP}.params.0', [1], 'optimizer.param_groups: params: expected numbers of parameters, got list'),
        (f'{GROUP}.params', [], r'optimizer: expected 12 groups of 3, [\d, ]+ parameters, got 12 groups of 0, '),
        (GROUP, None, 'optimizer: expected 12 groups of .* parameters, got 11 groups'),
        (f'{GROUP}.lr', 'fast', "optimizer: lr of a group: expected such as 0.001, got 'fast'"),
        (f'{GROUP}.betas', None, 'optimizer: betas of a group: expected such as'),
        (STATE, 5, r'optimizer.state\[0\]: expected step, exp_avg, exp_avg_sq of AdamW, got'),
        (
            f'{STATE}.exp_avg',
            None,
            r"optimizer.state\[0\]: expected step, exp_avg, exp_avg_sq of AdamW, got 'exp_avg_sq, step'",
        ),
        (f'{STATE}.step', 'x', r"optimizer.state\[0\].step: expected a number, got 'x'"),
        (f'{STATE}.step', torch.tensor(torch.nan), r'optimizer.state\[0\].step: expected a number, got nan'),
        (f'{STATE}.step', torch.ones(2), r'optimizer.state\[0\].step: expected a number, got Tensor'),
        (f'{GROUP}.weight_decay', torch.nan, 'optimizer: weight_decay of a group: expected such as 0.05, got nan'),
        (f'{GROUP}.lr', True, 'optimizer: lr of a group: expected such as 0.001, got True'),
        (f'{STATE}.exp_avg', torch.ones(2, 2), r'optimizer.state\[0\].exp_avg: expected a tensor of shape .*, got .\(2, 2\)'),
        (f'{STATE}.exp_avg_sq', 5, r'optimizer.state\[0\].exp_avg_sq: expected a tensor of shape'),
        (
            f'{STATE}.exp_avg',
            torch.full((8,), torch.nan),
            r'optimizer.state\[0\].exp_avg: expected finite numbers, got .NaN or infinity',
        ),
        (f'{STATE}.exp_avg', torch.ones(1).expand(8), r'optimizer.state\[0\].exp_avg: expected a dense tensor'),
        ('param_schedulers', 5, 'param_schedulers: expected a list, got 5'),
        (PART, None, 'param_schedulers: expected 2, as in the config, got 1'),
        (PART, 5, r'param_schedulers\[1\]: expected a dict, got 5'),
        (f'{PART}.power', None, r'param_schedulers\[1\]: expected those of PolyLR, got others \(power\)'),
        (f'{PART}.factor', 1, r'param_schedulers\[1\]: expected those of PolyLR, got others \(factor\)'),
        (f'{PART}.power', 'x', r"param_schedulers\[1\].power: expected such as 1.0, got 'x'"),
        (f'{PART}.last_step', -2, r'param_schedulers\[1\].last_step: expected an integer of -1 or more, got -2'),
        (f'{PART}._global_step', 'x', r'param_schedulers\[1\]._global_step: expected an integer of -1 or more'),
        (f'{PART}.base_values', [1.0], r'param_schedulers\[1\].base_values: expected 13 numbers, one for each group'),
        (f'{PART}.base_values', 5, r'param_schedulers\[1\].base_values: expected 13 numbers, one for each group, got 5'),
        (f'{PART}._last_value', ['x'] * 13, r'param_schedulers\[1\]._last_value: expected 13 numbers'),
    ],
)
def test_training_states_of_another_kind(content, where: str, value, message: str) -> None:
    """`None` takes the entry out."""
    spoilt = copy.deepcopy(content)
    *path, last = [int(part) if part.isdigit() else part for part in where.split('.')]
    node = spoilt
    for part in path:
        node = node[part]
    if value is None:
        del node[last]
    else:
        node[last] = value
    with pytest.raises(InputError, match=f'--resume: {message}') as caught:
        check_resume(spoilt, config(), meta_model())
    assert re.search('--load-from|save plain weights', str(caught.value))
    assert len(str(caught.value).splitlines()) == 1


def test_the_state_of_another_optimizer_and_schedule(content) -> None:
    with pytest.raises(InputError, match='optimizer: expected 1 groups of .*, got 12 groups'):
        check_resume(content, config('SGD'), meta_model())
    with pytest.raises(InputError, match='optimizer: betas of a group: expected such as .*, got None'):
        check_resume(
            saved(config('SGD')), config(optim_wrapper=dict(type='OptimWrapper', optimizer=OPTIMIZERS['AdamW'])), meta_model()
        )
    with pytest.raises(InputError, match=r'param_schedulers\[0\]: expected those of PolyLR, got others'):
        check_resume(content, config(param_scheduler=SCHEDULERS[::-1]), meta_model())
    with pytest.raises(InputError, match='param_schedulers: expected 0, as in the config, got 2'):
        check_resume(content, config(param_scheduler=None), meta_model())
    with pytest.raises(InputError, match=r'param_scheduler\[0\]: cannot be built from this config: end should be larger'):
        check_resume(content, config(param_scheduler=[dict(SCHEDULERS[0], begin=5), SCHEDULERS[1]]), meta_model())
    with pytest.raises(InputError, match='optim_wrapper: cannot be built from this config: '):
        check_resume(
            content, config(optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='NoSuch', lr=1))), meta_model()
        )


def test_weights_alone_are_no_training_checkpoint(content, tmp_path) -> None:
    cfg = config(load_from=path_of({'state_dict': content['state_dict']}, tmp_path), resume=True)
    message = 'expected a training checkpoint, got one without meta, message_hub, optimizer, param_schedulers; .*--load-from'
    with pytest.raises(InputError, match=message):
        check_weights(cfg, meta_model())
    cfg.resume = False
    assert check_weights(cfg, meta_model()) == []


def test_a_config_in_a_checkpoint_is_not_run(content, tmp_path) -> None:
    path = path_of(content | {'meta': dict(content['meta'], config="__import__('os').abort()")}, tmp_path)
    runner = Namespace(model=segmentor(), new_heads=False, call_hook=lambda *args, **kwargs: None, logger=Namespace(info=print))
    assert set(WholeModelRunner.load_checkpoint(runner, path)['meta']) == {'epoch', 'iter', 'seed', 'dataset_meta'}


@pytest.fixture
def choices() -> Callable[..., Namespace]:
    return lambda **given: Namespace(**dict(dict(resume=None, load_from=None, pretrained=None, new_heads=False), **given))


def test_weights_come_from_one_source(choices) -> None:
    for given, message in (
        (dict(resume=True, load_from='a'), '--resume and --load-from: expected one of the two, got both'),
        (dict(resume='b.pth', load_from='a'), '--resume and --load-from: expected one of the two, got both'),
        (dict(load_from='a', pretrained='b'), '--load-from and --pretrained: expected one of the two, got both'),
        (dict(new_heads=True), '--new-heads: expected --load-from FILE with it'),
        (dict(new_heads=True, resume='auto'), '--new-heads: expected --load-from FILE with it'),
    ):
        with pytest.raises(InputError, match=message):
            check_choices(choices(**given))
    assert check_choices(choices(resume=True, pretrained='b')) == [
        '--pretrained: b is not read; --resume brings the weights of the checkpoint'
    ]
    for given in (
        dict(),
        dict(resume=True),
        dict(resume='auto'),
        dict(resume='auto', load_from='a', new_heads=True),
        dict(resume='auto', pretrained='b'),
        dict(load_from='a'),
        dict(load_from='a', pretrained='none'),
        dict(load_from='a', new_heads=True),
        dict(pretrained='b'),
        dict(resume=True, pretrained='none'),
    ):
        assert check_choices(choices(**given)) == []


def test_the_last_checkpoint(tmp_path) -> None:
    """That test and predict take of a folder."""
    work_dir = tmp_path / 'run'
    work_dir.mkdir()
    named = work_dir / 'last_checkpoint'
    with pytest.raises(InputError, match=r'expected a checkpoint in .*run, found none; name a file, or the work directory'):
        last_checkpoint(str(work_dir))
    named.write_text('there.pth\n')
    assert last_checkpoint(str(work_dir)) == 'there.pth'
    for path in ('a.pth', str(named), 'http://host/a.pth'):
        assert last_checkpoint(path) == path
    for write, message in (
        (lambda: named.write_text('\n'), 'got an empty file'),
        (lambda: named.write_bytes(b'\xff\xfe'), 'expected the path of a checkpoint in .*last_checkpoint, got: .*decode'),
        (lambda: (named.unlink(), named.mkdir()), 'got: Is a directory'),
        (lambda: (named.rmdir(), named.symlink_to(named)), 'symbolic links'),
    ):
        write()
        with pytest.raises(InputError, match=message) as caught:
            last_checkpoint(str(work_dir))
        assert len(str(caught.value).splitlines()) == 1


def test_what_a_run_resumes(tmp_path) -> None:
    run = tmp_path / 'run'
    auto = f'resume: starts from the beginning, no checkpoint in {run}'
    assert resolve_resume(None, str(run)) == resolve_resume(False, str(run)) == (None, [])
    assert resolve_resume('auto', str(run)) == (None, [auto])
    with pytest.raises(InputError, match='--resume: expected a whole checkpoint in .*run, which is not there; name a file'):
        resolve_resume(True, str(run))
    run.mkdir()
    assert resolve_resume('auto', str(run)) == (None, [auto])
    for resume in (True, str(run)):
        with pytest.raises(InputError, match='--resume: expected a whole checkpoint in .*run, found none; name a file'):
            resolve_resume(resume, str(run))
    for number in (1, 2):
        write_checkpoint(dict(meta=dict(iter=number, epoch=0), optimizer={}), run / f'iter_{number}.pth')
    write_pointer(run, 'iter_1.pth')
    one, two = str(run / 'iter_1.pth'), str(run / 'iter_2.pth')
    assert resolve_resume(True, str(run)) == resolve_resume(str(run), 'x') == resolve_resume(one, 'x') == (one, [])
    assert resolve_resume('auto', str(run)) == (one, [f'resume: goes on from {one}'])
    assert resolve_resume('http://host/a.pth', 'x') == ('http://host/a.pth', [])
    os.truncate(one, 100)
    path, lines = resolve_resume(True, str(run))
    assert path == two and len(lines) == 2 and lines[1] == f'resume: goes on from {two}'
    assert resolve_resume('auto', str(run)) == (path, lines)
    for bad in (one, str(run / 'gone.pth')):
        with pytest.raises(
            InputError, match=f'expected a whole checkpoint, got {bad}: it .*; the newest whole one .* is {two}$'
        ):
            resolve_resume(bad, 'x')
    os.truncate(two, 100)
    with pytest.raises(InputError, match=f'got {one}: it .*; name another$'):
        resolve_resume(one, 'x')
    with pytest.raises(
        InputError, match=f'found none; {one} is passed over: .*; {two} is passed over: .*; name a file'
    ) as caught:
        resolve_resume(True, str(run))
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(InputError, match='--resume auto: expected a whole checkpoint of the run in .*, or none at all, found '):
        resolve_resume('auto', str(run))
    for path in ('a\0b', 'x' * 300):
        with pytest.raises(InputError, match=f'expected a file, got {re.escape(repr(path)) if path.startswith("a") else path}'):
            resolve_resume(True, path)
