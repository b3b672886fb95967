"""Train a model from a config.

    convnext-dense train upernet_convnext_t_ade20k --data-root ADEChallengeData2016
    convnext-dense train mask_rcnn_convnext_t_coco --data-root DIR --train-ann train.json --val-ann val.json
    convnext-dense train CONFIG --data my_folder           # own data of any layout
    convnext-dense train CONFIG --resume                   # --resume auto: or from the beginning, for restart loops
    torchrun --nproc_per_node 8 --no-python convnext-dense train CONFIG --launcher pytorch

Reads from the config: model, dataloaders, evaluators, optim_wrapper, param_scheduler, loops, auto_scale_lr, work_dir.
Everything is checked before the work directory is made.
Exit status 2: wrong input, said in one line, nothing is left. 70: an unforeseen error. 76: another process of the run
ended. With a checkpoint, where --resume goes on: 75 before --time-limit, 130 Ctrl-C, 138 SIGUSR1, 143 SIGTERM.
"""

import argparse
import os
from contextlib import ExitStack, nullcontext

from mmengine.config import Config

from convnext_dense.data.check import check_data, data_classes
from convnext_dense.errors import doing
from convnext_dense.predict.as_trained import carried_config
from convnext_dense.report.watch import report_hooks, show_end
from convnext_dense.run.classes import settle_coco
from convnext_dense.run.command import Parser
from convnext_dense.run.differences import check_differences
from convnext_dense.run.finished import finished, mark_finished, unmark
from convnext_dense.run.fit import add_fit_options, check_fit_options, fit
from convnext_dense.run.guarding import guard_hooks
from convnext_dense.run.launch import build_runner, prepare
from convnext_dense.run.memory import as_halved, train_within_memory
from convnext_dense.run.options import add_config_options, add_run_options, load_config, set_work_dir
from convnext_dense.run.outputs import check_outputs
from convnext_dense.run.own_data import channel_lines, settle_own_data
from convnext_dense.run.own_options import add_data_options, check_data_options
from convnext_dense.run.preflight import (
    build_on_meta,
    check_batch_norm,
    check_choices,
    check_evaluators,
    check_weights,
    resolve_resume,
)
from convnext_dense.run.rehearsal import check_parts, rehearse
from convnext_dense.run.resuming import settle_loop
from convnext_dense.run.saving import add_saving_options, checkpoint_root, is_main, settle_checkpoints, settle_stopping
from convnext_dense.run.settle import settle_precision, settle_pretrained, settle_rate, short_schedule, world_size
from convnext_dense.run.sharding import add_sharding_option, settle_sharding
from convnext_dense.run.tracking import add_tracker_option, settle_trackers
from convnext_dense.training.background import wait_for_writers
from convnext_dense.training.sharded import check_divisible
from convnext_dense.training.trackers import close_trackers
from convnext_dense.training.work_dir_lock import check_free, work_dir_lock
from convnext_dense.weights.load import look_at_whole_model

GO_ON = '--resume goes on from the last checkpoint'


def parse_args() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    add_config_options(parser)
    add_run_options(parser)
    add_data_options(parser)
    add_fit_options(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const=True,
        metavar='FILE',
        help='go on from the last whole checkpoint, or from FILE; auto: from the beginning where there is none',
    )
    add_saving_options(parser)
    add_sharding_option(parser)
    add_tracker_option(parser)
    parser.add_argument('--load-from', metavar='FILE', help='start from the weights of a whole model')
    parser.add_argument(
        '--new-heads', action='store_true', help='with --load-from: layers of another number of classes start anew'
    )
    parser.add_argument('--pretrained', metavar='FILE', help="the backbone's weights: a file, or none to start from scratch")
    parser.add_argument('--amp', action='store_true', help='mixed precision: bf16 where the device has it, fp16 elsewhere')
    parser.add_argument('--auto-scale-lr', action='store_true', help="scale the rate by the batch relative to the recipe's")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    check_data_options(args)
    check_fit_options(args)
    cfg = load_config(args.config, args.cfg_options, args.data_root)
    check_parts(cfg, ('train', 'val'))
    set_work_dir(cfg, args.config, args.work_dir, args.cfg_options)
    check_outputs(cfg, ('default_hooks', 'custom_hooks', 'val_evaluator'))
    if cfg.get('resume') and not args.resume:  # as mmengine reads it
        args.resume = cfg.get('load_from') or True
    lines = check_choices(args)
    main_process = is_main(args.launcher)
    if main_process:
        check_free(cfg.work_dir)
    resume, told = resolve_resume(args.resume, cfg.work_dir, checkpoint_root(cfg))
    lines += told
    args.restarts, args.resume = args.resume == 'auto', resume
    cfg.load_from = resume or args.load_from or cfg.get('load_from')
    cfg.resume = resume is not None
    names = ('train_dataloader', 'val_dataloader')
    records = os.path.join(cfg.work_dir, 'records')
    own = settle_own_data(cfg, args, records) if args.data else None
    with own.named() if own else nullcontext():
        if own is not None:
            lines += own.lines + fit(cfg, own, args, world_size()) + channel_lines(cfg, own, args)
        lines += settle_coco(cfg, names, args.train_ann, args.val_ann, args.cfg_options)
        lines += prepare(cfg, args) + settle_checkpoints(cfg, args) + settle_trackers(cfg, args)
        cfg.custom_hooks += guard_hooks(cfg) + report_hooks(cfg)
        lines += settle_stopping(cfg, args)
        settled = (
            settle_pretrained(cfg, args.pretrained, needed=not cfg.load_from),
            settle_precision(cfg, args.amp),
            settle_rate(cfg, world_size(), args.auto_scale_lr),
        )
        lines += [line for line in settled if line] + settle_sharding(cfg, args)
        model = build_on_meta(cfg)
        if args.fsdp:
            check_divisible(model)
        check_batch_norm(cfg, model)
        check_evaluators(cfg, 'val_evaluator')
        check_data(cfg, names, args.check_data)
        classes = data_classes(cfg, 'train_dataloader') if cfg.resume else None
        loop = settle_loop(cfg)
        lines += [loop] if loop else []
        with doing('building the run'):
            datasets = rehearse(cfg, model, ('train', 'val'))
        before = carried_config(resume) if resume else Config()
        if resume:
            lines += as_halved(cfg, model, before)
        schedule = short_schedule(cfg, len(datasets['train_dataloader']), world_size())
        lines += [schedule] if schedule else []
        new_heads = args.new_heads and not resume
        lines += check_weights(cfg, model, classes, new_heads)  # last: it may download
        lines += check_differences(before, cfg)
        done = finished(cfg, look_at_whole_model(resume)) if resume else None
    if done:
        print(done)
        return
    with doing('training'), ExitStack() as stack:
        lines += stack.enter_context(work_dir_lock(cfg.work_dir)) if main_process else []
        stack.callback(wait_for_writers)  # before another run may write there
        stack.callback(close_trackers)  # of a run that is stopped; of another they are closed by then
        unmark(cfg.work_dir)
        if own is not None:
            own.keep(cfg, records)
        runner = train_within_memory(
            cfg, model, world_size(), lambda more: build_runner(cfg, [*lines, *more], datasets, new_heads)
        )
        wait_for_writers()
        mark_finished(runner, cfg)
        show_end(runner)
