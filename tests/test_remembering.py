"""What keeps something of earlier samples is named, wherever it lies."""

from types import SimpleNamespace

from torch import nn

from convnext_dense.training.remembering import remembering


def made(name: str, **attributes):
    return type(name, (), attributes)()


def nested(*steps):
    """A data set in a data set, with these transforms."""
    inner = SimpleNamespace(pipeline=SimpleNamespace(transforms=list(steps)))
    return SimpleNamespace(dataset=SimpleNamespace(datasets=[SimpleNamespace(), inner]))


def test_nothing_remembers() -> None:
    assert remembering(nested(made('Resize')), nn.Linear(1, 1)) == [] == remembering(object(), nn.Linear(1, 1))


def test_steps_in_steps_and_batch_augmentations() -> None:
    choice = made('RandomChoice')
    choice.transforms = [[made('Flip')], SimpleNamespace(transforms=[made('CachedMosaic')])]
    model = nn.Sequential(nn.Linear(1, 1))
    model[0].batch_augments = [made('BatchSyncRandomResize')]
    assert remembering(nested(choice, made('Albu')), model) == ['Albu', 'BatchSyncRandomResize', 'CachedMosaic']
