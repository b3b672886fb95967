"""Makes the names of this room known to MMEngine: `custom_imports = dict(imports=["convnext_dense.training.register"])`."""

import convnext_dense.training.bad_pictures
import convnext_dense.training.checkpoint_hook
import convnext_dense.training.dataset
import convnext_dense.training.finite
import convnext_dense.training.hooks
import convnext_dense.training.layer_decay
import convnext_dense.training.loading_time
import convnext_dense.training.loops
import convnext_dense.training.precision
import convnext_dense.training.resume_hook
import convnext_dense.training.sampler
import convnext_dense.training.sharded
import convnext_dense.training.spikes
import convnext_dense.training.stopping
import convnext_dense.training.trackers  # noqa: F401
