"""What every run shares: processes, logging."""

env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),  # without a GPU the tools take gloo
)
log_level = 'INFO'
load_from = None
resume = False
